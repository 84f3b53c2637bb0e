"""Do the intervals hold what they promise? Studies with a known truth, simulated; how often is it inside?

Every kind of interval that a row can carry meets distributions as measurements have them: fractions near 1, scores
piled up at an end, skewed drifts, paired verdicts that rarely differ. Printed by ``edgexai bench coverage``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import ceil, exp, floor, lgamma, log, log1p, sqrt

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import UserError
from edgexai.measure.median import median_interval
from edgexai.measure.proportions import clopper_pearson, paired_difference, wilson
from edgexai.measure.quantiles import student_quantile
from edgexai.measure.stats import bootstrap_mean, paired_bootstrap

Study = Callable[[np.random.Generator, int], "tuple[float, float]"]
"""(generator, resamples) -> the interval of one simulated study."""


@dataclass(frozen=True)
class Design:
    """One kind of interval on one kind of data.

    Attributes:
        interval: as ``Row.interval``, or "student" for seeds.
        data: what is drawn, in words.
        truth: the value that should lie inside.
        least: coverage asked for: 0.95 of the exact kind, else 0.93.
        study: draws one data set and gives its interval.
        enumerated: coverage without a draw, summed over all outcomes, where they can be listed; else None.
    """

    interval: str
    data: str
    truth: float
    least: float
    study: Study
    enumerated: Callable[[], float] | None = None


@dataclass(frozen=True)
class Covered:
    """What the simulation found: share of studies whose interval held the truth, mean width, and the design."""

    design: Design
    coverage: float
    width: float
    studies: int


def simulate(design: Design, *, studies: int, seed: int, resamples: int = 400) -> Covered:
    """Runs ``studies`` independent studies of one design.

    Raises:
        UserError: fewer than one study.
    """
    if studies < 1:
        raise UserError(f"studies = {studies}: at least 1")
    rng = np.random.default_rng(seed)
    inside, width = 0, 0.0
    for _ in range(studies):
        low, high = design.study(rng, resamples)
        inside += low <= design.truth <= high
        width += high - low
    return Covered(design, inside / studies, width / studies, studies)


def designs() -> tuple[Design, ...]:
    """All kinds of intervals, each on easy and on hard data."""
    found: list[Design] = []
    for n, p in ((50, 0.9), (300, 0.45), (300, 0.97), (1000, 0.97), (12630, 0.99)):
        data = f"{n} images, true fraction {p}"
        for kind, least, interval in (("wilson", 0.93, wilson), ("exact", 0.95, clopper_pearson)):
            listed = partial(_enumerated, interval, n, p)
            found.append(Design(kind, data, p, least, _fraction(interval, n, p), listed))
    for n in (20, 60, 100, 300):
        for name, draw, truth in _SHAPES:
            data = f"mean of {n} images, {name}"
            found.append(Design("bootstrap", data, truth, 0.93, _mean(draw, n)))
    for n in (20, 100, 300):
        found.append(Design("paired-bootstrap", f"{n} pairs that share a skewed part", 0.1, 0.93, _pairs(n)))
    for n, only_a, only_b in ((50, 0.05, 0.05), (100, 0.03, 0.01), (300, 0.01, 0.01), (1000, 0.04, 0.01)):
        data = f"{n} images, one alone right on {only_a:.0%}, the other on {only_b:.0%}"
        found.append(Design("bonett-price", data, only_a - only_b, 0.93, _verdicts(n, only_a, only_b)))
    for n in (15, 60, 400):
        found.append(Design("order-statistics", f"median of {n} skewed times", 1.0, 0.93, _median(n)))
    for n in (3, 5):
        found.append(Design("student", f"mean of {n} seeds, normal", 0.0, 0.93, _seeds(n)))
    return tuple(found)


def _enumerated(interval: Callable[[int, int], tuple[float, float, float]], n: int, p: float) -> float:
    """Chance of an outcome whose interval holds ``p``; outcomes beyond eight deviations have none."""
    reach = 8 * sqrt(n * p * (1 - p))
    inside = 0.0
    for k in range(max(0, floor(n * p - reach)), min(n, ceil(n * p + reach)) + 1):
        _, low, high = interval(k, n)
        if low <= p <= high:
            inside += exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(p) + (n - k) * log1p(-p))
    return inside


def _fraction(interval: Callable[[int, int], tuple[float, float, float]], n: int, p: float) -> Study:
    def study(rng: np.random.Generator, resamples: int) -> tuple[float, float]:
        return interval(int(rng.binomial(n, p)), n)[1:]

    return study


Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]
_SHAPES: tuple[tuple[str, Draw, float], ...] = (
    ("normal", lambda rng, n: rng.standard_normal(n), 0.0),
    ("piled up at 1, as shares on the sign", lambda rng, n: rng.beta(0.5, 0.1, n), 0.5 / 0.6),
    ("exponential, as drifts", lambda rng, n: rng.exponential(size=n), 1.0),
    ("tenths, mostly 1, as ROAD gaps", lambda rng, n: rng.binomial(10, 0.9, n) / 10, 0.9),
)


def _mean(draw: Draw, n: int) -> Study:
    def study(rng: np.random.Generator, resamples: int) -> tuple[float, float]:
        values = draw(rng, n)
        return bootstrap_mean(values, seed=int(rng.integers(2**31)), n_resamples=resamples)[1:]

    return study


def _pairs(n: int) -> Study:
    def study(rng: np.random.Generator, resamples: int) -> tuple[float, float]:
        shared = rng.exponential(size=n)
        a, b = shared + 0.1 + 0.3 * (rng.exponential(size=n) - 1), shared
        return paired_bootstrap(a, b, seed=int(rng.integers(2**31)), n_resamples=resamples)[1:]

    return study


def _verdicts(n: int, only_a: float, only_b: float) -> Study:
    def study(rng: np.random.Generator, resamples: int) -> tuple[float, float]:
        drawn = rng.random(n)
        a = (drawn < only_a) | (drawn > 0.5)
        b = ((drawn >= only_a) & (drawn < only_a + only_b)) | (drawn > 0.5)
        return paired_difference(a, b)[1:]

    return study


def _median(n: int) -> Study:
    def study(rng: np.random.Generator, resamples: int) -> tuple[float, float]:
        found = median_interval(np.exp(rng.standard_normal(n) / 2))
        return found.low, found.high

    return study


def _seeds(n: int) -> Study:
    def study(rng: np.random.Generator, resamples: int) -> tuple[float, float]:
        values = rng.standard_normal(n)
        half = student_quantile(0.975, n - 1) * float(values.std(ddof=1)) / n**0.5
        return float(values.mean()) - half, float(values.mean()) + half

    return study
