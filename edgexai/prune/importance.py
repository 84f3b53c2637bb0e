"""What matters: scores for a group of coupled channels, as Torch-Pruning importance objects."""

from __future__ import annotations

from typing import Any

import torch_pruning as tp


def group_l2() -> Any:
    """L2 norm over every weight tied to a channel (DepGraph, Fang et al. 2023)."""
    return tp.importance.GroupMagnitudeImportance(p=2)


def random_scores() -> Any:
    """The control: a channel's score is a random number (global torch generator)."""
    return tp.importance.RandomImportance()
