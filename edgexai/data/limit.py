"""Keeps a few images of every class, for trying a recipe out; the report says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgexai.types import Split


def limited(splits: Mapping[str, Split], *, per_class: int, whole: Sequence[str]) -> dict[str, Split]:
    """All splits, each but those of ``whole`` with the first ``per_class`` images of every class, in their order."""
    out = dict(splits)
    for name, split in splits.items():
        if name not in whole:
            first = [np.flatnonzero(split.labels == label)[:per_class] for label in np.unique(split.labels)]
            out[name] = split.take(np.sort(np.concatenate(first)).astype(np.int64)) if first else split
    return out
