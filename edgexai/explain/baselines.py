"""Maps that know nothing of the model, to stand beside every explanation score.

A score that a random map reaches says nothing; a localisation score that a centred Gaussian reaches says only that
signs stand in the middle of their crops.
"""

from __future__ import annotations

import numpy as np

from edgexai.errors import UserError
from edgexai.types import Maps


def random_map(n: int, size: int, seed: int) -> Maps:
    """Independent uniform values in [0,1).

    Args:
        n: number of maps.
        size: side in pixels.
        seed: of the draw; the first k of n maps equal those of a call with n = k.

    Returns:
        float32 (n,size,size).

    Raises:
        UserError: ``n`` < 0 or ``size`` < 1.
    """
    _check(n, size)
    return np.random.default_rng(seed).random((n, size, size), dtype=np.float32)


def centre_gaussian(n: int, size: int) -> Maps:
    """A Gaussian around the image's centre, standard deviation a quarter of the side, peak towards 1; n times.

    Args:
        n: number of maps.
        size: side in pixels.

    Returns:
        float32 (n,size,size), writable.

    Raises:
        UserError: ``n`` < 0 or ``size`` < 1.
    """
    _check(n, size)
    offset = (np.arange(size) + 0.5 - size / 2) / (size / 4)
    bell = np.exp(-0.5 * offset**2)
    return np.tile(np.outer(bell, bell).astype(np.float32), (n, 1, 1))


def _check(n: int, size: int) -> None:
    if n < 0 or size < 1:
        raise UserError(f"n = {n}, size = {size}; n must be at least 0 and size at least 1 pixel")
