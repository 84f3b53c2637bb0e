"""What every training is made of: batches, optimiser, averaged weights, what a checkpoint brought back, and one pass.

A way of training is then its loss of one batch, and what it looks at after every pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn

from edgexai.errors import UserError
from edgexai.models.base import Network
from edgexai.train.average import WeightAverage
from edgexai.train.checkpoint import load_checkpoint, save_checkpoint
from edgexai.train.feed import Feed, epoch_seed
from edgexai.train.optimiser import one_cycle, set_lr, sgd
from edgexai.train.parallel import ALONE, Team
from edgexai.train.precision import autocast
from edgexai.train.shared_layers import shared_layers
from edgexai.types import Split

BatchLoss: TypeAlias = Callable[[Tensor, Tensor, torch.Generator], Tensor]
"""(images (B,3,H,W) augmented, labels (B,), the batch's generator) -> the mean loss of this process's rows."""


@dataclass(frozen=True)
class LoopSettings:
    """What every loop needs; see ``config.recipe.TrainTable`` for meaning and limits."""

    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    label_smoothing: float = 0.0
    weight_average: float = 0.0
    augment: str = "sign"
    augment_strength: float = 1.0
    precision: str = "fp32"


class Loop:
    """One training of ``net``, from its checkpoint on where there is one.

    Args:
        net: trained in place.
        train: what it sees.
        settings: of the loop.
        seed: of batches, augmentation and dropout.
        work: holds the checkpoint.
        team: processes that train together.
        learnt: whatever else is optimised, with ``net`` in it; None: ``net`` alone.

    Attributes:
        share: of this process in every batch.
        average: the moving average of the weights of ``net``; its state is the caller's to restore from ``kept``.
        first: the epoch to go on with, from 0.
        kept, notes: what the checkpoint held besides; {} where there was none.

    Raises:
        MissingCapability: mixed precision without CUDA.
    """

    def __init__(
        self,
        net: Network,
        train: Split,
        *,
        settings: LoopSettings,
        seed: int,
        work: Path,
        team: Team = ALONE,
        learnt: nn.Module | None = None,
    ) -> None:
        net.to(memory_format=torch.channels_last)
        device = str(net.mean.device)
        self._net, self._learnt = net, net if learnt is None else learnt
        self._settings, self._seed, self._work = settings, seed, work
        self._optimiser = sgd(self._learnt, weight_decay=settings.weight_decay)
        self._mixed = autocast(settings.precision, device=device)
        self._feed = Feed(
            train,
            batch_size=settings.batch_size,
            augment=settings.augment,
            strength=settings.augment_strength,
            seed=seed,
            device=device,
            team=team,
        )
        self.share = self._feed.share
        self.first, self.kept, self.notes = load_checkpoint(work, net=net, optimiser=self._optimiser) or (0, {}, {})
        self.average = WeightAverage(net, decay=settings.weight_average)

    @property
    def batches(self) -> int:
        """Of one pass."""
        return len(self._feed)

    def one_pass(self, epoch: int, loss_of: BatchLoss, *, what: str = "training", knob: str = "train.lr") -> float:
        """Trains on every image once.

        Args:
            epoch: from 0; decides the order, the augmentation and the learning rate.
            loss_of: the loss of one batch.
            what, knob: for the error.

        Returns:
            The mean loss.

        Raises:
            UserError: the loss became NaN or infinite (learning rate too high).
        """
        net, feed, settings = self._net, self._feed, self._settings
        total = settings.epochs * len(feed)
        loss_sum = torch.zeros((), device=net.mean.device)
        net.train()
        with torch.random.fork_rng(devices=[]), shared_layers(self._learnt, self.share):
            torch.manual_seed(epoch_seed(self._seed + 1, epoch))  # dropout draws from the global generator
            for step, (raw, labels, _, generator) in enumerate(feed.epoch(epoch)):
                set_lr(self._optimiser, one_cycle(epoch * len(feed) + step, total, settings.lr))
                images, labels = feed.augmented(raw, generator), feed.mine(labels)
                with self._mixed:
                    loss = self.share.weighted(loss_of(images, labels, generator))
                self._optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                self.share.add_gradients(self._learnt)
                self._optimiser.step()
                self.average.update(net, epoch * len(feed) + step)
                loss_sum += loss.detach()
        loss_sum = self.share.sum(loss_sum)
        if not torch.isfinite(loss_sum):
            raise UserError(f"{what} diverged: the loss is not finite", next_step=f"lower {knob}")
        return float(loss_sum) / len(feed)

    def save(self, epoch: int, *, extra: Mapping[str, Tensor], notes: Mapping[str, float] | None = None) -> None:
        """Writes the checkpoint after ``epoch`` (from 0); ``extra`` and ``notes`` come back as ``kept``, ``notes``."""
        save_checkpoint(self._work, epoch=epoch + 1, net=self._net, optimiser=self._optimiser, extra=extra, notes=notes)
