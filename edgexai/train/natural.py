"""Plain training on clean images: the whole loop, with a checkpoint per epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from edgexai.errors import UserError
from edgexai.models.base import Network
from edgexai.train.average import WeightAverage
from edgexai.train.checkpoint import load_checkpoint, save_checkpoint
from edgexai.train.feed import Feed, epoch_seed
from edgexai.train.optimiser import one_cycle, set_lr, sgd
from edgexai.train.parallel import ALONE, Team
from edgexai.train.precision import autocast
from edgexai.train.shared_layers import shared_layers
from edgexai.train.validate import twin_accuracy
from edgexai.types import Progress, Split


@dataclass(frozen=True)
class NaturalSettings:
    """What the loop needs; see ``config.recipe.TrainTable`` for meaning and limits."""

    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    label_smoothing: float = 0.0
    weight_average: float = 0.0
    augment: str = "sign"
    augment_strength: float = 1.0
    precision: str = "fp32"


def fit_natural(
    net: Network,
    train: Split,
    val: Split,
    *,
    settings: NaturalSettings,
    seed: int,
    work: Path,
    progress: Progress,
    team: Team = ALONE,
) -> Mapping[str, float]:
    """Trains ``net`` in place and leaves it in eval mode, with the moving average of its weights.

    Args:
        work: holds the checkpoint; a restart continues from it to bit-identical weights (same machine, same threads).
        team: processes that train together; each holds the same network before and after.

    Returns:
        Final loss and validation accuracy.

    Raises:
        UserError: the loss became NaN or infinite (learning rate too high).
        MissingCapability: mixed precision without CUDA.
    """
    net.to(memory_format=torch.channels_last)
    optimiser = sgd(net, weight_decay=settings.weight_decay)
    device = str(net.mean.device)
    mixed = autocast(settings.precision, device=device)
    feed = Feed(
        train,
        batch_size=settings.batch_size,
        augment=settings.augment,
        strength=settings.augment_strength,
        seed=seed,
        device=device,
        team=team,
    )
    share = feed.share
    restored = load_checkpoint(work, net=net, optimiser=optimiser)
    first, averaged, _ = restored if restored else (0, {}, {})
    average = WeightAverage(net, decay=settings.weight_average)
    if averaged:
        average.load(averaged)
    total = settings.epochs * len(feed)
    loss_sum = torch.zeros((), device=device)
    for epoch in range(first, settings.epochs):
        net.train()
        loss_sum.zero_()
        with torch.random.fork_rng(devices=[]), shared_layers(net, share):
            torch.manual_seed(epoch_seed(seed + 1, epoch))  # dropout draws from the global generator
            for step, (raw, labels, _, generator) in enumerate(feed.epoch(epoch)):
                set_lr(optimiser, one_cycle(epoch * len(feed) + step, total, settings.lr))
                images, labels = feed.augmented(raw, generator), feed.mine(labels)
                with mixed:
                    loss = F.cross_entropy(net(images), labels, label_smoothing=settings.label_smoothing)
                loss = share.weighted(loss)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                share.add_gradients(net)
                optimiser.step()
                average.update(net, epoch * len(feed) + step)
                loss_sum += loss.detach()
        loss_sum = share.sum(loss_sum)
        mean_loss = float(loss_sum) / len(feed)
        if not torch.isfinite(loss_sum):
            raise UserError("training diverged: the loss is not finite", next_step="lower train.lr")
        accuracy = twin_accuracy(average.network(net), val)
        save_checkpoint(work, epoch=epoch + 1, net=net, optimiser=optimiser, extra=average.state)
        progress(
            {
                "what": "epoch",
                "done": epoch + 1,
                "total": settings.epochs,
                "step": epoch + 1,
                "scalars": {"loss": mean_loss, "val_acc": accuracy},
            }
        )
    net.load_state_dict(average.state)
    net.eval()
    return {"val_acc": twin_accuracy(net, val)}
