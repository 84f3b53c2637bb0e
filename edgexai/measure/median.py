"""Interval of a median from order statistics: no shape of distribution is assumed, its coverage is known exactly."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError


class MedianInterval(NamedTuple):
    """A median, two order statistics around it, and the exact chance that they hold the true one."""

    value: float
    low: float
    high: float
    coverage: float


def median_interval(values: NDArray[np.float64]) -> MedianInterval:
    """The narrowest symmetric pair of order statistics that covers the true median with at least 95 %.

    Args:
        values: (n,), n >= 1; not modified.

    Returns:
        Median and interval; below six values the extremes, whose coverage is less than 95 %.

    Raises:
        ShapeError: not (n,) with n >= 1.
    """
    if values.ndim != 1 or not len(values):
        raise ShapeError(f"values have shape {values.shape}; a median takes (n,) with n >= 1")
    n, ordered = len(values), np.sort(values)
    # P(the true median lies below the k-th smallest) = sum_{i<k} C(n,i) / 2^n, the same above by symmetry
    whole, outside, rank, ways = 2**n, 1, 1, n
    while 40 * (outside + ways) <= whole:  # both sides together at most 5 %, in whole numbers
        outside += ways
        rank += 1
        ways = ways * (n - rank + 1) // rank
    coverage = max(0.0, 1 - 2 * outside / whole)
    return MedianInterval(float(np.median(ordered)), float(ordered[rank - 1]), float(ordered[n - rank]), coverage)
