"""Bootstrap intervals of means. All intervals are 95 % and two-sided.

Sources: Efron 1987 (BCa: percentile levels corrected for bias and skewness); Hesterberg 2015 (levels widened from the
normal's to Student's, since resamples of n values vary by (n - 1) / n too little); Efron 1979 and DiCiccio and Efron
1996 (bootstrap-t). Convention: BCa with widened levels; below 250 images each bound is the farther one of that and of
bootstrap-t, because neither alone covers 95 % of few skewed values (``edgexai bench coverage`` prints what all do).
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError, UserError
from edgexai.measure.proportions import Interval
from edgexai.measure.quantiles import normal_cdf, normal_quantile, student_quantile

_DRAWS_AT_ONCE = 2_000_000
"""Bounds the bootstrap's memory to about 32 MB."""
_FEW = 250


def bootstrap_mean(values: NDArray[Any], *, seed: int, n_resamples: int = 2000) -> Interval:
    """Interval of a mean over images.

    Args:
        values: (N,), one per image; not modified.
        seed: of the resampling.
        n_resamples: bootstrap draws.

    Raises:
        ShapeError: not (N,) with N >= 1.
        UserError: values are not finite.
    """
    if values.ndim != 1 or not len(values):
        raise ShapeError(f"values have shape {values.shape}; a bootstrap takes (N,) with N >= 1")
    data = np.asarray(values, dtype=np.float64)
    if not np.isfinite(data).all():
        raise UserError(
            "values hold NaN or infinity: drop undefined images first and say how many (rows.mean_row does)"
        )
    mean, n = float(data.mean()), len(data)
    rounding = 1e-12 * float(np.abs(data).max())
    if float(np.ptp(data)) <= rounding:
        return Interval(mean, mean, mean)
    rng = np.random.default_rng(seed)
    means, spreads = np.empty(n_resamples), np.ones(n_resamples)
    block = max(1, _DRAWS_AT_ONCE // n)
    for start in range(0, n_resamples, block):
        size = min(block, n_resamples - start)
        drawn = data[rng.integers(0, n, size=(size, n))]
        means[start : start + size] = drawn.mean(axis=1)
        if n < _FEW:
            spreads[start : start + size] = drawn.std(axis=1, ddof=1)
    low, high = np.quantile(means, _levels(data, means))
    if n < _FEW:
        defined = spreads > rounding
        low_t, high_t = np.quantile((means[defined] - mean) / spreads[defined], (0.025, 0.975))
        spread = float(data.std(ddof=1))
        low, high = min(low, mean - high_t * spread), max(high, mean - low_t * spread)
    return Interval(mean, float(low), float(high))


def paired_bootstrap(a: NDArray[Any], b: NDArray[Any], *, seed: int, n_resamples: int = 2000) -> Interval:
    """Interval of mean(a - b), images resampled together: the variation both share cancels.

    Args:
        a: (N,), one value per image.
        b: (N,), for the same images in the same order.
        seed: of the resampling.
        n_resamples: bootstrap draws.

    Raises:
        ShapeError, UserError: as ``bootstrap_mean``, or lengths differ.
    """
    if a.shape != b.shape:
        raise ShapeError(f"paired values have shapes {a.shape} and {b.shape}; they must be of the same images")
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    return bootstrap_mean(difference, seed=seed, n_resamples=n_resamples)


def _levels(data: NDArray[np.float64], means: NDArray[np.float64]) -> tuple[float, float]:
    """The quantiles of the resampled means that are the bounds."""
    n, centre = len(data), float(data.mean())
    away = data - centre
    acceleration = float((away**3).sum()) / (6 * float((away**2).sum()) ** 1.5)
    # ties count half: few values that repeat give few different means
    below = float((means < centre).mean() + (means == centre).mean() / 2)
    bias = normal_quantile(min(max(below, 0.001), 0.999))
    wide = sqrt(n / (n - 1)) * student_quantile(0.975, n - 1)
    low, high = (normal_cdf(bias + (bias + z) / (1 - acceleration * (bias + z))) for z in (-wide, wide))
    return low, high
