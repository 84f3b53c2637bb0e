"""A network's forward pass with int8's rounding in it: what the file for the board computes, with gradients.

Inputs of the layers are rounded in fixed steps to -128..127, weights per output channel to -127..127, biases and all
else stay in float; halves go to the even level. Batch norm is applied by its running statistics. It stands behind the
rounding here and inside the weight in the file; since its factor belongs to an output channel and levels are symmetric,
both round to the same levels. Gradients pass a rounding as if it were not there (Bengio et al. 2013), but not where an
input was clipped.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from edgexai.errors import UserError
from edgexai.models.base import Network

_LOW, _HIGH = -128, 127


class _Round(torch.autograd.Function):
    """To whole levels between two bounds, and back; the gradient is 1 inside and 0 outside."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, values: Tensor, step: Tensor) -> Tensor:
        levels = torch.round(values / step)
        ctx.save_for_backward((levels >= _LOW) & (levels <= _HIGH))
        return levels.clamp_(_LOW, _HIGH).mul_(step)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        (inside,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return gradients[0] * inside, None


def rounded(values: Tensor, step: Tensor) -> Tensor:
    """``values`` in whole multiples of ``step``, -128 to 127 of them; differentiable straight through.

    Args:
        values: any shape.
        step: broadcastable to ``values``, above 0; gets no gradient.
    """
    out: Tensor = _Round.apply(values, step)
    return out


def fake_quantised(net: Network, images: Tensor, steps: Mapping[str, float]) -> Tensor:
    """Logits (N,K) of the int8 file made of ``net``, but for the order of float sums; differentiable.

    Args:
        net: in eval mode: the file normalises by running statistics.
        images: (N,3,H,W) in [0,1].
        steps: parameter name of each rounded layer's weight -> step of its input, see ``export.rounding``.

    Raises:
        UserError: a name is not the weight of a Conv2d or Linear of ``net``, or ``net`` is in train mode.
    """
    if net.training:
        raise UserError("fake quantisation: the network is in train mode, the file is not; call eval() first")
    layers = _layers(net, steps)
    weights: dict[str, Tensor] = {}
    hooks = []
    for name, layer in layers.items():
        weight = layer.get_parameter("weight")
        size = weight.detach().abs().flatten(1).amax(1) / _HIGH
        size = torch.where(size > 0, size, torch.ones_like(size))  # a channel of zeros, which every step holds
        weights[name] = rounded(weight, size.view(-1, *[1] * (weight.ndim - 1)))
        hooks.append(layer.register_forward_pre_hook(_Input(steps[name])))
    try:
        logits: Tensor = functional_call(net, weights, (images,))
    finally:
        for hook in hooks:
            hook.remove()
    return logits


class _Input:
    """Rounds what a layer is given."""

    def __init__(self, step: float) -> None:
        self.step = step

    def __call__(self, layer: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        first, *others = given
        return rounded(first, torch.tensor(self.step, dtype=first.dtype, device=first.device)), *others


def _layers(net: Network, steps: Mapping[str, float]) -> dict[str, nn.Module]:
    found = {f"{name}.weight": m for name, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    if unknown := [name for name in steps if name not in found]:
        raise UserError(
            f"fake quantisation: {', '.join(unknown[:3])}: not the weight of a Conv2d or Linear of this network",
            next_step="set export.qat_epochs = 0",
        )
    return {name: found[name] for name in steps}
