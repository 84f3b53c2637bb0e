"""Intervals of fractions and of differences of fractions on the same images. All are 95 % and two-sided.

Sources: Wilson 1927 (score); Clopper and Pearson 1934 (exact); Bonett and Price 2012 (paired difference: Wald's
interval with half a discordant pair added on each side of each kind, as Fagerland, Lydersen and Laake 2014 recommend).
Which is used: Wilson for a fraction in a row (it covers 95 % on average and is short), Clopper-Pearson where at least
95 % must be covered whatever the truth, Bonett-Price for two arms on the same images: the bootstrap of a difference
collapses to a point when the arms disagree on no image, although the next image may be one.
"""

from __future__ import annotations

from math import lgamma, log, log1p, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError, UserError

Z95 = 1.959963984540054
"""Two-sided 95 % of the normal distribution."""
_TAIL = 0.025


class Interval(NamedTuple):
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


def wilson(successes: int, n: int) -> Interval:
    """Wilson score interval of a fraction; sound at 0 and n and for small n.

    Args:
        successes: 0..n.
        n: at least 1.

    Raises:
        UserError: counts out of range.
    """
    _check_counts(successes, n)
    share = successes / n
    denominator = 1 + Z95**2 / n
    centre = (share + Z95**2 / (2 * n)) / denominator
    half = Z95 * sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2)) / denominator
    # At the ends the exact bound is the end itself; rounding must not push it inside.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Interval(share, low, high)


def clopper_pearson(successes: int, n: int) -> Interval:
    """Exact interval of a fraction: covers at least 95 % whatever the true fraction.

    The bounds are the fractions at which the observed count, or one farther out, has probability 2.5 %, found by
    halving to 1e-12.

    Args:
        successes: 0..n.
        n: at least 1.

    Raises:
        UserError: counts out of range.
    """
    _check_counts(successes, n)
    low = 0.0 if successes == 0 else 1.0 - _bound(n - successes, n)
    high = 1.0 if successes == n else _bound(successes, n)
    return Interval(successes / n, low, high)


def paired_difference(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> Interval:
    """Share of True in ``a`` minus that in ``b``, on the same images.

    Args:
        a: bool (N,), N >= 1; not modified.
        b: bool (N,), the same images in the same order.

    Returns:
        The observed difference with Bonett and Price's interval, within [-1, 1].

    Raises:
        ShapeError: not boolean (N,) of one length, N >= 1.
    """
    if a.shape != b.shape or a.ndim != 1 or not len(a) or a.dtype != np.bool_ or b.dtype != np.bool_:
        raise ShapeError(f"a paired difference takes two bool (N,); these are {a.dtype} {a.shape}, {b.dtype} {b.shape}")
    only_a, only_b, n = int((a & ~b).sum()), int((b & ~a).sum()), len(a)
    one, other = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    half = Z95 * sqrt((one + other - (one - other) ** 2) / (n + 2))
    value = (only_a - only_b) / n
    # The centre is drawn towards 0; the interval must still hold what was seen.
    low, high = max(-1.0, one - other - half), min(1.0, one - other + half)
    return Interval(value, min(low, value), max(high, value))


def _check_counts(successes: int, n: int) -> None:
    if n < 1 or not 0 <= successes <= n:
        raise UserError(f"{successes} successes of {n}: a fraction needs n >= 1 and 0 <= successes <= n")


def _bound(successes: int, n: int) -> float:
    """p with P(X <= successes) = 2.5 % for X of Binomial(n, p), summed over whichever tail is shorter."""
    upper = 2 * successes > n
    counts = np.arange(successes + 1, n + 1) if upper else np.arange(successes + 1)
    ways: NDArray[Any] = np.array([lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) for k in counts.tolist()])
    low, high = 0.0, 1.0
    while high - low > 1e-12:
        p = (low + high) / 2
        tail = float(np.exp(ways + counts * log(p) + (n - counts) * log1p(-p)).sum())
        below = 1 - tail if upper else tail
        low, high = (p, high) if below > _TAIL else (low, p)
    return (low + high) / 2
