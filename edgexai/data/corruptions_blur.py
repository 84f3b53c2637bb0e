"""Blur: five corruptions that mix neighbouring pixels. See ``corruptions`` for source and convention."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve, gaussian_filter

from edgexai.data.corruptions_motion import streak, zoom_matrix

_Pixels = NDArray[np.float64]
_Rngs = Sequence[np.random.Generator]


def smoothed(x: _Pixels, sigma: float) -> _Pixels:
    """Gaussian over height and width of (n,H,W) or (n,H,W,C), edges repeated, cut at four sigma."""
    wide = (0.0, sigma, sigma, *([0.0] * (x.ndim - 3)))
    out: _Pixels = gaussian_filter(x, sigma=wide, mode="nearest", truncate=4.0)
    return out


def gaussian_blur(x: _Pixels, severity: int, rngs: _Rngs) -> _Pixels:
    """A plain Gaussian."""
    sigma = (0.4, 0.6, 0.7, 0.8, 1.0)[severity - 1]
    return np.clip(smoothed(x, sigma * x.shape[1] / 32), 0, 1)


def defocus_blur(x: _Pixels, severity: int, rngs: _Rngs) -> _Pixels:
    """A disk, itself smoothed by a 3 x 3 Gaussian; edges mirrored."""
    radius, alias = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))[severity - 1]
    kernel = disk(radius * x.shape[1] / 32, alias)
    out: _Pixels = convolve(x, kernel[None, :, :, None], mode="mirror")
    return np.clip(out, 0, 1)


def disk(radius: float, alias: float) -> _Pixels:
    """Weights of a disk, smoothed; its side is odd."""
    reach = int(radius) + 1
    steps = np.arange(-reach, reach + 1)
    inside = (steps[:, None] ** 2 + steps**2 <= radius**2).astype(np.float64)
    soft = np.exp(-np.array([1.0, 0.0, 1.0]) / (2 * alias**2))
    soft /= soft.sum()
    kernel: _Pixels = convolve(inside / inside.sum(), np.outer(soft, soft), mode="constant")
    return kernel


def glass_blur(x: _Pixels, severity: int, rngs: _Rngs) -> _Pixels:
    """Every pixel takes the value of a near one, between two slight Gaussians.

    The published code means to swap pixels but copies them (its swap is of views), each from up to ``reach`` up and to
    the left; the published files show copies, hence so does this.
    """
    sigma, reach, rounds = ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2))[severity - 1]
    n, size = x.shape[:2]
    scale = size / 32
    reach = max(1, round(reach * scale))
    x = np.floor(smoothed(x, sigma * scale) * 255 + 1e-4) / 255
    at = np.arange(reach + 1, size - reach + 1)[: size - 2 * reach]
    # Rows and columns that move: all but the first 1 + reach, and the last reach - 1.
    for _ in range(rounds):
        moves = np.stack([rng.integers(-reach, reach, size=(2, len(at), len(at))) for rng in rngs])
        rows = np.clip(at[None, :, None] + moves[:, 0], 0, size - 1)
        columns = np.clip(at[None, None, :] + moves[:, 1], 0, size - 1)
        moved = x.copy()
        moved[:, at[0] : at[-1] + 1, at[0] : at[-1] + 1] = x[np.arange(n)[:, None, None], rows, columns]
        x = moved
    return np.clip(smoothed(x, sigma * scale), 0, 1)


def motion_blur(x: _Pixels, severity: int, rngs: _Rngs) -> _Pixels:
    """A streak at up to 45 degrees from the level."""
    radius, sigma = ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))[severity - 1]
    scale = x.shape[1] / 32
    degrees = np.array([rng.uniform(-45, 45) for rng in rngs])
    streaked = streak(x, radius=round(radius * scale), sigma=sigma * scale, degrees=degrees)
    # The published ones come back from ImageMagick as whole levels, rounded.
    return np.round(np.clip(streaked, 0, 1) * 255) / 255


def zoom_blur(x: _Pixels, severity: int, rngs: _Rngs) -> _Pixels:
    """The mean of the image and of zooms into its centre."""
    # As the authors write it: in floats, some of these ranges contain their own end.
    factors = np.arange(1, (1.06, 1.11, 1.16, 1.21, 1.26)[severity - 1], 0.01)
    n, size = x.shape[:2]
    # Most neighbouring factors give the same grid: it is applied once and counted.
    grids = Counter(zoom_matrix(size, float(factor)).tobytes() for factor in factors)
    out = x.copy()
    for grid, count in grids.items():
        weights = np.frombuffer(grid).reshape(size, size)
        rows = (weights @ x.reshape(n, size, -1)).reshape(x.shape)
        out += count * (weights @ rows)
    mean: _Pixels = out / (len(factors) + 1)
    return np.clip(mean, 0, 1)
