"""Intervals and tests. All intervals are 95 % and two-sided.

Sources: Wilson 1927 (score interval); Efron 1979 (percentile bootstrap); McNemar 1947 in its exact, binomial form.
"""

from __future__ import annotations

from math import sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError, UserError

_Z = 1.959963984540054
_DRAWS_AT_ONCE = 2_000_000
"""Bounds the bootstrap's memory to about 32 MB."""


class Interval(NamedTuple):
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


class McNemar(NamedTuple):
    """Discordant pairs and the exact two-sided p-value of "neither is better"."""

    only_a: int
    only_b: int
    p_value: float


def wilson(successes: int, n: int) -> Interval:
    """Wilson score interval of a fraction; sound at 0 and n and for small n.

    Args:
        successes: 0..n.
        n: at least 1.

    Raises:
        UserError: counts out of range.
    """
    if n < 1 or not 0 <= successes <= n:
        raise UserError(f"{successes} successes of {n}: a fraction needs n >= 1 and 0 <= successes <= n")
    share = successes / n
    denominator = 1 + _Z**2 / n
    centre = (share + _Z**2 / (2 * n)) / denominator
    half = _Z * sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2)) / denominator
    # At the ends the exact bound is the end itself; rounding must not push it inside.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Interval(share, low, high)


def bootstrap_mean(values: NDArray[Any], *, seed: int, n_resamples: int = 2000) -> Interval:
    """Percentile interval of a mean over images.

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
    rng = np.random.default_rng(seed)
    means = np.empty(n_resamples)
    block = max(1, _DRAWS_AT_ONCE // len(data))
    for start in range(0, n_resamples, block):
        size = min(block, n_resamples - start)
        means[start : start + size] = data[rng.integers(0, len(data), size=(size, len(data)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(float(data.mean()), float(low), float(high))


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


def mcnemar(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> McNemar:
    """Exact McNemar test of two classifiers on the same images.

    Args:
        a: bool (N,), correct or not.
        b: bool (N,), the other classifier.

    Raises:
        ShapeError: not boolean (N,) of one length.
    """
    if a.shape != b.shape or a.ndim != 1 or a.dtype != np.bool_ or b.dtype != np.bool_:
        raise ShapeError(f"McNemar takes two bool (N,); these are {a.dtype} {a.shape} and {b.dtype} {b.shape}")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    total = only_a + only_b
    # Whole numbers throughout: 2**total overflows a float beyond about a thousand discordant pairs.
    tail, term = 0, 1
    for k in range(min(only_a, only_b) + 1):
        tail += term
        term = term * (total - k) // (k + 1)
    doubled, whole = 2 * tail, 2**total
    return McNemar(only_a, only_b, 1.0 if doubled >= whole else doubled / whole)
