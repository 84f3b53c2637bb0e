"""Projected gradient descent, l-infinity.

Convention (PGD-n): n steps of 2.5 eps / n, uniform random start, one restart, cross-entropy of the true label, pixels
in [0,1], the last iterate is returned. Source: Madry et al., arXiv 1706.06083.
"""

from __future__ import annotations

import torch

from edgexai.attack.ball import check_attack_input, clip_to_ball
from edgexai.attack.fgsm import loss_gradient, uniform_start
from edgexai.errors import UserError
from edgexai.types import Differentiable


def pgd(
    model: Differentiable,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    eps: float,
    steps: int,
    step_size: float | None = None,
    seed: int,
) -> torch.Tensor:
    """Adversarial images by projected signed gradient steps.

    Args:
        model: images -> logits, see ``edgexai.attack.fgsm.loss_gradient``.
        images: float32 (N,3,H,W) in [0,1], any memory format (kept); not modified.
        labels: int64 (N,), the true classes.
        eps: radius in pixels of [0,1], e.g. 8/255.
        steps: gradient steps, at least 1.
        step_size: in pixels; None = 2.5 eps / steps.
        seed: of the random start; one draw for the whole batch, so results repeat for the same batch.

    Returns:
        float32 (N,3,H,W), detached: the last iterate, in the ball and in [0,1].

    Raises:
        ShapeError, UserError: see ``check_attack_input``; also for ``steps`` < 1 or ``step_size`` <= 0.
    """
    check_attack_input(images, labels, eps=eps)
    if steps < 1:
        raise UserError(f"steps = {steps}: PGD takes at least 1")
    length = 2.5 * eps / steps if step_size is None else step_size
    if length <= 0:
        raise UserError(f"step_size = {step_size} is not positive", next_step="leave it out: 2.5 eps / steps")
    images = images.detach()
    points = uniform_start(images, eps=eps, seed=seed)
    for _ in range(steps):
        points = clip_to_ball(points + length * loss_gradient(model, points, labels).sign(), images, eps=eps)
    return points
