"""Auto-PGD: projected gradient ascent with momentum whose step halves itself, l-infinity or l2.

Source: Croce & Hein, arXiv 2003.01690, algorithm 1. Convention: 100 steps, first step 2 eps, momentum 0.75, start on
the sphere around the image; at the paper's checkpoints an image's step halves, and the search goes back to its best
point, where fewer than 75 % of the steps since the last checkpoint raised the loss, or where neither step nor best loss
changed. Rises are counted between the points that were evaluated, as in the authors' code. ``loss="dlr"`` is APGD-T:
one run for each of the strongest other classes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch

from edgexai.attack.ball import Norm, ascent, check_attack_input, project
from edgexai.attack.loss import LossName, image_losses
from edgexai.attack.start import sphere_start
from edgexai.errors import ShapeError, UserError
from edgexai.types import Differentiable

_RHO = 0.75
_MOMENTUM = 0.75


@dataclass(frozen=True)
class ApgdResult:
    """What the attack found.

    Attributes:
        images: float32 (N,3,H,W), detached: for fooled images the fooling point of the largest loss (the clean image
            where only that is wrong), for the others the point of the largest loss.
        fooled: bool (N,): the model's class of ``images`` is not the label.
        passes: int64 (N,): forward and backward passes spent on perturbed copies of each image.
    """

    images: torch.Tensor
    fooled: torch.Tensor
    passes: torch.Tensor


def checkpoints(steps: int) -> tuple[int, ...]:
    """After how many steps a step is judged: 22, 41, 57, 70, 80, 87, 93 and 99 % of ``steps``, the paper's shares."""
    shares, gap = [22], 22
    while shares[-1] < 100:
        gap = max(gap - 3, 6)
        shares.append(shares[-1] + gap)
    # In whole per cent: 0.57 * 100 is not 57 in floating point, and its ceiling would be 58.
    return tuple(dict.fromkeys(-(-share * steps // 100) for share in shares if share <= 100))


def apgd(
    model: Differentiable,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    eps: float,
    seed: int,
    loss: LossName = "ce",
    norm: Norm = "linf",
    steps: int = 100,
    restarts: int = 1,
    n_targets: int = 9,
    stop_when_fooled: bool = False,
) -> ApgdResult:
    """Adversarial images by Auto-PGD.

    Args:
        model: images -> logits, in eval mode, see ``edgexai.attack.fgsm.loss_gradient``.
        images: float32 (N,3,H,W) in [0,1]; not modified.
        labels: int64 (N,), the true classes.
        eps: radius in pixels of [0,1], e.g. 8/255; with "l2" the Euclidean length of the change, e.g. 0.5.
        seed: keyed with each image's bytes, so batching does not change the starts.
        loss: "ce" climbs the label's cross-entropy; "dlr" and "margin" climb towards one other class after another,
            strongest on the clean image first. With fewer than 4 classes "dlr" is not defined and "margin" is climbed.
        norm: of the ball.
        steps: gradient steps of one run.
        restarts: runs from different starts (per target), at least 1. Images that fell in a run are not run again.
        n_targets: other classes to climb towards, at most; not used with "ce".
        stop_when_fooled: drop an image at its first fooling point (the clean image included): the same verdict for
            fewer passes, but a point just across the border. Leave it off for points that another network is to see.

    Returns:
        An ``ApgdResult``.

    Raises:
        ShapeError, UserError: see ``check_attack_input``; also for counts below 1, an unknown loss, labels that are no
            class of the model, a single class, or logits that are not finite.
    """
    check_attack_input(images, labels, eps=eps, norm=norm)
    if min(steps, restarts, n_targets) < 1:
        raise UserError(f"steps = {steps}, restarts = {restarts}, n_targets = {n_targets}: each is at least 1")
    images = images.detach()
    best = images.clone()
    passes = torch.zeros_like(labels)
    if not len(images):
        return ApgdResult(best, torch.zeros_like(labels, dtype=torch.bool), passes)
    with torch.no_grad():
        clean = model(images)
    _check_logits(clean, labels)
    climbed: LossName = "margin" if loss == "dlr" and clean.shape[1] < 4 else loss
    wrong_before = clean.argmax(1) != labels
    fooled = wrong_before.clone() if stop_when_fooled else torch.zeros_like(wrong_before)
    value = torch.full_like(clean[:, 0], float("-inf"))
    for rank, target in enumerate(_targets(clean, labels, loss, n_targets)):
        for restart in range(restarts):
            here = (~fooled).nonzero()[:, 0]
            if not len(here):
                break
            start = sphere_start(images[here], eps=eps, norm=norm, seed=seed, purpose=f"apgd-{loss}-{rank}-{restart}")
            found = _climb(
                model, images[here], labels[here], None if target is None else target[here], start,
                eps=eps, norm=norm, loss=climbed, steps=steps, stop=stop_when_fooled,
            )  # fmt: skip
            better = found.fooled | (found.height > value[here])
            best[here[better]], value[here[better]] = found.points[better], found.height[better]
            fooled[here[found.fooled]] = True
            passes[here] += found.passes
    only_clean = wrong_before & ~fooled
    best[only_clean] = images[only_clean]
    return ApgdResult(best, fooled | wrong_before, passes)


def _check_logits(logits: torch.Tensor, labels: torch.Tensor) -> None:
    if logits.ndim != 2 or len(logits) != len(labels) or int(labels.min()) < 0 or int(labels.max()) >= logits.shape[1]:
        raise ShapeError(
            f"the model returned shape {tuple(logits.shape)} for {len(labels)} images with labels from "
            f"{int(labels.min())} to {int(labels.max())}; it must return (N,K), labels 0..K-1"
        )
    if logits.shape[1] < 2:
        raise UserError("the model has a single class: no decision can be turned")
    if not bool(torch.isfinite(logits).all()):
        raise UserError("the model returned logits that are not finite", next_step="check its weights")


def _targets(
    clean: torch.Tensor, labels: torch.Tensor, loss: LossName, n_targets: int
) -> list[torch.Tensor] | list[None]:
    """One entry per run: the classes (N,) to climb towards, strongest first; a single None for an untargeted run."""
    if loss == "ce":
        return [None]
    others = clean.scatter(1, labels[:, None], float("-inf")).sort(dim=1, descending=True, stable=True).indices
    return list(others[:, : min(n_targets, clean.shape[1] - 1)].unbind(1))


@dataclass
class _Found:
    """What one run found, one entry per image; ``height`` is the loss at ``points``."""

    points: torch.Tensor
    height: torch.Tensor
    fooled: torch.Tensor
    passes: torch.Tensor

    def take(self, now: _Climber, wrong: torch.Tensor) -> None:
        """Keeps the points just evaluated where they fool and none did before, or fool no less and lie higher."""
        height, fooled = self.height[now.index], self.fooled[now.index]
        better = (wrong & ~fooled) | ((wrong | ~fooled) & (now.value > height))
        where = now.index[better]
        self.points[where], self.height[where] = now.points[better], now.value[better]
        self.fooled[now.index] = fooled | wrong
        self.passes[now.index] += 1


@dataclass
class _Climber:
    """The images still climbing: one entry of every tensor per image."""

    index: torch.Tensor
    centre: torch.Tensor
    label: torch.Tensor
    target: torch.Tensor
    points: torch.Tensor
    previous: torch.Tensor
    value: torch.Tensor
    gradient: torch.Tensor
    best_points: torch.Tensor
    best_value: torch.Tensor
    best_gradient: torch.Tensor
    checked_value: torch.Tensor
    step: torch.Tensor
    rises: torch.Tensor
    halved: torch.Tensor

    def only(self, keep: torch.Tensor) -> _Climber:
        """Those where ``keep`` is True."""
        return self if bool(keep.all()) else _Climber(*(getattr(self, f.name)[keep] for f in fields(self)))


def _climb(
    model: Differentiable, images: torch.Tensor, labels: torch.Tensor, targets: torch.Tensor | None,
    start: torch.Tensor, *, eps: float, norm: Norm, loss: LossName, steps: int, stop: bool,
) -> _Found:  # fmt: skip
    """One run from ``start``."""

    def evaluate(points: torch.Tensor, now: _Climber | None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        label, target = (labels, targets) if now is None else (now.label, now.target)
        with torch.enable_grad():
            pixels = points.detach().requires_grad_(True)
            logits = model(pixels)
            value = image_losses(logits, label, loss=loss, targets=None if targets is None else target)
            (gradient,) = torch.autograd.grad(value.sum(), pixels)
        return value.detach(), gradient, logits.detach().argmax(1) != label

    value, gradient, wrong = evaluate(start, None)
    none = torch.zeros_like(labels)
    found = _Found(start.clone(), torch.full_like(value, float("-inf")), none.bool(), none.clone())
    now = _Climber(
        index=torch.arange(len(images), device=images.device), centre=images, label=labels,
        target=labels if targets is None else targets, points=start, previous=start, value=value, gradient=gradient,
        best_points=start, best_value=value, best_gradient=gradient, checked_value=value,
        step=torch.full_like(value, 2 * eps)[:, None, None, None], rises=none, halved=none.bool(),
    )  # fmt: skip
    checks, checked = checkpoints(steps), 0
    found.take(now, wrong)
    for done in range(1, steps + 1):
        now = now.only(~wrong) if stop else now
        if not len(now.index):
            break
        share = _MOMENTUM if done > 1 else 1.0
        ahead = project(now.points + now.step * ascent(now.gradient, norm=norm), now.centre, eps=eps, norm=norm)
        moved = now.points + share * (ahead - now.points) + (1 - share) * (now.points - now.previous)
        now.previous, now.points = now.points, project(moved, now.centre, eps=eps, norm=norm)
        value, now.gradient, wrong = evaluate(now.points, now)
        now.rises = now.rises + (value > now.value)
        now.value = value
        found.take(now, wrong)
        higher = value > now.best_value
        now.best_value = torch.where(higher, value, now.best_value)
        now.best_points = _choose(higher, now.points, now.best_points)
        now.best_gradient = _choose(higher, now.gradient, now.best_gradient)
        if done in checks:
            stuck = ~now.halved & (now.best_value == now.checked_value)
            now.halved = (now.rises < _RHO * (done - checked)) | stuck
            checked, now.checked_value, now.rises = done, now.best_value, torch.zeros_like(now.rises)
            now.step = _choose(now.halved, now.step / 2, now.step)
            now.gradient = _choose(now.halved, now.best_gradient, now.gradient)
            now.points = _choose(now.halved, now.best_points, now.points)
    return found


def _choose(where: torch.Tensor, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return torch.where(where[:, None, None, None], one, other)
