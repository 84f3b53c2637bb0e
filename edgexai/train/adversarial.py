"""Adversarial training: FGSM with a random start, PGD, or TRADES; the whole loop, with a checkpoint per epoch.

One step, on a batch x and its attacked copy x_adv (``train.perturb``: in pixels, train mode throughout):

    fgsm, pgd:  L = (c CE(x) + a CE(x_adv)) / (c + a)      x_adv raises CE       (Madry et al., arXiv 1706.06083)
    trades:     L = CE(x) + a KL(p(x) || p(x_adv))         x_adv raises that KL  (Zhang et al., arXiv 1901.08573)

with c = ``clean_weight`` and a = ``adversarial_weight``. Clean and attacked images pass the network together; where c
is 0 the clean ones do not pass at all. Differences from the TRADES paper: the attack starts at a uniform point of the
ball, not beside the image, and meets the network in train mode.

What is validated and returned is a moving average of the weights, which overfits adversarial images less. PGD-10 on
validation images after every epoch finds a collapse (``train.watch``): the weights before it come back and training
ends. With ``patience`` it also ends after so many epochs without a better robust accuracy, and the best epoch's weights
come back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from edgexai.models.base import Network
from edgexai.train.frozen_statistics import frozen_statistics
from edgexai.train.loop import Loop, LoopSettings
from edgexai.train.parallel import ALONE, Team
from edgexai.train.perturb import Adversary, perturb
from edgexai.train.share import Share
from edgexai.train.validate import twin_accuracy
from edgexai.train.watch import RobustWatch
from edgexai.types import Progress, Split

_VAL_IMAGES = 512


@dataclass(frozen=True)
class AdversarialSettings:
    """What the loop needs; see ``config.recipe.TrainTable`` for meaning and limits.

    Attributes:
        plain: of the loop, as natural training has them.
        adversary: the attack inside the step.
        trades: the loss of TRADES instead of cross-entropy; ``clean_weight`` is then 1.
        patience: epochs without a better robust accuracy before training ends; 0 = run all, keep the last.
    """

    plain: LoopSettings
    adversary: Adversary
    trades: bool = False
    clean_weight: float = 1.0
    adversarial_weight: float = 1.0
    patience: int = 0


def fit_adversarial(
    net: Network,
    train: Split,
    val: Split,
    *,
    settings: AdversarialSettings,
    seed: int,
    work: Path,
    progress: Progress,
    team: Team = ALONE,
) -> Mapping[str, float]:
    """Trains ``net`` in place and leaves it in eval mode, with the moving average of its weights.

    Args:
        val: decides on collapse and early stop.
        work: holds the checkpoint; a restart continues from it to bit-identical weights (same machine, same threads).
        team: processes that train together; each holds the same network before and after.

    Returns:
        Validation accuracy, the best robust one seen, and the epoch (from 1) whose weights these are.

    Raises:
        UserError: the loss became NaN or infinite (learning rate too high).
        MissingCapability: mixed precision without CUDA.
    """
    plain, adversary = settings.plain, settings.adversary
    loop = Loop(net, train, settings=plain, seed=seed, work=work, team=team)
    average, kept = loop.average, loop.kept
    watch = RobustWatch(val, n=_VAL_IMAGES, eps=adversary.eps, norm=adversary.norm, seed=seed, team=team)
    notes = loop.notes or {**RobustWatch.NOTES, "epoch": 0.0}
    if kept:
        average.load(_named("average", kept))
    best = _named("best", kept)

    def loss_of(images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        return _loss(net, images, labels, generator, settings, share=loop.share)

    for epoch in range(loop.first, plain.epochs):
        if notes["collapsed"] or _out_of_patience(epoch, notes, settings.patience):
            break
        healthy = {k: v.clone() for k, v in average.state.items()}
        loss = loop.one_pass(epoch, loss_of)
        shown = average.network(net)
        scalars = {"loss": loss, "val_acc": twin_accuracy(shown, val)}
        scalars["val_robust_acc"] = watch.look(shown, notes, epoch=epoch)
        notes["epoch"] = float(epoch + 1)
        if notes["collapsed"]:
            average.load(healthy)
            notes["epoch"] = float(epoch)
        elif settings.patience and notes["best_epoch"] == epoch + 1:
            best = {k: v.clone() for k, v in average.state.items()}
        extra = {f"average.{k}": v for k, v in average.state.items()} | {f"best.{k}": v for k, v in best.items()}
        loop.save(epoch, extra=extra, notes=notes)
        event = {"what": "epoch", "done": epoch + 1, "total": plain.epochs, "step": epoch + 1, "scalars": scalars}
        progress(event | ({"collapsed": True} if notes["collapsed"] else {}))
    net.load_state_dict(best or average.state)
    net.eval()
    kept_epoch = notes["best_epoch"] if best else notes["epoch"]
    return {"val_acc": twin_accuracy(net, val), "best_val_robust_acc": notes["best"], "epoch": kept_epoch}


def _loss(
    net: Network,
    images: Tensor,
    labels: Tensor,
    generator: torch.Generator,
    settings: AdversarialSettings,
    *,
    share: Share | None = None,
) -> Tensor:
    """The loss of the module docstring for one batch."""
    smooth, alpha = settings.plain.label_smoothing, settings.adversarial_weight
    with frozen_statistics(net):
        if settings.trades:
            with torch.no_grad():
                aim = F.log_softmax(net(images), 1)
            attacked = perturb(
                lambda points: F.kl_div(F.log_softmax(net(points), 1), aim, reduction="sum", log_target=True),
                images,
                adversary=settings.adversary,
                generator=generator,
                share=share,
            )
        else:
            attacked = perturb(
                lambda points: F.cross_entropy(net(points), labels, reduction="sum"),
                images,
                adversary=settings.adversary,
                generator=generator,
                share=share,
            )
    if not settings.trades and not settings.clean_weight:
        return F.cross_entropy(net(attacked), labels, label_smoothing=smooth)
    both = torch.cat([images, attacked]).contiguous(memory_format=torch.channels_last)
    logits, attacked_logits = net(both).chunk(2)
    clean = F.cross_entropy(logits, labels, label_smoothing=smooth)
    if settings.trades:
        apart = F.kl_div(
            F.log_softmax(attacked_logits, 1), F.log_softmax(logits, 1), reduction="batchmean", log_target=True
        )
        return clean + alpha * apart
    hard = F.cross_entropy(attacked_logits, labels, label_smoothing=smooth)
    return (settings.clean_weight * clean + alpha * hard) / (settings.clean_weight + alpha)


def _named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those under ``prefix.``, without it."""
    return {k.removeprefix(f"{prefix}."): v for k, v in tensors.items() if k.startswith(f"{prefix}.")}


def _out_of_patience(epoch: int, notes: Mapping[str, float], patience: int) -> bool:
    return patience > 0 and epoch - notes["best_epoch"] >= patience
