"""Tests of two networks on the same images, and Holm's correction where many are made. All are two-sided.

Sources: McNemar 1947 in its exact, binomial form, for right or wrong; Wilcoxon 1945 (signed ranks), for other values;
Holm 1979 for the cells of one table. Convention of the signed ranks: pairs that are equal say nothing and are left out
(Wilcoxon's own choice), tied sizes share their average rank, and the distribution is the exact one of those very ranks
up to 200 pairs, the normal with its variance corrected for ties and half a step for continuity beyond.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError, UserError
from edgexai.measure.quantiles import normal_cdf

_EXACT_TO = 200


class McNemar(NamedTuple):
    """Discordant pairs and the exact two-sided p-value of "neither is better"."""

    only_a: int
    only_b: int
    p_value: float


class Wilcoxon(NamedTuple):
    """Sums of ranks of the pairs in which a is larger and smaller, the pairs that differ, and the p-value."""

    plus: float
    minus: float
    n: int
    p_value: float


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


def wilcoxon(a: NDArray[Any], b: NDArray[Any]) -> Wilcoxon:
    """Signed-rank test of "a - b is symmetric about 0".

    Args:
        a: (N,), one value per image; not modified.
        b: (N,), for the same images in the same order.

    Returns:
        Rank sums and p-value; p = 1 where no pair differs.

    Raises:
        ShapeError: not (N,) of one length.
        UserError: values are not finite.
    """
    if a.shape != b.shape or a.ndim != 1:
        raise ShapeError(f"a signed-rank test takes two (N,); these are {a.shape} and {b.shape}")
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    if not np.isfinite(difference).all():
        raise UserError("values hold NaN or infinity: drop undefined images first")
    difference = difference[difference != 0]
    n = len(difference)
    if not n:
        return Wilcoxon(0.0, 0.0, 0, 1.0)
    # Twice the average rank is a whole number, ties or not.
    _, place, count = np.unique(np.abs(difference), return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    doubled = (2 * last - count + 1)[place.reshape(-1)]
    plus, minus = int(doubled[difference > 0].sum()), int(doubled[difference < 0].sum())
    smaller = min(plus, minus)
    if n <= _EXACT_TO:
        p = min(1.0, 2 * _chance_of_at_most(smaller, doubled))
    else:
        centre = n * (n + 1) / 4
        variance = n * (n + 1) * (2 * n + 1) / 24 - float((count.astype(np.float64) ** 3 - count).sum()) / 48
        p = min(1.0, 2 * normal_cdf(min(0.0, smaller / 2 - centre + 0.5) / sqrt(variance)))
    return Wilcoxon(plus / 2, minus / 2, n, p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given."""
    order = np.argsort(p_values, kind="stable")
    adjusted, worst = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = worst
    return adjusted


def _chance_of_at_most(limit: int, ranks: NDArray[np.int64]) -> float:
    """P(sum of the ranks with a plus <= limit) when every sign is a fair coin."""
    chance = np.zeros(limit + 1)
    chance[0] = 1.0
    for rank in ranks.tolist():
        moved = np.zeros_like(chance)
        if rank <= limit:
            moved[rank:] = chance[: limit + 1 - rank]
        chance = (chance + moved) / 2
    return float(chance.sum())
