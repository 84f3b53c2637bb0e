"""Intervals: against SciPy, against the definition, and by coverage in simulation. Rows: what they carry."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from edgexai.errors import ShapeError, UserError
from edgexai.measure.accuracy import is_correct, logits_of
from edgexai.measure.paired_tests import mcnemar
from edgexai.measure.proportions import wilson
from edgexai.measure.rows import accuracy_row, difference_row, mean_row
from edgexai.measure.stats import bootstrap_mean, paired_bootstrap
from edgexai.types import Row


@pytest.mark.parametrize(("k", "n"), [(0, 7), (7, 7), (1, 1), (45, 100), (980, 1000), (12_500, 12_630)])
def test_wilson_equals_scipy(k: int, n: int) -> None:
    expected = binomtest(k, n).proportion_ci(method="wilson")
    value, low, high = wilson(k, n)
    assert value == k / n
    assert low == pytest.approx(expected.low, abs=1e-12)
    assert high == pytest.approx(expected.high, abs=1e-12)
    assert low <= value <= high


def test_wilson_refuses() -> None:
    for k, n in ((1, 0), (-1, 3), (4, 3)):
        with pytest.raises(UserError):
            wilson(k, n)


def test_bootstrap_covers_about_95_percent() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(400):
        sample = rng.exponential(size=80)
        low, high = bootstrap_mean(sample, seed=seed, n_resamples=400)[1:]
        hits += low <= 1 <= high
    assert 0.905 <= hits / 400 <= 0.975


def test_bootstrap_matches_the_normal_width_and_repeats_by_seed() -> None:
    values = np.random.default_rng(1).standard_normal(1000)
    value, low, high = bootstrap_mean(values, seed=0)
    assert value == pytest.approx(values.mean())
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 1000**0.5, rel=0.08)
    assert bootstrap_mean(values, seed=0) == (value, low, high)
    assert bootstrap_mean(values, seed=1) != (value, low, high)
    assert bootstrap_mean(np.full(5, 0.25), seed=0) == (0.25, 0.25, 0.25)
    # Blocks of resamples are only a matter of memory.
    long = np.random.default_rng(2).random(60_000)
    assert bootstrap_mean(long, seed=0, n_resamples=50).low < long.mean()


def test_pairing_cancels_what_both_share() -> None:
    rng = np.random.default_rng(2)
    shared = rng.standard_normal(300) * 10
    a, b = shared + 0.3 + 0.1 * rng.standard_normal(300), shared
    value, low, high = paired_bootstrap(a, b, seed=0)
    assert low < 0.3 < high
    assert high - low < 0.05
    assert value == pytest.approx((a - b).mean())
    flipped = paired_bootstrap(b, a, seed=0)
    assert (flipped.low, flipped.high) == pytest.approx((-high, -low))


def test_bootstrap_refuses_holes() -> None:
    with pytest.raises(UserError):
        bootstrap_mean(np.array([1.0, np.nan]), seed=0)
    with pytest.raises(ShapeError):
        bootstrap_mean(np.array([]), seed=0)
    with pytest.raises(ShapeError):
        paired_bootstrap(np.ones(3), np.ones(4), seed=0)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (5, 0), (3, 9), (10, 10), (700, 800), (2000, 1500)])
def test_mcnemar_equals_the_binomial_test(only_a: int, only_b: int) -> None:
    a = np.array([True] * only_a + [False] * only_b + [True, False] * 4)
    b = np.array([False] * only_a + [True] * only_b + [True, False] * 4)
    result = mcnemar(a, b)
    assert (result.only_a, result.only_b) == (only_a, only_b)
    expected = 1.0 if only_a + only_b == 0 else binomtest(only_a, only_a + only_b).pvalue
    assert result.p_value == pytest.approx(expected, rel=1e-9)


def predict(images: np.ndarray) -> np.ndarray:
    return images.mean(axis=(2, 3))


def test_correct_and_logits_in_batches() -> None:
    images = np.random.default_rng(0).random((23, 3, 4, 4), dtype=np.float32)
    labels = np.arange(23) % 3
    expected = [int(np.argmax([image[c].mean() for c in range(3)])) == label for image, label in zip(images, labels)]  # noqa: B905
    for batch_size in (1, 5, 23, 100):
        assert is_correct(predict, images, labels, batch_size=batch_size).tolist() == expected
    with pytest.raises(ShapeError, match="classes"):
        is_correct(predict, images, labels + 1)
    with pytest.raises(ShapeError, match="predict returned"):
        logits_of(lambda batch: predict(batch)[:2], images)
    with pytest.raises(UserError, match="image 0"):
        logits_of(lambda batch: predict(batch) * np.nan, images)
    with pytest.raises(ShapeError):
        logits_of(predict, images[:0])


WHERE = {"arm": "natural", "artefact": "fp32", "subject": "engine"}


def test_rows_carry_their_interval() -> None:
    correct = np.array([True] * 90 + [False] * 10)
    row = accuracy_row(correct, **WHERE, metric="robust_acc", detail={"attack": "pgd", "eps": "8/255"})
    assert (row.value, row.low, row.high) == tuple(wilson(90, 100))
    assert (row.n, row.unit, row.interval) == (100, "fraction", "wilson")
    assert Row.from_json(row.to_json()) == row
    with pytest.raises(ShapeError):
        accuracy_row(correct.astype(float), **WHERE)


def test_mean_row_counts_the_undefined() -> None:
    values = np.array([0.2, np.nan, 0.4, np.nan])
    detail = {"explainer": "vg"}
    row = mean_row(values, **WHERE, metric="saliency_gini", seed=0, detail=detail)
    assert row.value == pytest.approx(0.3)
    assert row.n == 2
    assert row.detail == {"explainer": "vg", "undefined": 2}
    assert detail == {"explainer": "vg"}
    nothing = mean_row(np.full(3, np.nan), **WHERE, metric="saliency_gini", seed=0)
    assert (nothing.status, nothing.value, nothing.n) == ("skipped", None, 0)
    assert nothing.reason
    assert Row.from_json(nothing.to_json()) == nothing


def test_difference_row_is_paired() -> None:
    a, b = np.array([True, True, False, True] * 30), np.array([True, False, False, True] * 30)
    row = difference_row(a, b, against="control", **WHERE, metric="robust_acc", seed=0, unit="fraction")
    assert row.metric == "robust_acc_difference"
    assert row.value == pytest.approx(0.25)
    assert row.low is not None
    assert row.low > 0
    assert row.detail["against"] == "control"
    assert row.interval == "bonett-price"
    assert row.detail["test"] == "mcnemar"
    assert row.detail["p"] == mcnemar(a, b).p_value
    graded = difference_row(a * 0.5, b * 0.7, against="control", **WHERE, metric="roi_share", seed=0)
    assert graded.interval == "paired-bootstrap"
    assert graded.detail["test"] == "wilcoxon"


def test_a_mean_row_ends_where_no_mean_can_lie() -> None:
    """Few images, one of them far off: the bound of the bootstrap lies beyond one, the row's does not."""
    values = np.array([1.0, 1.0, 1.0, 1.0, 0.2])
    assert bootstrap_mean(values, seed=0).high > 1
    row = mean_row(values, **WHERE, metric="roi_share", unit="fraction", seed=0)
    assert row.high == 1.0
    assert row.low is not None
    assert 0 < row.low < 0.84
    counts = np.array([0.0, 0.0, 0.0, 0.0, 9.0])
    assert bootstrap_mean(counts, seed=0).low < 0
    assert mean_row(counts, **WHERE, metric="roi_share", seed=0).low == 0.0
    gaps = np.array([-0.1, 0.1, 0.9, -0.9, 0.0])
    assert mean_row(gaps, **WHERE, metric="road_gap", unit="fraction", seed=0).low < 0  # type: ignore[operator]
