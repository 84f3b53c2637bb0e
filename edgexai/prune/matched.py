"""Fine-tuning on clean images with the maps held near the dense network's: the whole loop, a checkpoint per epoch.

It is ``train.natural`` with one term more; with a weight of 0 it ends in the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F

from edgexai.errors import UserError
from edgexai.models.base import Network
from edgexai.prune.attribution_match import map_mismatch
from edgexai.train.average import WeightAverage
from edgexai.train.checkpoint import load_checkpoint, save_checkpoint
from edgexai.train.feed import Feed, epoch_seed
from edgexai.train.natural import NaturalSettings
from edgexai.train.optimiser import one_cycle, set_lr, sgd
from edgexai.train.precision import autocast
from edgexai.train.validate import twin_accuracy
from edgexai.types import Progress, Split


def fit_matched(
    net: Network,
    teacher: Network,
    train: Split,
    val: Split,
    *,
    settings: NaturalSettings,
    attribution_weight: float,
    seed: int,
    work: Path,
    progress: Progress,
) -> Mapping[str, float]:
    """Trains ``net`` in place and leaves it in eval mode, with the moving average of its weights.

    Args:
        teacher: the dense network, in eval mode; it stays as it is.
        attribution_weight: of the distance between both class activation maps, against 1 for the cross-entropy.
        work: holds the checkpoint; a restart continues from it to bit-identical weights (same machine, same threads).

    Returns:
        Validation accuracy.

    Raises:
        UserError: the loss became NaN or infinite, or a network has no linear head.
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
    )
    restored = load_checkpoint(work, net=net, optimiser=optimiser)
    first, averaged, _ = restored if restored else (0, {}, {})
    average = WeightAverage(net, decay=settings.weight_average)
    if averaged:
        average.load(averaged)
    total = settings.epochs * len(feed)
    loss_sum, apart_sum = torch.zeros((), device=device), torch.zeros((), device=device)
    for epoch in range(first, settings.epochs):
        net.train()
        loss_sum.zero_()
        apart_sum.zero_()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(epoch_seed(seed + 1, epoch))  # dropout draws from the global generator
            for step, (raw, labels, _, generator) in enumerate(feed.epoch(epoch)):
                set_lr(optimiser, one_cycle(epoch * len(feed) + step, total, settings.lr))
                images = feed.augmented(raw, generator)
                with mixed:
                    # a network of the user's own need not show its features
                    features = net.features(images) if attribution_weight else None
                    logits = net(images) if features is None else net.classify(features)
                    loss = F.cross_entropy(logits, labels, label_smoothing=settings.label_smoothing)
                    if features is not None:
                        apart = map_mismatch(net, features, teacher, images, labels)
                        loss = loss + attribution_weight * apart
                        apart_sum += apart.detach()
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                average.update(net, epoch * len(feed) + step)
                loss_sum += loss.detach()
        if not torch.isfinite(loss_sum):
            raise UserError("fine-tuning diverged: the loss is not finite", next_step="lower prune.lr")
        accuracy = twin_accuracy(average.network(net), val)
        save_checkpoint(work, epoch=epoch + 1, net=net, optimiser=optimiser, extra=average.state)
        scalars = {"loss": float(loss_sum) / len(feed), "val_acc": accuracy}
        if attribution_weight:
            scalars["map_mismatch"] = float(apart_sum) / len(feed)
        progress({"what": "epoch", "done": epoch + 1, "total": settings.epochs, "step": epoch + 1, "scalars": scalars})
    net.load_state_dict(average.state)
    net.eval()
    return {"val_acc": twin_accuracy(net, val)}
