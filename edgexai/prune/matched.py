"""Fine-tuning on clean images with the maps held near the dense network's: the whole loop, a checkpoint per epoch.

It is ``train.natural`` with one term more; with a weight of 0 it ends in the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from edgexai.models.base import Network
from edgexai.prune.attribution_match import map_mismatch
from edgexai.train.loop import Loop, LoopSettings
from edgexai.train.validate import twin_accuracy
from edgexai.types import Progress, Split


def fit_matched(
    net: Network,
    teacher: Network,
    train: Split,
    val: Split,
    *,
    settings: LoopSettings,
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
    loop = Loop(net, train, settings=settings, seed=seed, work=work)
    average = loop.average
    if loop.kept:
        average.load(loop.kept)
    apart_sum = torch.zeros((), device=net.mean.device)

    def loss_of(images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        # a network of the user's own need not show its features
        features = net.features(images) if attribution_weight else None
        logits = net(images) if features is None else net.classify(features)
        loss = F.cross_entropy(logits, labels, label_smoothing=settings.label_smoothing)
        if features is None:
            return loss
        apart = map_mismatch(net, features, teacher, images, labels)
        apart_sum.add_(apart.detach())
        return loss + attribution_weight * apart

    for epoch in range(loop.first, settings.epochs):
        apart_sum.zero_()
        mean_loss = loop.one_pass(epoch, loss_of, what="fine-tuning", knob="prune.lr")
        accuracy = twin_accuracy(average.network(net), val)
        loop.save(epoch, extra=average.state)
        scalars = {"loss": mean_loss, "val_acc": accuracy}
        if attribution_weight:
            scalars["map_mismatch"] = float(apart_sum) / loop.batches
        progress({"what": "epoch", "done": epoch + 1, "total": settings.epochs, "step": epoch + 1, "scalars": scalars})
    net.load_state_dict(average.state)
    net.eval()
    return {"val_acc": twin_accuracy(net, val)}
