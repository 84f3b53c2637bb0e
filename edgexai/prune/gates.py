"""What a channel does on images: think of a factor m on its output; activation x gradient is the derivative by m at 1.

Removing the channel sets m to 0. The derivative is first-order what the objective loses by that (Molchanov et al.
2017), half its mean square is second-order what a loss gains (Theis et al. 2018). Channels tied by a sum or by a
depthwise convolution have one factor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from edgexai.prune.coupling import Coupling


def gate_signals(
    coupling: Coupling, images: Tensor, *, objective: Callable[[Tensor, slice], Tensor], batch_size: int
) -> Iterator[tuple[slice, list[Tensor]]]:
    """Per batch: which images, and for every group (n,width,h,w), or (n,width,1,1) behind a linear layer.

    Args:
        images: (N,3,H,W) in [0,1].
        objective: (logits (n,K), which images) -> scalar, a sum over images, so that no image touches another's signal.

    Yields:
        Activation times gradient of the objective at each group's gates, summed over the gates.
    """
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        outputs: dict[nn.Module, Tensor] = {}

        def keep(module: nn.Module, _: object, output: Tensor, outputs: dict[nn.Module, Tensor] = outputs) -> Tensor:
            outputs[module] = output
            return output.clone()  # an activation in place would otherwise overwrite what is kept

        gates = [gate for group in coupling.groups for gate in group.gates]
        hooks = [gate.register_forward_hook(keep) for gate in gates]
        try:
            with torch.enable_grad():
                total = objective(coupling.net(images[part].to(coupling.net.mean.device)), part)
                gradients = torch.autograd.grad(total, [outputs[gate] for gate in gates])
        finally:
            for hook in hooks:
                hook.remove()
        products = {gate: (outputs[gate] * gradient).detach() for gate, gradient in zip(gates, gradients, strict=True)}
        signals = [torch.stack([products[gate] for gate in group.gates]).sum(0) for group in coupling.groups]
        yield part, [s if s.ndim == 4 else s[:, :, None, None] for s in signals]
