"""Quantisation-aware fine-tuning: the whole loop, with a checkpoint per epoch.

The network is trained through int8's rounding (``fake_quantise``) to give the logits that its float self gave before
(Kullback-Leibler divergence on augmented training images): what is wanted back is what rounding took, and the network
may have been refined, attacked or pruned in ways that labels alone would undo. Batch norm keeps its running statistics,
as in the graph, and its scale and shift are trained. Steps of activations are calibrated anew before every epoch.
Learning rate from 1 % of the training's on, falling (Wu et al. 2020, arXiv 2004.09602, sec. 5.2, for the 1 %).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from edgexai.errors import UserError
from edgexai.models.base import Network
from edgexai.train.checkpoint import load_checkpoint, save_checkpoint
from edgexai.train.fake_quantise import fake_quantised
from edgexai.train.feed import Feed
from edgexai.train.optimiser import one_cycle, set_lr, sgd
from edgexai.types import Progress, Split


@dataclass(frozen=True)
class QuantisedSettings:
    """What the loop needs.

    Attributes:
        epochs: at least 1.
        lr: its peak; about 1 % of the training's.
        augment, augment_strength: as in ``train.feed``.
    """

    epochs: int
    batch_size: int
    lr: float
    augment: str = "sign"
    augment_strength: float = 1.0


def fit_quantised(
    net: Network,
    train: Split,
    *,
    settings: QuantisedSettings,
    calibrate: Callable[[Network], Mapping[str, float]],
    seed: int,
    work: Path,
    progress: Progress,
) -> list[float]:
    """Trains ``net`` in place through int8's rounding and leaves it in eval mode.

    Args:
        calibrate: the steps of a network's file, by weight name; see ``export.rounding.input_steps``.
        work: holds the checkpoint; a restart continues from it to bit-identical weights (same machine, same threads).

    Returns:
        Mean loss of every epoch that ran here, nats.

    Raises:
        UserError: the loss became NaN or infinite.
    """
    net.to(memory_format=torch.channels_last)
    net.eval()
    teacher = copy.deepcopy(net)
    optimiser = sgd(net, weight_decay=0.0)
    feed = Feed(
        train,
        batch_size=settings.batch_size,
        augment=settings.augment,
        strength=settings.augment_strength,
        seed=seed,
        device=str(net.mean.device),
    )
    restored = load_checkpoint(work, net=net, optimiser=optimiser)
    first = restored[0] if restored else 0
    total = settings.epochs * len(feed)
    losses: list[float] = []
    for epoch in range(first, settings.epochs):
        steps = calibrate(net)
        loss_sum = torch.zeros((), device=net.mean.device)
        for step, (raw, _, _, generator) in enumerate(feed.epoch(epoch)):
            set_lr(optimiser, one_cycle(epoch * len(feed) + step, total, settings.lr))
            images = feed.augmented(raw, generator)
            with torch.no_grad():
                wanted = F.log_softmax(teacher(images), 1)
            found = F.log_softmax(fake_quantised(net, images, steps), 1)
            loss = F.kl_div(found, wanted, reduction="batchmean", log_target=True)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            loss_sum += loss.detach()
        if not torch.isfinite(loss_sum):
            raise UserError(
                "quantisation-aware training diverged: the loss is not finite",
                next_step="lower train.lr, of which it takes 1 %, or set export.qat_epochs = 0",
            )
        losses.append(float(loss_sum) / len(feed))
        save_checkpoint(work, epoch=epoch + 1, net=net, optimiser=optimiser)
        told = {"what": "epoch", "done": epoch + 1, "total": settings.epochs, "step": epoch + 1}
        progress({**told, "scalars": {"loss": losses[-1]}})
    return losses
