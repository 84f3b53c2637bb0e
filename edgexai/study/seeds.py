"""Statistics over seeds: the seed is the random effect, images are what each seed's number is made of.

With k seeds an interval is Student's, k - 1 degrees of freedom (Gosset 1908): with three seeds it is wide, and it says
what retraining would change, which an interval over images cannot. Differences are paired by seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt

import numpy as np


@dataclass(frozen=True)
class OverSeeds:
    """A mean over seeds.

    Attributes:
        value: mean.
        low, high: 95 % interval; None with fewer than two seeds.
        p: two-sided p-value of "the mean is 0"; None with fewer than two seeds.
        values: one per seed.
    """

    value: float
    low: float | None
    high: float | None
    p: float | None
    values: tuple[float, ...]


def over_seeds(values: Sequence[float], *, within: tuple[float, float] = (-inf, inf)) -> OverSeeds:
    """Mean, Student's 95 % interval and p-value.

    Args:
        values: finite, at least one.
        within: where the mean can lie at all (a fraction in 0 to 1); the interval is cut to it.
    """
    from scipy.stats import t as student  # here: a study's listing must not pay for scipy

    mean, k = float(np.mean(values)), len(values)
    if k < 2:
        return OverSeeds(mean, None, None, None, tuple(map(float, values)))
    error = float(np.std(values, ddof=1)) / sqrt(k)
    half = float(student.ppf(0.975, k - 1)) * error
    p = float(mean == 0) if error == 0 else float(2 * student.sf(abs(mean) / error, k - 1))
    return OverSeeds(mean, max(mean - half, within[0]), min(mean + half, within[1]), p, tuple(map(float, values)))


def verdict(found: OverSeeds, *, direction: str, margin: float) -> str:
    """ "reproduced", "contradicted" or "undecided", read off the interval.

    Args:
        found: of the difference arm - against.
        direction: "higher" or "lower": beyond ``margin`` in that direction; "within": no farther than ``margin``.
        margin: at least 0.
    """
    if found.low is None or found.high is None:
        return "undecided"
    if direction == "within":
        if -margin <= found.low and found.high <= margin:
            return "reproduced"
        return "contradicted" if found.low > margin or found.high < -margin else "undecided"
    low, high = (found.low, found.high) if direction == "higher" else (-found.high, -found.low)
    if low > margin:
        return "reproduced"
    return "contradicted" if high < margin else "undecided"
