"""Holds out whole groups of images, where a group (a clip of film) may show signs of several classes.

For groups of one class each, ``split_tracks`` is the simpler rule.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError
from edgexai.types import Labels


def split_groups(labels: Labels, groups: NDArray[np.int64], *, share: float, seed: int) -> NDArray[np.bool_]:
    """Chooses groups so that of every class about ``share`` of its groups, at least one, are held out.

    Classes are served from the rarest on. A group is never held out where it is the last of any of its classes: every
    class keeps images to learn from, and a class of one group gives none to the other side.

    Args:
        labels: (N,) class of each image.
        groups: (N,) group of each image.
        share: of each class's groups, in (0, 0.5).
        seed: of the draw.

    Returns:
        (N,) True where an image is held out; all images of a group alike.

    Raises:
        ShapeError: the two arrays are not of one length and rank 1.
    """
    if labels.ndim != 1 or labels.shape != groups.shape:
        raise ShapeError(f"labels {labels.shape} and groups {groups.shape}: expected two arrays of one length")
    pairs = np.unique(np.stack([groups, labels], axis=1), axis=0)
    of_class = {int(k): set(pairs[pairs[:, 1] == k, 0].tolist()) for k in np.unique(labels)}
    in_group = {int(g): pairs[pairs[:, 0] == g, 1].tolist() for g in np.unique(groups)}
    held: set[int] = set()
    for label in sorted(of_class, key=lambda k: (len(of_class[k]), k)):
        own = sorted(of_class[label])
        wanted = max(1, round(share * len(own))) if len(own) > 1 else 0
        for group in np.random.default_rng([seed, label]).permutation(own).tolist():
            if len(of_class[label] & held) >= wanted:
                break
            last = any(of_class[other] <= held | {group} for other in in_group[group])
            if group not in held and not last:
                held.add(group)
    return np.isin(groups, sorted(held))
