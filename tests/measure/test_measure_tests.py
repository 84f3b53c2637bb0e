"""Tests between models, Holm, power, medians, exact intervals: against SciPy, enumeration and simulation."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from edgexai.errors import ShapeError, UserError
from edgexai.measure.coverage import Covered, designs, simulate
from edgexai.measure.median import median_interval
from edgexai.measure.paired_tests import holm, mcnemar, wilcoxon
from edgexai.measure.power import detectable_mean, detectable_share
from edgexai.measure.proportions import clopper_pearson, paired_difference
from edgexai.measure.quantiles import normal_cdf, normal_quantile, student_quantile


@pytest.mark.parametrize(
    ("k", "n"), [(0, 7), (7, 7), (0, 1), (1, 1), (3, 10), (45, 100), (980, 1000), (12_500, 12_630)]
)
def test_clopper_pearson_equals_scipy(k: int, n: int) -> None:
    expected = stats.binomtest(k, n).proportion_ci(method="exact")
    assert clopper_pearson(k, n) == pytest.approx((k / n, expected.low, expected.high), abs=1e-11)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 7, 12, 99, 5000])
def test_quantiles_equal_scipy(freedom: int) -> None:
    for p in (0.025, 0.3, 0.5, 0.8, 0.9, 0.975, 0.995):
        assert student_quantile(p, freedom) == pytest.approx(stats.t.ppf(p, freedom), rel=1e-3, abs=1e-12)
    assert normal_cdf(normal_quantile(0.3)) == pytest.approx(0.3)
    with pytest.raises(UserError):
        student_quantile(1.0, 5)
    with pytest.raises(UserError):
        student_quantile(0.5, 0)


@pytest.mark.parametrize("n", [4, 9, 30, 120])
def test_signed_ranks_equal_scipy_without_ties(n: int) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.standard_normal(n) + 0.3, rng.standard_normal(n)
    expected = stats.wilcoxon(a, b, method="exact")
    found = wilcoxon(a, b)
    assert min(found.plus, found.minus) == expected.statistic
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.plus + found.minus == n * (n + 1) / 2
    assert wilcoxon(b, a).p_value == found.p_value


def test_signed_ranks_with_ties_equal_enumeration() -> None:
    """All 2^n signs of the very ranks, written out."""
    difference = np.array([1, -1, 2, 2, 2, -3, 4, 0, 4, 5], np.float64)
    kept = difference[difference != 0]
    ranks = stats.rankdata(np.abs(kept))
    smaller = min(ranks[kept > 0].sum(), ranks[kept < 0].sum())
    sums = np.array([ranks @ np.array(signs) for signs in product((0, 1), repeat=len(kept))])
    found = wilcoxon(difference, np.zeros(10))
    assert found.n == 9
    assert found.p_value == pytest.approx(2 * (sums <= smaller).mean())


def test_many_signed_ranks_equal_scipys_normal() -> None:
    rng = np.random.default_rng(0)
    a = np.round(rng.standard_normal(900), 1) + 0.05
    b = np.round(rng.standard_normal(900), 1)
    expected = stats.wilcoxon(a, b, method="asymptotic", correction=True)
    assert wilcoxon(a, b).p_value == pytest.approx(expected.pvalue, rel=1e-9)
    # both ways meet where one takes over from the other
    near = rng.standard_normal(200) + 0.1
    exact = wilcoxon(near, np.zeros(200)).p_value
    assert exact == pytest.approx(stats.wilcoxon(near, method="asymptotic", correction=True).pvalue, rel=0.05)


def test_signed_ranks_refuse_and_say_nothing_of_nothing() -> None:
    assert wilcoxon(np.ones(5), np.ones(5)) == (0.0, 0.0, 0, 1.0)
    with pytest.raises(UserError):
        wilcoxon(np.array([np.nan, 1.0]), np.zeros(2))
    with pytest.raises(ShapeError):
        wilcoxon(np.ones(3), np.ones(4))


def test_holm_by_hand() -> None:
    """0.01 x 4, 0.02 x 3, 0.03 x 2 (kept from falling below 0.06), 0.5 x 1; the worst is at most 1."""
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_paired_difference_by_hand() -> None:
    """b = 9 and c = 2 of 100: (10 - 3) / 102, error sqrt((10 + 3 - 49 / 102) / 102) / sqrt(102)."""
    a = np.array([True] * 9 + [False] * 2 + [True] * 89)
    b = np.array([False] * 9 + [True] * 2 + [True] * 89)
    value, low, high = paired_difference(a, b)
    half = 1.959963984540054 * ((13 / 102 - (7 / 102) ** 2) / 102) ** 0.5
    assert (value, low, high) == pytest.approx((0.07, 7 / 102 - half, 7 / 102 + half))
    flipped = paired_difference(b, a)
    assert (flipped.low, flipped.high) == pytest.approx((-high, -low))
    with pytest.raises(ShapeError):
        paired_difference(a, b[:-1])
    with pytest.raises(ShapeError):
        paired_difference(a.astype(float), b.astype(float))


@pytest.mark.parametrize("n", [1, 5, 6, 15, 60, 401])
def test_the_median_interval_covers_by_the_binomial(n: int) -> None:
    values = np.random.default_rng(n).permutation(n).astype(np.float64)
    found = median_interval(values)
    rank = int(found.low)  # values 0..n-1: the low bound is the (rank + 1)-th smallest
    assert found.high == n - 1 - rank
    assert found.coverage == pytest.approx(max(0.0, 1 - 2 * stats.binom.cdf(rank, n, 0.5)))
    if n >= 6:
        assert found.coverage >= 0.95
        assert 1 - 2 * stats.binom.cdf(rank + 1, n, 0.5) < 0.95


def test_a_detectable_share_is_found_four_times_in_five() -> None:
    """Simulated: with a true difference of that size and the same disagreement, p is below 5 % in about 80 %."""
    rng, n = np.random.default_rng(0), 600
    drawn = rng.random(n)
    size = detectable_share(drawn < 0.05, drawn > 0.95)
    disagree = ((drawn < 0.05).sum() + (drawn > 0.95).sum() + 2) / (n + 2)
    only_a = (disagree + size) / 2
    found = 0
    for _ in range(600):
        u = rng.random(n)
        found += mcnemar(u < only_a, (u >= only_a) & (u < disagree)).p_value < 0.05
    assert 0.72 <= found / 600 <= 0.86
    same = np.ones(500, np.bool_)
    smallest = detectable_share(same, same)
    seen = sum(mcnemar(rng.random(500) < smallest, ~same).p_value < 0.05 for _ in range(600))
    assert 0.72 <= seen / 600 <= 0.86
    assert detectable_share(same[:100], same[:100]) > detectable_share(same, same)
    assert detectable_share(same[:2], same[:2]) == 1.0


def test_a_detectable_mean_is_found_four_times_in_five() -> None:
    rng, n = np.random.default_rng(1), 40
    spread = rng.standard_normal(n)
    size = detectable_mean(spread / spread.std(ddof=1))
    p = [stats.ttest_1samp(rng.standard_normal(n) + size, 0).pvalue for _ in range(800)]
    assert 0.75 <= float((np.array(p) < 0.05).mean()) <= 0.85
    assert detectable_mean(np.ones(1)) == float("inf")
    assert detectable_mean(np.ones(9)) == 0.0


def test_intervals_cover_what_they_promise_in_short() -> None:
    """A quick look at every kind; ``edgexai bench coverage`` runs 2,000 studies of each."""
    studies = 100
    worst: list[Covered] = []
    for seed, design in enumerate(designs()):
        found = simulate(design, studies=studies, seed=seed, resamples=200)
        if found.coverage < 0.93 - 3 * (0.93 * 0.07 / studies) ** 0.5:
            worst.append(found)
        assert found.width > 0
    assert [(w.design.interval, w.design.data, w.coverage) for w in worst] == []
    kinds = {design.interval for design in designs()}
    assert kinds == {"wilson", "exact", "bootstrap", "paired-bootstrap", "bonett-price", "order-statistics", "student"}


def test_enumeration_and_simulation_agree() -> None:
    """And Clopper and Pearson's promise holds without any draw."""
    exact = {design: design.enumerated() for design in designs() if design.enumerated is not None}
    assert {design.interval for design in exact} == {"wilson", "exact"}
    assert all(share >= design.least for design, share in exact.items())
    small = [design for design in exact if "12630" not in design.data]
    assert len(small) >= 4
    simulated = [simulate(design, studies=400, seed=3).coverage for design in small]
    assert simulated == pytest.approx([exact[design] for design in small], abs=0.04)


def test_a_simulation_can_fail() -> None:
    """An interval that is half as wide as it should be is told apart from the one it was made of."""
    good = next(d for d in designs() if d.interval == "wilson")

    def narrow(rng: np.random.Generator, resamples: int) -> tuple[float, float]:
        low, high = good.study(rng, resamples)
        return low + (high - low) / 4, high - (high - low) / 4

    spoiled = type(good)(good.interval, good.data, good.truth, good.least, narrow)
    assert simulate(spoiled, studies=300, seed=0).coverage < 0.85
    assert simulate(good, studies=300, seed=0).coverage > 0.9
    with pytest.raises(UserError):
        simulate(good, studies=0, seed=0)
