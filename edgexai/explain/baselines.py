"""Maps that know nothing of the model, to stand beside every explanation score.

A score that a random map reaches says nothing; a localisation score that a centred Gaussian reaches says only that
signs stand in the middle of their crops.
"""

from __future__ import annotations

import numpy as np

from edgexai.errors import ShapeError, UserError
from edgexai.types import Images, Maps


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


def edge_map(images: Images) -> Maps:
    """Strength of the edges: length of the Sobel gradient of the grey image (Rec. 601 weights), edges reflected.

    A method whose maps look like this one's may show the picture, not the network (Adebayo et al., 2018).

    Args:
        images: float32 (N,3,H,W); not modified.

    Returns:
        float32 (N,H,W) >= 0.

    Raises:
        ShapeError: images are not (N,3,H,W).
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ShapeError(f"images: {images.shape}; wanted (N,3,H,W)")
    grey = np.einsum("nchw,c->nhw", images.astype(np.float64), [0.299, 0.587, 0.114])
    wide = np.pad(grey, ((0, 0), (1, 1), (1, 1)), mode="symmetric")
    down, across = wide[:, 2:] - wide[:, :-2], wide[:, :, 2:] - wide[:, :, :-2]
    y = (down[:, :, :-2] + 2 * down[:, :, 1:-1] + down[:, :, 2:]) / 8
    x = (across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:]) / 8
    strength: Maps = np.hypot(x, y).astype(np.float32)
    return strength


def _check(n: int, size: int) -> None:
    if n < 0 or size < 1:
        raise UserError(f"n = {n}, size = {size}; n must be at least 0 and size at least 1 pixel")
