"""AdvProp: attacked images as extra data for clean accuracy (Xie et al., arXiv 1911.09665); the whole loop.

One step, on a batch x and its attacked copy x_adv:

    L = (CE(x through the main batch norms) + a CE(x_adv through the auxiliary ones)) / (1 + a)

All weights but those of the batch norms are shared. x_adv is made through the auxiliary norms too, so the main ones see
clean images only; they alone are validated, averaged and returned: the network has the layers it came with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgexai.models.base import Network
from edgexai.train.auxiliary_norms import AuxiliaryNorms
from edgexai.train.loop import Loop, LoopSettings
from edgexai.train.parallel import ALONE, Team
from edgexai.train.perturb import Adversary, perturb
from edgexai.train.share import Share
from edgexai.train.validate import twin_accuracy
from edgexai.types import Progress, Split

_AVERAGE, _AUXILIARY = "average.", "auxiliary."


@dataclass(frozen=True)
class AdvPropSettings:
    """What the loop needs; see ``config.recipe.TrainTable`` for meaning and limits.

    Attributes:
        plain: of the loop, as natural training has them.
        adversary: the attack inside the step.
        adversarial_weight: of the attacked images, against 1 for the clean ones.
    """

    plain: LoopSettings
    adversary: Adversary
    adversarial_weight: float = 1.0


def fit_advprop(
    net: Network,
    train: Split,
    val: Split,
    *,
    settings: AdvPropSettings,
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
        Validation accuracy.

    Raises:
        UserError: the network has no batch norm, or the loss became NaN or infinite (learning rate too high).
        MissingCapability: mixed precision without CUDA.
    """
    plain, auxiliary = settings.plain, AuxiliaryNorms(net)
    loop = Loop(net, train, settings=plain, seed=seed, work=work, team=team, learnt=nn.ModuleList([net, auxiliary]))
    average, kept = loop.average, loop.kept
    if kept:
        average.load({k.removeprefix(_AVERAGE): v for k, v in kept.items() if k.startswith(_AVERAGE)})
        auxiliary.load_state_dict({k.removeprefix(_AUXILIARY): v for k, v in kept.items() if k.startswith(_AUXILIARY)})

    def loss_of(images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        return _loss(net, auxiliary, images, labels, generator, settings, share=loop.share)

    for epoch in range(loop.first, plain.epochs):
        loss = loop.one_pass(epoch, loss_of)
        scalars = {"loss": loss, "val_acc": twin_accuracy(average.network(net), val)}
        extra = {f"{_AVERAGE}{k}": v for k, v in average.state.items()}
        extra |= {f"{_AUXILIARY}{k}": v for k, v in auxiliary.state_dict().items()}
        loop.save(epoch, extra=extra)
        progress({"what": "epoch", "done": epoch + 1, "total": plain.epochs, "step": epoch + 1, "scalars": scalars})
    net.load_state_dict(average.state)
    net.eval()
    return {"val_acc": twin_accuracy(net, val)}


def _loss(
    net: Network,
    auxiliary: AuxiliaryNorms,
    images: Tensor,
    labels: Tensor,
    generator: torch.Generator,
    settings: AdvPropSettings,
    *,
    share: Share | None = None,
) -> Tensor:
    """The loss of the module docstring for one batch."""
    smooth, alpha = settings.plain.label_smoothing, settings.adversarial_weight
    with auxiliary.in_place():
        attacked = perturb(
            lambda points: F.cross_entropy(net(points), labels, reduction="sum"),
            images,
            adversary=settings.adversary,
            generator=generator,
            share=share,
        )
        hard = F.cross_entropy(net(attacked), labels, label_smoothing=smooth)
    clean = F.cross_entropy(net(images), labels, label_smoothing=smooth)
    return (clean + alpha * hard) / (1 + alpha)
