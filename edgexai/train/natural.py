"""Plain training on clean images: the whole loop, with a checkpoint per epoch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from edgexai.models.base import Network
from edgexai.train.loop import Loop, LoopSettings
from edgexai.train.parallel import ALONE, Team
from edgexai.train.validate import twin_accuracy
from edgexai.types import Progress, Split


def fit_natural(
    net: Network,
    train: Split,
    val: Split,
    *,
    settings: LoopSettings,
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
    loop = Loop(net, train, settings=settings, seed=seed, work=work, team=team)
    average = loop.average
    if loop.kept:
        average.load(loop.kept)

    def loss_of(images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        return F.cross_entropy(net(images), labels, label_smoothing=settings.label_smoothing)

    for epoch in range(loop.first, settings.epochs):
        loss = loop.one_pass(epoch, loss_of)
        scalars = {"loss": loss, "val_acc": twin_accuracy(average.network(net), val)}
        loop.save(epoch, extra=average.state)
        done = epoch + 1
        progress({"what": "epoch", "done": done, "total": settings.epochs, "step": done, "scalars": scalars})
    net.load_state_dict(average.state)
    net.eval()
    return {"val_acc": twin_accuracy(net, val)}
