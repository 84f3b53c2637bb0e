"""Fast gradient sign method: one step of length eps along the sign of the loss gradient.

Source: Goodfellow et al., arXiv 1412.6572; the random start is that of Wong et al., arXiv 2001.03994.
"""

from __future__ import annotations

import torch

from edgexai.attack.ball import check_attack_input, clip_to_ball
from edgexai.types import Differentiable


def loss_gradient(model: Differentiable, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Gradient of the cross-entropy of the true label, summed over images, with respect to the pixels only.

    Args:
        model: images -> logits; its parameters and its train/eval mode are not touched (a batch-norm in train mode
            updates its running statistics in any forward pass, so put the model in eval mode first).
        images: float32 (N,3,H,W).
        labels: int64 (N,).

    Returns:
        (N,3,H,W). Summing instead of averaging makes each image's gradient independent of the batch size.
    """
    with torch.enable_grad():
        pixels = images.detach().requires_grad_(True)
        loss = torch.nn.functional.cross_entropy(model(pixels), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, pixels)
    return gradient


def uniform_start(images: torch.Tensor, *, eps: float, seed: int) -> torch.Tensor:
    """A point drawn uniformly from the cube of radius eps around each image, clipped to [0,1]."""
    generator = torch.Generator(device=images.device).manual_seed(seed)
    draw = torch.rand(images.shape, generator=generator, device=images.device, dtype=images.dtype)
    return clip_to_ball(images + (2 * draw - 1) * eps, images, eps=eps)


def fgsm(
    model: Differentiable,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    eps: float,
    seed: int,
    random_start: bool = False,
) -> torch.Tensor:
    """Adversarial images by one signed gradient step.

    Args:
        model: images -> logits, see ``loss_gradient``.
        images: float32 (N,3,H,W) in [0,1], any memory format (kept); not modified.
        labels: int64 (N,), the true classes.
        eps: radius in pixels of [0,1], e.g. 8/255.
        seed: of the random start; one draw for the whole batch.
        random_start: begin at a uniform point of the ball and step 1.25 eps (Wong et al.), as adversarial training
            wants it; otherwise begin at the image and step eps.

    Returns:
        float32 (N,3,H,W), detached, in the ball and in [0,1].

    Raises:
        ShapeError, UserError: see ``check_attack_input``.
    """
    check_attack_input(images, labels, eps=eps)
    images = images.detach()
    start = uniform_start(images, eps=eps, seed=seed) if random_start else images
    step = 1.25 * eps if random_start else eps
    return clip_to_ball(start + step * loss_gradient(model, start, labels).sign(), images, eps=eps)
