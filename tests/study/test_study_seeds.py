"""Statistics over seeds against closed forms and scipy's own tests."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from edgexai.measure.paired_tests import holm
from edgexai.study.seeds import OverSeeds, over_seeds, verdict


def test_the_interval_and_p_value_are_those_of_a_one_sample_t_test() -> None:
    values = [0.12, 0.15, 0.09, 0.2]
    found = over_seeds(values)
    reference = stats.ttest_1samp(values, 0.0)
    low, high = reference.confidence_interval(0.95)
    assert found.value == pytest.approx(np.mean(values))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.p == pytest.approx(reference.pvalue)


def test_a_textbook_interval_of_three() -> None:
    # mean 2, standard deviation 1: 4.303 / sqrt(3) from tables of Student's distribution
    found = over_seeds([1.0, 2.0, 3.0])
    assert found.high is not None
    assert found.high - 2 == pytest.approx(4.302653 / np.sqrt(3), abs=1e-5)


def test_one_seed_has_no_interval_and_decides_nothing() -> None:
    found = over_seeds([0.5])
    assert (found.low, found.high, found.p) == (None, None, None)
    assert verdict(found, direction="higher", margin=0.0) == "undecided"


def test_an_interval_is_cut_to_where_the_mean_can_lie() -> None:
    found = over_seeds([0.0, 0.02, 0.0], within=(0.0, 1.0))
    assert found.low == 0.0
    assert found.high is not None
    assert 0.02 < found.high < 0.05


def test_seeds_without_spread() -> None:
    assert over_seeds([0.0, 0.0]).p == 1.0
    assert over_seeds([0.1, 0.1]).p == 0.0


def test_intervals_cover_as_they_say() -> None:
    rng = np.random.default_rng(4)
    inside = 0
    for _ in range(2000):
        found = over_seeds(rng.normal(0.3, 0.1, 3).tolist())
        assert found.low is not None
        assert found.high is not None
        inside += found.low <= 0.3 <= found.high
    assert 0.935 <= inside / 2000 <= 0.965


def test_holm_by_hand_and_in_any_order() -> None:
    # sorted 0.01, 0.02, 0.03, 0.5 -> 4 x 0.01, 3 x 0.02, max(2 x 0.03, 0.06), 0.5
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([]) == []
    assert max(holm([0.9, 0.8])) <= 1.0


def _between(low: float, high: float) -> OverSeeds:
    return OverSeeds((low + high) / 2, low, high, 0.5, ())


@pytest.mark.parametrize(
    ("low", "high", "direction", "margin", "said"),
    [
        (0.1, 0.2, "higher", 0.0, "reproduced"),
        (-0.2, -0.1, "higher", 0.0, "contradicted"),
        (-0.1, 0.1, "higher", 0.0, "undecided"),
        (0.1, 0.2, "lower", 0.0, "contradicted"),
        (-0.2, -0.1, "lower", 0.0, "reproduced"),
        (0.1, 0.2, "higher", 0.15, "undecided"),
        (0.1, 0.2, "higher", 0.3, "contradicted"),
        (-0.01, 0.02, "within", 0.03, "reproduced"),
        (0.04, 0.06, "within", 0.03, "contradicted"),
        (-0.06, -0.04, "within", 0.03, "contradicted"),
        (0.02, 0.06, "within", 0.03, "undecided"),
    ],
)
def test_verdicts(low: float, high: float, direction: str, margin: float, said: str) -> None:
    assert verdict(_between(low, high), direction=direction, margin=margin) == said
