"""Bootstrap intervals of what is not a mean over images: calibration error, areas under curves.

The images are resampled as *counts* (how often each was drawn), so that a statistic sorts its images once for all
draws. Source: Efron 1979. "basic" mirrors the quantiles at the estimate (2 value - q): for statistics that resampling
itself pushes one way, as it does a calibration error, which only grows with noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError
from edgexai.measure.proportions import Interval

Statistic = Callable[[NDArray[Any]], NDArray[np.float64]]
"""Counts (R,N) -> (R,) values; counts of one are the sample itself."""
_COUNTS_AT_ONCE = 4_000_000


def bootstrap_statistic(
    statistic: Statistic, n: int, *, seed: int, kind: Literal["percentile", "basic"], n_resamples: int = 1000
) -> Interval:
    """The statistic on the images, with its 95 % interval.

    Args:
        statistic: from counts to values; may return NaN for draws in which it is undefined, they are left out.
        n: images, at least 1.
        seed: of the draws.
        kind: "percentile", or "basic" for biased statistics.
        n_resamples: bootstrap draws.

    Raises:
        ShapeError: no images.
    """
    if n < 1:
        raise ShapeError(f"{n} images: a bootstrap needs at least 1")
    value = float(statistic(np.ones((1, n)))[0])
    rng = np.random.default_rng(seed)
    parts = []
    block = max(1, _COUNTS_AT_ONCE // n)
    for start in range(0, n_resamples, block):
        size = min(block, n_resamples - start)
        drawn = rng.integers(0, n, size=(size, n)) + n * np.arange(size)[:, None]
        parts.append(statistic(np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)))
    found = np.concatenate(parts)
    low, high = np.quantile(found[~np.isnan(found)], (0.025, 0.975))
    if kind == "basic":
        low, high = 2 * value - high, 2 * value - low
    return Interval(value, float(low), float(high))
