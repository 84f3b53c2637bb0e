"""Holds out a share of the images of every class, where nothing says which images belong together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import UserError
from edgexai.types import Labels


def split_stratified(labels: Labels, *, share: float, seed: int) -> NDArray[np.bool_]:
    """Chooses ``max(1, round(share * n))`` images of every class; each class draws from its own stream.

    Args:
        labels: (N,).
        share: of each class's images, in (0, 0.5).
        seed: of the draw.

    Returns:
        (N,) True where an image is held out.

    Raises:
        UserError: a class has fewer than two images.
    """
    held_out = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        if len(own) < 2:
            raise UserError(f"class {label} has one training image; a validation split needs two")
        n_held = max(1, round(share * len(own)))
        held_out[np.random.default_rng([seed, int(label)]).permutation(own)[:n_held]] = True
    return held_out
