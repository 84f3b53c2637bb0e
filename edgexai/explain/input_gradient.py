"""Input x gradient: the first-order share of every pixel in the target logit.

Source: Shrikumar et al., 2016 (arXiv 1605.01713), computed by Captum's ``InputXGradient``. Convention: *signed*, pixel
of [0,1] times the derivative of the logit, summed over channels; unit: logit. It is integrated gradients from black in
one step at the image itself; black pixels get nothing.
"""

from __future__ import annotations

import torch
from captum.attr import InputXGradient
from torch import nn

from edgexai.explain.contract import check_gradient_inputs, points_per_pass


def input_x_gradient(
    model: nn.Module, images: torch.Tensor, targets: torch.Tensor, *, seed: int = 0, batch_size: int = 128
) -> torch.Tensor:
    """Signed product of image and gradient.

    Args:
        model: images -> logits (N,K), in eval mode; neither its parameters nor their ``.grad`` are touched.
        images: float (N,3,H,W) in [0,1]; not modified.
        targets: int64 (N,).
        seed: unused: nothing is drawn.
        batch_size: images per pass, fewer of large ones.

    Returns:
        (N,H,W) in logits, detached.

    Raises:
        ShapeError: wrong shapes or types.
        UserError: training mode, or a target that is no class.
    """
    check_gradient_inputs(model, images, targets, batch_size=batch_size)
    explainer = InputXGradient(model)
    maps = []
    per_pass = points_per_pass(images, batch_size)
    for start in range(0, len(images), per_pass):
        chunk = images[start : start + per_pass].detach().clone().requires_grad_(True)
        product = explainer.attribute(chunk, target=targets[start : start + per_pass])
        maps.append(product.detach().sum(dim=1))
    return torch.cat(maps)
