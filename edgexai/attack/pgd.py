"""Projected gradient descent, l-infinity or l2.

Convention (PGD-n): l-infinity, n steps of 2.5 eps / n, uniform random start, one restart, cross-entropy of the true
label, pixels in [0,1], the last iterate is returned. Source: Madry et al., arXiv 1706.06083.
"""

from __future__ import annotations

import torch

from edgexai.attack.ball import Norm, ascent, check_attack_input, project
from edgexai.attack.fgsm import loss_gradient, uniform_start
from edgexai.attack.loss import LossName, check_loss, image_losses
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
    norm: Norm = "linf",
    loss: LossName = "ce",
    restarts: int = 1,
) -> torch.Tensor:
    """Adversarial images by projected gradient steps.

    Args:
        model: images -> logits, see ``edgexai.attack.fgsm.loss_gradient``.
        images: float32 (N,3,H,W) in [0,1], any memory format (kept); not modified.
        labels: int64 (N,), the true classes.
        eps: radius in pixels of [0,1], e.g. 8/255; with "l2" the Euclidean length of the change, e.g. 0.5.
        steps: gradient steps, at least 1.
        step_size: in the unit of eps; None = 2.5 eps / steps.
        seed: of the random starts; one draw for the whole batch, so results repeat for the same batch.
        norm: "linf" steps along the gradient's sign, "l2" along the gradient itself.
        loss: what is climbed: "ce", "margin" or "dlr", see ``edgexai.attack.loss``.
        restarts: runs from different random starts, at least 1. Images that fell in a run are not run again; of the
            others the last iterate of the largest loss is kept.

    Returns:
        float32 (N,3,H,W), detached: the last iterate (of the worst run), in the ball and in [0,1].

    Raises:
        ShapeError, UserError: see ``check_attack_input``; also for ``steps`` < 1, ``restarts`` < 1, ``step_size`` <= 0,
            an unknown loss, or "dlr" with fewer than 3 classes.
    """
    check_attack_input(images, labels, eps=eps, norm=norm)
    check_loss(loss)
    if steps < 1 or restarts < 1:
        raise UserError(f"steps = {steps}, restarts = {restarts}: PGD takes at least 1 of each")
    stride = 2.5 * eps / steps if step_size is None else step_size
    if stride <= 0:
        raise UserError(f"step_size = {step_size} is not positive", next_step="leave it out: 2.5 eps / steps")
    images = images.detach()
    draws = torch.Generator(device=images.device).manual_seed(seed)

    def run(start: torch.Tensor, centre: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        points = start
        for _ in range(steps):
            moved = points + stride * ascent(loss_gradient(model, points, label, loss=loss), norm=norm)
            points = project(moved, centre, eps=eps, norm=norm)
        return points

    def judge(points: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            logits = model(points)
        return image_losses(logits, label, loss=loss), logits.argmax(1) != label

    worst = run(uniform_start(images, eps=eps, seed=seed, norm=norm, generator=draws), images, labels)
    if restarts == 1:
        return worst
    height, fell = judge(worst, labels)
    for _ in range(restarts - 1):
        # Drawn for all images, so that a start does not depend on which images fell before.
        start = uniform_start(images, eps=eps, seed=seed, norm=norm, generator=draws)
        here = (~fell).nonzero()[:, 0]
        if not len(here):
            break
        points = run(start[here], images[here], labels[here])
        value, wrong = judge(points, labels[here])
        better = wrong | (value > height[here])
        worst[here[better]], height[here[better]] = points[better], value[better]
        fell[here[wrong]] = True
    return worst
