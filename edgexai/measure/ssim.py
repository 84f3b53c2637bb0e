"""Structural similarity of two attribution maps.

Source: Wang et al., IEEE TIP 2004, with uniform windows and sample covariances (as scikit-image computes it), k1 =
0.01, k2 = 0.03; windows that leave the map are not taken. Convention: each map is first divided by its largest |value|,
because only its pattern speaks, and the data range is that of both maps together. Read it beside a rank correlation: of
an inverted map the local means and the pattern change sign together, and SSIM may not notice.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import UserError
from edgexai.measure.shapes import check_maps, check_same_shape
from edgexai.types import Maps


def ssim(a: Maps, b: Maps, *, window: int = 5) -> NDArray[np.float64]:
    """Mean structural similarity per image: 1 = the same pattern.

    Args:
        a, b: (N,H,W), any scale; not modified.
        window: side in pixels, odd, at least 3.

    Returns:
        (N,) in [-1,1]; NaN where either map is all zero, or both are constant.

    Raises:
        ShapeError, UserError: shapes differ, maps are not finite, or the window does not fit.
    """
    check_same_shape(a, b, ndim=3, name="maps")
    count, height, width = a.shape
    if window < 3 or window % 2 == 0 or window > min(height, width):
        raise UserError(f"window = {window}: odd, from 3 to {min(height, width)} pixels")
    x, y = _scaled(a), _scaled(b)
    span = np.maximum(x.max(1), y.max(1)) - np.minimum(x.min(1), y.min(1))
    c1, c2 = ((k * span)[:, None, None] ** 2 for k in (0.01, 0.03))
    x, y = x.reshape(a.shape), y.reshape(a.shape)
    mean_x, mean_y = _means(x, window), _means(y, window)
    sample = window**2 / (window**2 - 1)
    var_x = sample * (_means(x * x, window) - mean_x**2)
    var_y = sample * (_means(y * y, window) - mean_y**2)
    cov = sample * (_means(x * y, window) - mean_x * mean_y)
    above = (2 * mean_x * mean_y + c1) * (2 * cov + c2)
    below = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    flat = ((np.ptp(a.reshape(count, -1), axis=1) == 0) & (np.ptp(b.reshape(count, -1), axis=1) == 0)) | ~(span > 0)
    found: NDArray[np.float64] = (above / np.where(flat[:, None, None], np.nan, below)).mean(axis=(1, 2))
    return found


def _scaled(maps: Maps) -> NDArray[np.float64]:
    values = check_maps(maps)
    largest = np.abs(values).max(axis=1, keepdims=True)
    return values / np.where(largest > 0, largest, np.nan)


def _means(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    windows = np.lib.stride_tricks.sliding_window_view(values, (window, window), axis=(1, 2))
    means: NDArray[np.float64] = windows.mean(axis=(-2, -1))
    return means
