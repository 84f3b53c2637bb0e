"""What a comparison could have seen: the smallest true difference that its number of images finds four times in five.

Two-sided test at 5 %, power 80 %. Sources: Connor 1987 (paired proportions, from the share of images on which the two
disagree); Student's for means. A difference that was not seen is evidence against differences of this size and larger,
and of nothing smaller.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError
from edgexai.measure.proportions import Z95
from edgexai.measure.quantiles import normal_quantile, student_quantile

_Z80 = normal_quantile(0.8)
_FEWEST = 7.906
"""Expected images on which only the better one is right so that six or more, all one way (the fewest with an exact
p < 5 %: 2 / 2^6), are seen four times in five: the Poisson mean with P(X >= 6) = 80 %."""


def detectable_share(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Smallest difference of two fractions on the same images.

    Args:
        a, b: bool (N,), N >= 1, right or wrong; how often they disagree decides.

    Returns:
        A difference in (0, 1]: at least what the exact test needs if all disagreements lie one way.

    Raises:
        ShapeError: not boolean (N,) of one length.
    """
    if a.shape != b.shape or a.ndim != 1 or not len(a) or a.dtype != np.bool_ or b.dtype != np.bool_:
        raise ShapeError(f"two bool (N,) are wanted, not {a.dtype} {a.shape} and {b.dtype} {b.shape}")
    n = len(a)
    # One more image of each kind, as in the interval: that none was seen does not mean that none exists.
    disagree = min(1.0, (int((a != b).sum()) + 2) / (n + 2))
    low, high = 0.0, disagree
    for _ in range(60):
        middle = (low + high) / 2
        enough = middle * sqrt(n) >= Z95 * sqrt(disagree) + _Z80 * sqrt(disagree - middle**2)
        low, high = (low, middle) if enough else (middle, high)
    return min(1.0, max(high, _FEWEST / n))


def detectable_mean(difference: NDArray[Any]) -> float:
    """Smallest mean of paired differences: (t(97.5 %) + t(80 %)) standard errors.

    Args:
        difference: (N,), a - b per image, finite.

    Returns:
        In the unit of the values; infinity with fewer than two images, 0 where all differences are equal.

    Raises:
        ShapeError: not (N,).
    """
    if difference.ndim != 1:
        raise ShapeError(f"paired differences are (N,), not {difference.shape}")
    n = len(difference)
    if n < 2:
        return float("inf")
    error = float(np.std(difference.astype(np.float64), ddof=1)) / sqrt(n)
    return (student_quantile(0.975, n - 1) + student_quantile(0.8, n - 1)) * error
