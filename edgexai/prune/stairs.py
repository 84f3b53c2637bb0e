"""How much: widths from full to narrow, one group of coupled layers narrowed by one multiple at a time.

A scope says which groups compete. "per_layer": none, one channel ratio for all. "global": all, so that the lowest
scores go wherever they are. "isomorphic" (Fang et al. 2024): groups of equal structure, one ratio for each kind.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from edgexai.prune.coupling import Coupled

SCOPES = ("per_layer", "global", "isomorphic")
_STEPS = 200


def stairs(
    widths: tuple[int, ...], groups: Sequence[Coupled], scores: Sequence[Tensor | None], *, scope: str, round_to: int
) -> list[tuple[int, ...]]:
    """Widths, each narrower in one group than the one before; the first is ``widths``.

    The ratio of channels removed is raised slowly; each width is the nearest multiple of ``round_to``, never 0 and
    never wider. Where several groups would step down at one ratio they do so one after the other, the last layers
    first.

    Args:
        scores: per group, or None where a group stays as it is.
    """
    rivals: dict[object, list[int]] = {}
    for index, (group, score) in enumerate(zip(groups, scores, strict=True)):
        if score is not None:
            key: object = {"per_layer": index, "global": 0, "isomorphic": group.kind}[scope]
            rivals.setdefault(key, []).append(index)
    goal = list(widths)
    found = [tuple(goal)]
    ranked = {key: _owners([scores[i] for i in members], members) for key, members in rivals.items()}
    for k in range(1, _STEPS):
        kept = _kept(groups, rivals, ranked, k / _STEPS)
        for index in sorted(kept, reverse=True):
            have = groups[index].width
            wanted = min(have, max(round_to, round_to * round(kept[index] / round_to)))
            if wanted < goal[groups[index].places[0]]:
                for place in groups[index].places:
                    goal[place] = wanted
                found.append(tuple(goal))
    return found


def _kept(
    groups: Sequence[Coupled], rivals: dict[object, list[int]], ranked: dict[object, Tensor], ratio: float
) -> dict[int, float]:
    """Group -> channels that survive when ``ratio`` of each set of rivals goes."""
    kept: dict[int, float] = {}
    for key, members in rivals.items():
        if len(members) == 1:
            kept[members[0]] = groups[members[0]].width * (1 - ratio)
            continue
        gone = ranked[key][: int(ratio * len(ranked[key]))]
        for index in members:
            kept[index] = groups[index].width - int((gone == index).sum())
    return kept


def _owners(scores: Sequence[Tensor | None], members: Sequence[int]) -> Tensor:
    """Which group each channel belongs to, lowest score first."""
    present = [score.cpu() for score in scores if score is not None]
    owner = torch.cat([torch.full((len(s),), index) for s, index in zip(present, members, strict=True)])
    return owner[torch.argsort(torch.cat(present), stable=True)]
