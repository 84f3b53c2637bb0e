"""Streaks: a one-sided Gaussian along a line, and a zoom into the centre; both are parts of several corruptions.

Source of the streak: the kernel of ImageMagick's motion blur, which the published corruptions call: 2 * radius + 1 taps
at whole pixels along the angle, edges repeated. Source of the zoom: linear interpolation between corner-aligned grids.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_Pixels = NDArray[np.float64]


def streak(x: _Pixels, *, radius: int, sigma: float, degrees: _Pixels) -> _Pixels:
    """Blurs each image along its own angle.

    Args:
        x: (n,H,W,C).
        radius: the streak has 2 * radius + 1 taps.
        sigma: of the fall-off along it, pixels.
        degrees: (n,), 0 = along the rows, 90 = down the columns.
    """
    n, height, width, _ = x.shape
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    weights /= weights.sum()
    angle = np.deg2rad(degrees)[:, None]
    right = np.ceil(steps * np.cos(angle) - 0.5).astype(np.int64)
    down = np.ceil(steps * np.sin(angle) - 0.5).astype(np.int64)
    margin = 2 * radius + 1
    # One copy with repeated edges: every tap is then a plain window of it.
    wide = np.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="edge")
    out = np.zeros_like(x)
    for k in range(n):
        for step, weight in enumerate(weights):
            top, left = margin + down[k, step], margin + right[k, step]
            out[k] += weight * wide[k, top : top + height, left : left + width]
    return out


def zoom_matrix(size: int, factor: float) -> _Pixels:
    """(size,size) weights that zoom one axis into its centre by ``factor``: out = weights @ in."""
    kept = int(np.ceil(size / factor))
    first = (size - kept) // 2
    made = round(kept * factor)
    trim = (made - size) // 2
    at = (np.arange(size) + trim) * ((kept - 1) / (made - 1) if made > 1 else 0.0)
    low = np.minimum(np.floor(at).astype(np.int64), kept - 2)
    weights = np.zeros((size, size))
    rows = np.arange(size)
    weights[rows, first + low] = 1 - (at - low)
    weights[rows, first + low + 1] += at - low
    return weights


def zoomed(x: _Pixels, factor: float) -> _Pixels:
    """Square images (n,S,S,C), zoomed into their centre."""
    weights = zoom_matrix(x.shape[1], factor)
    n, size, _, channels = x.shape
    rows = (weights @ x.reshape(n, size, -1)).reshape(n, size, size, channels)
    out: _Pixels = weights @ rows
    return out
