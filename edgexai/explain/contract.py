"""What every explainer of the gradient kind asks of its input, checked once and in the user's words; how much of it
passes the network at a time."""

from __future__ import annotations

import torch
from torch import nn

from edgexai.errors import ShapeError, UserError

_PIXELS_PER_PASS = 2**19
"""512 images of 32 pixels, 10 of 224. Activations are kept for the way back: 250 points of 224 pixels took 24 GB in
EfficientNet-lite0, which the kernel ends, and more than some points at a time is no faster."""


def points_per_pass(images: torch.Tensor, batch_size: int) -> int:
    """Images that pass the network at a time: ``batch_size``, or fewer where they are large. At least 1."""
    return max(1, min(batch_size, _PIXELS_PER_PASS // (images.shape[2] * images.shape[3])))


def check_gradient_inputs(model: nn.Module, images: torch.Tensor, targets: torch.Tensor, *, batch_size: int) -> None:
    """Refuses what would otherwise give a wrong map or a traceback. Costs one forward pass of one image.

    Args:
        model: images -> logits (N,K), in eval mode.
        images: float (N,3,H,W) in [0,1], N >= 1.
        targets: int64 (N,): the class to explain.
        batch_size: images per pass, >= 1.

    Raises:
        ShapeError: images, targets or logits have the wrong shape or type.
        UserError: the model is in training mode, or a target is not one of its classes.
    """
    if images.ndim != 4 or images.shape[1] != 3 or len(images) == 0 or not images.is_floating_point():
        raise ShapeError(f"images: {images.dtype} {tuple(images.shape)}; wanted float (N,3,H,W) with N >= 1")
    if targets.shape != images.shape[:1] or targets.dtype != torch.int64:
        raise ShapeError(f"targets: {targets.dtype} {tuple(targets.shape)}; wanted torch.int64 ({len(images)},)")
    if batch_size < 1:
        raise UserError(f"batch_size = {batch_size}; must be at least 1")
    if any(module.training for module in model.modules()):
        raise UserError(
            "the network is in training mode: its batch norm and dropout would make one image's map depend on others",
            next_step="call model.eval() before explaining",
        )
    with torch.no_grad():
        logits = model(images[:1].detach())
    if logits.ndim != 2 or len(logits) != 1:
        raise ShapeError(f"the network returned {tuple(logits.shape)} for one image; wanted logits (1,K)")
    low, high = int(targets.min()), int(targets.max())
    if low < 0 or high >= logits.shape[1]:
        wrong = low if low < 0 else high
        raise UserError(f"target class {wrong} does not exist: the network has classes 0 to {logits.shape[1] - 1}")
