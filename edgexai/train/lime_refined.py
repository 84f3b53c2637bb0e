"""LIME-guided refinement (arXiv 2412.18952): rounds of explain -> detect -> refine, and the random-cells control.

One step, on a batch whose flagged cells are replaced with probability ``mask_probability``:

    L = (CE(x) + alpha CE(x_adv)) / (1 + alpha) + lambda L_reg
    L_reg = mean over images of (1/|F|) sum_{j in F} (d CE / d x_j)^2

``x_adv`` is FGSM with random start (step 1.25 eps), train mode throughout. The gradient that makes ``x_adv`` serves
``L_reg`` too: it is taken once, at the random start. ``lambda`` is set at the first step so that its term is
``sensitivity_weight`` of the task loss. Differentiating through a gradient costs more than all else in a step, so
``L_reg`` is taken on every fourth batch with four times its weight: the same in expectation, a quarter of the cost.
A weight of 0 switches its term, and its cost, off; with neither masks
nor L_reg no cell decides anything, so nothing is explained either. Cells are replaced before augmentation, where grid
and image still agree; the map of flagged pixels moves along with the warp.

What is validated, explained and returned is a moving average of the weights, which overfits adversarial images less.

PGD-10 on validation images after every epoch finds a collapse of the adversarial term (``train.watch``): the weights
before it are restored, and training ends there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from edgexai.errors import UserError
from edgexai.models.base import Network
from edgexai.train.average import WeightAverage
from edgexai.train.cells import cells_to_pixels, replace_cells
from edgexai.train.checkpoint import load_checkpoint, save_checkpoint
from edgexai.train.detect import DetectSettings, Flags, detect, random_cells, stratified
from edgexai.train.feed import Feed, epoch_seed
from edgexai.train.flag_file import flag_path, read_flags, write_flags
from edgexai.train.optimiser import one_cycle, set_lr, sgd
from edgexai.train.parallel import ALONE, Team
from edgexai.train.perturb import Adversary
from edgexai.train.precision import autocast
from edgexai.train.share import Share
from edgexai.train.shared_layers import shared_layers
from edgexai.train.validate import twin_accuracy
from edgexai.train.watch import RobustWatch
from edgexai.types import Progress, Split

_VAL_IMAGES = 256
_PENALTY_EVERY, _PANEL = 4, 12


@dataclass(frozen=True)
class RefineSettings:
    """Of the refine step; see ``config.recipe.RefineTable`` for meaning and limits."""

    rounds: int
    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    mask_probability: float
    replace: str
    sensitivity_weight: float
    adversarial_weight: float
    eps: float
    augment: str = "sign"
    augment_strength: float = 1.0
    label_smoothing: float = 0.0
    weight_average: float = 0.0
    precision: str = "fp32"

    @property
    def uses_cells(self) -> bool:
        """False where no term reads what is flagged."""
        return self.mask_probability > 0 or self.sensitivity_weight > 0


def refine(
    net: Network,
    train: Split,
    val: Split,
    *,
    settings: RefineSettings,
    detection: DetectSettings | None,
    seed: int,
    work: Path,
    progress: Progress,
    given: Sequence[Flags] = (),
    team: Team = ALONE,
) -> list[Flags]:
    """Refines ``net`` in place and leaves it in eval mode.

    Args:
        detection: how to flag by LIME; None = the control arm or a fine-tuning, which takes its cells from ``given``.
        given: one ``Flags`` per round when ``detection`` is None; not read where ``settings.uses_cells`` is False.
        work: holds checkpoint and flags; a restart continues to bit-identical weights.
        team: processes that train together; each holds the same network before and after.

    Returns:
        The flags of every round; none where ``settings.uses_cells`` is False.

    Raises:
        UserError: the loss became NaN or infinite.
        MissingCapability: mixed precision without CUDA.
    """
    net.to(memory_format=torch.channels_last)
    device = str(net.mean.device)
    autocast(settings.precision, device=device)  # refused here, before anything is explained
    optimiser = sgd(net, weight_decay=settings.weight_decay)
    feed = Feed(
        train,
        batch_size=settings.batch_size,
        augment=settings.augment,
        strength=settings.augment_strength,
        seed=seed,
        device=device,
        team=team,
    )
    watch = RobustWatch(val, n=_VAL_IMAGES, eps=settings.eps, seed=seed, team=team)
    rng = np.random.default_rng([seed, 4])
    panel = rng.permutation(stratified(train.labels, _PANEL, rng))[:_PANEL]  # shown round by round, so always explained
    restored = load_checkpoint(work, net=net, optimiser=optimiser)
    first, averaged, notes = restored if restored else (0, {}, {"lambda": -1.0, **RobustWatch.NOTES})
    average = WeightAverage(net, decay=settings.weight_average)
    if averaged:
        average.load(averaged)
    epochs, flags = settings.rounds * settings.epochs, [read_flags(work, r) for r in range(settings.rounds)]
    for epoch in range(first, epochs):
        if notes["collapsed"]:
            break
        this_round = epoch // settings.epochs
        found = flags[this_round]
        if found is None and settings.uses_cells:
            if detection is None:
                found = given[min(this_round, len(given) - 1)]  # a collapsed run flagged in fewer rounds
            elif team.leads:
                found = detect(
                    average.network(net),
                    train,
                    classes=net.arch.classes,
                    settings=detection,
                    always=panel,
                    seed=epoch_seed(seed, 1000 + this_round),
                    tick=lambda done, total: progress({"what": "explain", "done": done, "total": total}),
                )
            if found is not None:
                write_flags(work, this_round, found)
            team.first_file(flag_path(work, this_round))  # the others wait for the explanations of the first
            flags[this_round] = found = found if team.leads else read_flags(work, this_round)
        healthy = {k: v.clone() for k, v in average.state.items()}
        with torch.random.fork_rng(devices=[]), shared_layers(net, feed.share):
            torch.manual_seed(epoch_seed(seed + 1, epoch))  # dropout draws from the global generator
            cells = found.cells if found else None
            loss = _epoch(net, feed, optimiser, average, cells, epoch, epochs, settings, notes)
        shown = average.network(net)
        scalars = {"loss": loss, "val_acc": twin_accuracy(shown, val)}
        if found:
            scalars["flagged_share"] = float(found.cells.mean())
        if settings.adversarial_weight:
            scalars["val_robust_acc"] = watch.look(shown, notes, epoch=epoch)
            if notes["collapsed"]:
                average.load(healthy)
        save_checkpoint(work, epoch=epoch + 1, net=net, optimiser=optimiser, extra=average.state, notes=notes)
        event = {"what": "epoch", "done": epoch + 1, "total": epochs, "step": epoch + 1, "scalars": scalars}
        progress(event | ({"collapsed": True} if notes["collapsed"] else {}))
    net.load_state_dict(average.state)
    net.eval()
    return [f for f in flags if f is not None]


def control_flags(flags: Sequence[Flags], *, seed: int) -> list[Flags]:
    """Random cells of equal number, image by image and round by round."""
    return [random_cells(f, seed=epoch_seed(seed, 2000 + k)) for k, f in enumerate(flags)]


def _epoch(
    net: Network,
    feed: Feed,
    optimiser: torch.optim.Optimizer,
    average: WeightAverage,
    cells: NDArray[np.bool_] | None,
    epoch: int,
    epochs: int,
    settings: RefineSettings,
    notes: dict[str, float],
) -> float:
    """One pass over the training images; returns the mean loss."""
    net.train()
    device = net.mean.device
    mixed = autocast(settings.precision, device=str(device))
    flagged = None if cells is None else torch.from_numpy(cells).to(device)
    loss_sum = torch.zeros((), device=device)
    for step, (raw, labels, index, generator) in enumerate(feed.epoch(epoch)):
        set_lr(optimiser, one_cycle(epoch * len(feed) + step, epochs * len(feed), settings.lr))
        if flagged is not None and settings.mask_probability:
            chosen = (torch.rand(len(raw), generator=generator) < settings.mask_probability).to(device)
            cut = flagged[index] & chosen[:, None]
            raw = replace_cells(raw, cut, how=settings.replace, colour=net.mean, generator=generator)
        marked = None
        if flagged is not None and settings.sensitivity_weight and step % _PENALTY_EVERY == 0:
            marked = cells_to_pixels(flagged[index].float(), raw.shape[-1])
            images, marked = feed.augmented_with(raw, marked, generator)
        else:
            images = feed.augmented(raw, generator)
        with mixed:
            loss = _loss(net, images, feed.mine(labels), marked, generator, settings, notes, share=feed.share)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        feed.share.add_gradients(net)
        optimiser.step()
        average.update(net, epoch * len(feed) + step)
        loss_sum += loss.detach()
    loss_sum = feed.share.sum(loss_sum)
    if not torch.isfinite(loss_sum):
        raise UserError("refinement diverged: the loss is not finite", next_step="lower refine.lr")
    return float(loss_sum) / len(feed)


def _loss(
    net: Network,
    images: Tensor,
    labels: Tensor,
    marked: Tensor | None,
    generator: torch.Generator,
    settings: RefineSettings,
    notes: dict[str, float],
    *,
    share: Share | None = None,
) -> Tensor:
    """The loss of the module docstring for one batch; without L_reg where ``marked`` (N,1,H,W) is None.

    With a share it is this process's part: the parts of all processes add up to the loss of the batch.
    """
    share = Share(0, 1, len(images)) if share is None else share
    alpha, adversary = settings.adversarial_weight, Adversary(settings.eps)
    if not alpha and marked is None:
        return share.weighted(F.cross_entropy(net(images), labels, label_smoothing=settings.label_smoothing))
    moved = images + adversary.start(images, generator, share=share) if alpha else images
    start = moved.clamp(0, 1).requires_grad_(True)
    # summed, not averaged: each image's gradient is then its own, whatever the batch size
    start_logits = net(start)
    start_loss = F.cross_entropy(start_logits, labels, reduction="sum")
    (gradient,) = torch.autograd.grad(start_loss, start, create_graph=marked is not None)
    if alpha:
        attacked = adversary.ascend(start.detach(), images, gradient.detach())
        both = torch.cat([images, attacked]).contiguous(memory_format=torch.channels_last)
        logits, attacked_logits = net(both).chunk(2)
        smooth = settings.label_smoothing
        task = F.cross_entropy(logits, labels, label_smoothing=smooth)
        loss = (task + alpha * F.cross_entropy(attacked_logits, labels, label_smoothing=smooth)) / (1 + alpha)
    else:
        task = loss = F.cross_entropy(start_logits, labels, label_smoothing=settings.label_smoothing)
    loss = share.weighted(loss)
    if marked is not None:
        count = marked.sum((1, 2, 3))
        per_image = (gradient.square() * marked).sum((1, 2, 3)) / count.clamp(min=1)
        penalty = per_image.sum() / share.sum((count > 0).sum()).clamp(min=1)
        if notes["lambda"] < 0:
            whole_task, whole_penalty = share.sum(share.weighted(task.detach())), share.sum(penalty.detach())
            if float(whole_penalty) > 0:
                notes["lambda"] = settings.sensitivity_weight * float(whole_task) / float(whole_penalty)
        loss = loss + max(notes["lambda"], 0.0) * _PENALTY_EVERY * penalty
    return loss
