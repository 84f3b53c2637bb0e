"""What matters, read from the weights alone: one score per channel and group of coupled channels; low goes first.

Every importance is ``f(coupling, *, evidence, seed) -> [scores (width,) or None, ...]``, one entry a group; None leaves
the group as wide as it is. Scores of different groups are compared where the scope of pruning is wider than a layer:
norms are therefore divided by the mean of their group (as Torch-Pruning does).
"""

from __future__ import annotations

import torch
import torch_pruning as tp
from torch import Tensor

from edgexai.errors import UserError
from edgexai.prune.coupling import Coupling
from edgexai.prune.evidence import Evidence


def group_l2(coupling: Coupling, *, evidence: Evidence | None, seed: int) -> list[Tensor | None]:
    """Squared L2 norm over every weight tied to a channel, its readers included (DepGraph, Fang et al. 2023)."""
    norm = tp.importance.GroupMagnitudeImportance(p=2, normalizer=None)
    return [_by_mean(norm(group.handle)) for group in coupling.groups]


def l1(coupling: Coupling, *, evidence: Evidence | None, seed: int) -> list[Tensor | None]:
    """L1 norm of the filters that produce a channel (Li et al. 2017)."""
    return _filter_norms(coupling, 1)


def l2(coupling: Coupling, *, evidence: Evidence | None, seed: int) -> list[Tensor | None]:
    """L2 norm of the filters that produce a channel."""
    return _filter_norms(coupling, 2)


def bn_scale(coupling: Coupling, *, evidence: Evidence | None, seed: int) -> list[Tensor | None]:
    """|scale| of the channel's batch norms, averaged over them (Network Slimming, Liu et al. 2017).

    Groups without a batch norm stay as they are. The scales are compared as they are, not divided by their mean: that
    they are comparable is the method's idea.

    Raises:
        UserError: the network has no batch norm.
    """
    scores: list[Tensor | None] = [
        torch.stack([norm.weight.detach().abs() for norm in group.norms]).mean(0) if group.norms else None
        for group in coupling.groups
    ]
    if all(score is None for score in scores):
        raise UserError(
            f'prune.importance = "bn_scale": {coupling.net.arch.name} has no batch norm',
            next_step='take "l2" or "taylor"',
        )
    return scores


def random_scores(coupling: Coupling, *, evidence: Evidence | None, seed: int) -> list[Tensor | None]:
    """The control: a channel's score is a random number."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(group.width, generator=generator) for group in coupling.groups]


def _filter_norms(coupling: Coupling, p: int) -> list[Tensor | None]:
    return [
        _by_mean(
            torch.stack([m.get_parameter("weight").detach().flatten(1).norm(p, 1) for m in group.producers]).sum(0)
        )
        for group in coupling.groups
    ]


def _by_mean(scores: Tensor) -> Tensor:
    return scores / scores.mean().clamp_min(torch.finfo(scores.dtype).tiny)
