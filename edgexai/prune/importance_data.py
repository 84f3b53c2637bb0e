"""What matters, read from what channels do on labelled images; same signature as in ``importance``.

``taylor``, ``fisher`` and ``robust`` are in units of the loss, so groups compare as they are; ``attribution`` is a
share, divided by the mean of its group.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from edgexai.attack.fgsm import fgsm
from edgexai.errors import UserError
from edgexai.prune.coupling import Coupling
from edgexai.prune.evidence import Evidence
from edgexai.prune.gates import gate_signals


def taylor(coupling: Coupling, *, evidence: Evidence | None, seed: int) -> list[Tensor | None]:
    """|first-order change of the cross-entropy| when the channel goes, mean over images (Molchanov et al. 2017)."""
    images, labels, given = _tensors(coupling, evidence, "taylor")
    return _first_order(coupling, images, labels, given.batch_size)


def robust(coupling: Coupling, *, evidence: Evidence | None, seed: int) -> list[Tensor | None]:
    """``taylor`` on FGSM examples of the network that is being pruned: channels that hold the loss under attack."""
    images, labels, given = _tensors(coupling, evidence, "robust")
    attacked = [
        fgsm(coupling.net, images[k : k + given.batch_size], labels[k : k + given.batch_size], eps=given.eps, seed=seed)
        for k in range(0, len(images), given.batch_size)
    ]
    return _first_order(coupling, torch.cat(attacked), labels, given.batch_size)


def fisher(coupling: Coupling, *, evidence: Evidence | None, seed: int) -> list[Tensor | None]:
    """Half the diagonal of the loss's Hessian by the channel's factor: second-order rise of the loss when it goes.

    The Hessian is the Fisher matrix (Theis et al. 2018), with one label an image drawn from the network's own softmax,
    not the true label: at a trained optimum true labels have next to no gradient.
    """
    images, _, given = _tensors(coupling, evidence, "fisher")
    generator = torch.Generator().manual_seed(seed)

    def sampled_loss(logits: Tensor, part: slice) -> Tensor:
        drawn = torch.multinomial(logits.detach().softmax(1).cpu(), 1, generator=generator)[:, 0]
        return F.cross_entropy(logits, drawn.to(logits.device), reduction="sum")

    totals = _totals(coupling)
    for _, signals in gate_signals(coupling, images, objective=sampled_loss, batch_size=given.batch_size):
        for total, signal in zip(totals, signals, strict=True):
            total += signal.sum((2, 3)).square().sum(0)
    return [total / (2 * len(images)) for total in totals]


def attribution(coupling: Coupling, *, evidence: Evidence | None, seed: int) -> list[Tensor | None]:
    """Attribution inside the sign times the share that lies inside: what goes first explains little, or the background.

    Attribution is |activation x gradient of the true class's logit|; each image has the same say. The region is shrunk
    to the size of the feature map by area; behind a linear layer there are no places, all counts as inside.

    Raises:
        UserError: the images have neither masks nor boxes.
    """
    images, labels, given = _tensors(coupling, evidence, "attribution")
    regions = given.split.relevance()
    if regions is None:
        raise UserError(
            'prune.importance = "attribution" needs to know where the sign is; these images have no masks or boxes',
            next_step='take "taylor"',
        )
    region = torch.from_numpy(regions).float()[:, None]

    def logit(logits: Tensor, part: slice) -> Tensor:
        return logits.gather(1, labels[part, None]).sum()

    inside, whole = _totals(coupling), _totals(coupling)
    for part, signals in gate_signals(coupling, images, objective=logit, batch_size=given.batch_size):
        for within, total, signal in zip(inside, whole, signals, strict=True):
            share = signal.abs()
            share = share / share.sum((1, 2, 3), keepdim=True).clamp_min(torch.finfo(share.dtype).tiny)
            places = F.adaptive_avg_pool2d(region[part].to(share.device), (share.shape[2], share.shape[3]))
            places = places if share.shape[2:] != (1, 1) else torch.ones_like(places)
            within += (share * places).sum((0, 2, 3))
            total += share.sum((0, 2, 3))
    tiny = torch.finfo(torch.float32).tiny
    scores = [within.square() / total.clamp_min(tiny) for within, total in zip(inside, whole, strict=True)]
    return [score / score.mean().clamp_min(tiny) for score in scores]


def _first_order(coupling: Coupling, images: Tensor, labels: Tensor, batch_size: int) -> list[Tensor | None]:
    def loss(logits: Tensor, part: slice) -> Tensor:
        return F.cross_entropy(logits, labels[part], reduction="sum")

    totals = _totals(coupling)
    for _, signals in gate_signals(coupling, images, objective=loss, batch_size=batch_size):
        for total, signal in zip(totals, signals, strict=True):
            total += signal.sum((2, 3)).abs().sum(0)
    return [total / len(images) for total in totals]


def _totals(coupling: Coupling) -> list[Tensor]:
    return [torch.zeros(group.width, device=coupling.net.mean.device) for group in coupling.groups]


def _tensors(coupling: Coupling, evidence: Evidence | None, name: str) -> tuple[Tensor, Tensor, Evidence]:
    if evidence is None or not len(evidence.split):
        raise UserError(f'prune.importance = "{name}" looks at images and was given none')
    device = coupling.net.mean.device
    images = torch.from_numpy(evidence.split.as_float()).to(device)
    return images, torch.from_numpy(evidence.split.labels).to(device), evidence
