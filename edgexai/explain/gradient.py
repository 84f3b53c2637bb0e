"""Vanilla gradient (VG): the size of the target logit's derivative at every pixel, summed over the channels.

Source: Simonyan et al., 2014 (arXiv 1312.6034), computed by Captum's ``Saliency``. Convention: absolute value of the
derivative of the *logit* (not the probability, not the loss), then the *sum* over channels (Simonyan takes the
maximum); the unit is logit per unit of pixel intensity.
"""

from __future__ import annotations

import torch
from captum.attr import Saliency
from torch import nn

from edgexai.explain.contract import check_gradient_inputs, points_per_pass


def vanilla_gradient(
    model: nn.Module, images: torch.Tensor, targets: torch.Tensor, *, seed: int = 0, batch_size: int = 128
) -> torch.Tensor:
    """Absolute gradient of each image's target logit. All logits of a batch are summed, so one backward serves all.

    Args:
        model: images -> logits (N,K), in eval mode; neither its parameters nor their ``.grad`` are touched.
        images: float (N,3,H,W) in [0,1]; not modified.
        targets: int64 (N,).
        seed: unused: nothing is drawn.
        batch_size: images per pass, fewer of large ones.

    Returns:
        (N,H,W) >= 0, detached, on the images' device.

    Raises:
        ShapeError: wrong shapes or types.
        UserError: training mode, or a target that is no class.
    """
    check_gradient_inputs(model, images, targets, batch_size=batch_size)
    saliency = Saliency(model)
    maps = []
    per_pass = points_per_pass(images, batch_size)
    for start in range(0, len(images), per_pass):
        # Captum sets requires_grad on what it is given: never on the caller's tensor.
        chunk = images[start : start + per_pass].detach().clone().requires_grad_(True)
        gradient = saliency.attribute(chunk, target=targets[start : start + per_pass], abs=True)
        maps.append(gradient.detach().sum(dim=1))
    return torch.cat(maps)
