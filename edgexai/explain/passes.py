"""Counts the images that pass a torch network forward and backward, for the cost table of the methods."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from edgexai.errors import UserError


@dataclass
class Passes:
    """Images so far. A backward pass counts where it reaches the first layer: Grad-CAM stops before."""

    forward: int = 0
    backward: int = 0


@contextmanager
def counted_passes(model: nn.Module, image: torch.Tensor) -> Iterator[Passes]:
    """Counts at the first layer that holds weights, so that ``model.features`` alone counts too.

    Args:
        model: in eval mode.
        image: (1,3,H,W), with which that layer is found (one forward pass, not counted).

    Yields:
        The ``Passes``, counted up while the block runs; the hook is gone after it.

    Raises:
        UserError: no layer of the network holds weights.
    """
    first: list[nn.Module] = []

    def seen(module: nn.Module, _args: object, _output: object) -> None:
        first.append(module)

    leaves = [m for m in model.modules() if not list(m.children()) and next(m.parameters(), None) is not None]
    hooks = [module.register_forward_hook(seen) for module in leaves]
    try:
        with torch.no_grad():
            model(image.detach())
    finally:
        for hook in hooks:
            hook.remove()
    if not first:
        raise UserError("no layer of the network holds weights: its passes cannot be counted")
    passes = Passes()

    def count(_module: nn.Module, _args: object, output: torch.Tensor) -> None:
        passes.forward += len(output)
        if output.requires_grad:
            output.register_hook(counted_back)  # type: ignore[no-untyped-call]

    def counted_back(gradient: torch.Tensor) -> None:
        passes.backward += len(gradient)

    watching = first[0].register_forward_hook(count)
    try:
        yield passes
    finally:
        watching.remove()
