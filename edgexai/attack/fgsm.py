"""Fast gradient sign method: one step of length eps along the loss gradient's sign (l2: along the gradient).

Source: Goodfellow et al., arXiv 1412.6572; the random start is that of Wong et al., arXiv 2001.03994.
"""

from __future__ import annotations

import torch

from edgexai.attack.ball import Norm, ascent, check_attack_input, project
from edgexai.attack.loss import LossName, image_losses
from edgexai.types import Differentiable


def loss_gradient(
    model: Differentiable, images: torch.Tensor, labels: torch.Tensor, *, loss: LossName = "ce"
) -> torch.Tensor:
    """Gradient of the loss of the true label, summed over images, with respect to the pixels only.

    Args:
        model: images -> logits; its parameters and its train/eval mode are not touched (a batch-norm in train mode
            updates its running statistics in any forward pass, so put the model in eval mode first).
        images: float32 (N,3,H,W).
        labels: int64 (N,).
        loss: see ``edgexai.attack.loss``.

    Returns:
        (N,3,H,W). Summing instead of averaging makes each image's gradient independent of the batch size.
    """
    with torch.enable_grad():
        pixels = images.detach().requires_grad_(True)
        if loss == "ce":
            total = torch.nn.functional.cross_entropy(model(pixels), labels, reduction="sum")
        else:
            total = image_losses(model(pixels), labels, loss=loss).sum()
        (gradient,) = torch.autograd.grad(total, pixels)
    return gradient


def uniform_start(
    images: torch.Tensor,
    *,
    eps: float,
    seed: int,
    norm: Norm = "linf",
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """A point drawn uniformly from the ball of radius eps around each image, clipped to [0,1].

    Args:
        images: float32 (N,3,H,W) in [0,1].
        eps, norm: of the ball.
        seed: of a generator of its own; one draw for the whole batch.
        generator: to draw from instead, for a second and a third start after the first.
    """
    draws = torch.Generator(device=images.device).manual_seed(seed) if generator is None else generator
    if norm == "linf":
        draw = torch.rand(images.shape, generator=draws, device=images.device, dtype=images.dtype)
        return project(images + (2 * draw - 1) * eps, images, eps=eps, norm=norm)
    draw = torch.randn(images.shape, generator=draws, device=images.device, dtype=images.dtype)
    # A share r of the radius holds r ** (number of pixels) of the ball's volume.
    radius = torch.rand((len(images), 1, 1, 1), generator=draws, device=images.device, dtype=images.dtype)
    radius = eps * radius ** (1 / images[:1].numel()) if len(images) else radius
    return project(images + ascent(draw, norm=norm) * radius, images, eps=eps, norm=norm)


def fgsm(
    model: Differentiable,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    eps: float,
    seed: int,
    random_start: bool = False,
    norm: Norm = "linf",
) -> torch.Tensor:
    """Adversarial images by one gradient step.

    Args:
        model: images -> logits, see ``loss_gradient``.
        images: float32 (N,3,H,W) in [0,1], any memory format (kept); not modified.
        labels: int64 (N,), the true classes.
        eps: radius in pixels of [0,1], e.g. 8/255; with "l2" the Euclidean length, e.g. 0.5.
        seed: of the random start; one draw for the whole batch.
        random_start: begin at a uniform point of the ball and step 1.25 eps (Wong et al.), as adversarial training
            wants it; otherwise begin at the image and step eps.
        norm: "linf" steps along the gradient's sign, "l2" along the gradient itself.

    Returns:
        float32 (N,3,H,W), detached, in the ball and in [0,1].

    Raises:
        ShapeError, UserError: see ``check_attack_input``.
    """
    check_attack_input(images, labels, eps=eps, norm=norm)
    images = images.detach()
    start = uniform_start(images, eps=eps, seed=seed, norm=norm) if random_start else images
    step = 1.25 * eps if random_start else eps
    moved = start + step * ascent(loss_gradient(model, start, labels), norm=norm)
    return project(moved, images, eps=eps, norm=norm)
