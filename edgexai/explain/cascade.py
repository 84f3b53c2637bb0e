"""The same network forgetting layer by layer, from the output down: the networks of cascading randomisation (MPRT).

Source: Adebayo et al., NeurIPS 2018 (arXiv 1810.03292). Layers are taken in the order in which a forward pass meets
them, not in which they were written down, and randomised as ``sanity.randomised`` does: weights shuffled within a
tensor, batch norm's statistics taken anew, so that what is left still answers. The last network is that of
``sanity_check``.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from edgexai.errors import UserError
from edgexai.explain.sanity import randomised
from edgexai.types import Images


def cascade(model: nn.Module, images: Images, *, seed: int, steps: int = 5) -> Iterator[tuple[str, nn.Module]]:
    """Ever more randomised copies, one at a time.

    Args:
        model: in eval mode; not modified.
        images: float32 (N,3,H,W), N >= 2: batch norm's statistics are taken from them.
        seed: of the shuffling: a tensor is shuffled alike in every step that reaches it.
        steps: at most so many networks: the layer nearest the output alone, the others shared out evenly.

    Yields:
        The lowest layer randomised so far, and the network, in eval mode.

    Raises:
        UserError: ``steps`` < 1.
    """
    if steps < 1:
        raise UserError(f"steps = {steps}; must be at least 1")
    layers = layers_top_down(model, images[:2])
    steps, rest = min(steps, len(layers)), len(layers) - 1
    for step in range(steps):
        # The first step is the layer nearest the output alone, the last one the whole network.
        reached = layers[: len(layers) if step == steps - 1 else 1 + -(-step * rest // (steps - 1))]
        yield reached[-1], randomised(model, images, seed=seed, layers=frozenset(reached))


def layers_top_down(model: nn.Module, images: Images) -> list[str]:
    """Names of the layers that hold parameters of their own, the one nearest the output first.

    Args:
        model: in eval mode; not modified.
        images: float32 (N,3,H,W), passed through once.

    Returns:
        Each layer once, by its last use; layers that the pass does not meet come last.
    """
    own = {name: m for name, m in model.named_modules() if next(m.parameters(recurse=False), None) is not None}
    met: list[str] = []
    hooks = [m.register_forward_hook(lambda *_, name=name: met.append(name)) for name, m in own.items()]
    try:
        with torch.no_grad():
            model(torch.from_numpy(images).to(next(model.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
    return list(dict.fromkeys([*reversed(met), *own]))
