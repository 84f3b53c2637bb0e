"""Calibration, selective accuracy, unknown classes: by hand, by naive loops, by simulation."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from edgexai.errors import ShapeError, UserError
from edgexai.measure.calibration import calibration
from edgexai.measure.resample import bootstrap_statistic
from edgexai.measure.selective import accuracy_at, selective
from edgexai.measure.stats import bootstrap_mean
from edgexai.measure.unknown import unknown


def test_calibration_by_hand() -> None:
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    correct = np.array([True, True, True, False, False, True])
    found = calibration(confidence, correct, seed=0, bins=10)
    assert found.error.value == pytest.approx(4 / 6 * 0.2 + 2 / 6 * 0.05)
    assert found.count.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 0, 4]
    assert found.accuracy[9] == 0.75
    assert found.confidence[5] == pytest.approx(0.55)
    assert np.isnan(found.accuracy[0])
    # Always sure, always right: nothing to complain about; always sure, always wrong: everything.
    assert calibration(np.ones(5), np.ones(5, bool), seed=0).error.value == 0
    assert calibration(np.ones(5), np.zeros(5, bool), seed=0).error.value == 1
    # A border belongs to the lower bin, 0 to the first.
    assert calibration(np.array([0.0, 0.2, 0.2001]), np.ones(3, bool), seed=0, bins=5).count.tolist() == [2, 1, 0, 0, 0]
    tied = calibration(np.array([0.5] * 7 + [0.9]), np.ones(8, bool), seed=0, bins=4, scheme="mass")
    assert sorted(tied.count.tolist()) == [0, 0, 1, 7]


@pytest.mark.parametrize("scheme", ["width", "mass"])
def test_calibration_equals_a_naive_loop(scheme: str) -> None:
    rng = np.random.default_rng(1)
    confidence, correct = rng.beta(5, 2, 200), rng.random(200) < 0.7
    found = calibration(confidence, correct, seed=0, bins=8, scheme=scheme)  # type: ignore[arg-type]
    order = np.argsort(confidence)
    if scheme == "mass":
        parts = [order[k * 25 : (k + 1) * 25] for k in range(8)]
    else:
        edges = np.linspace(0, 1, 9)
        parts = [np.flatnonzero((confidence > a) & (confidence <= b)) for a, b in pairwise(edges)]
    expected = sum(abs(correct[p].mean() - confidence[p].mean()) * len(p) for p in parts if len(p)) / 200
    assert found.error.value == pytest.approx(expected)
    assert 0 <= found.error.low <= found.error.value <= found.error.high <= 1


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["width", "mass"])
@pytest.mark.parametrize("error", [0.0, 0.02, 0.1])
def test_the_interval_of_a_calibration_error_covers(error: float, scheme: str) -> None:
    """Accuracy = confidence - error everywhere, so the true error is known; 300 simulated studies of 400 images."""
    rng, covered = np.random.default_rng(0), 0
    for study in range(300):
        confidence = rng.uniform(0.6, 1.0, 400)
        found = calibration(confidence, rng.random(400) < confidence - error, seed=study, bins=10, scheme=scheme)  # type: ignore[arg-type]
        covered += found.error.low <= error <= found.error.high
    assert covered >= 0.92 * 300  # 95 % minus two standard errors


def test_selective_by_hand() -> None:
    confidence = np.array([0.9, 0.8, 0.7, 0.6])
    correct = np.array([True, False, True, True])
    found = selective(confidence, correct, seed=0)
    np.testing.assert_allclose(found.coverage, [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(found.risk, [0, 1 / 2, 1 / 3, 1 / 4])
    assert found.aurc.value == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    # The best order puts the error last: (0 + 0 + 0 + 1/4) / 4.
    assert found.excess.value == pytest.approx((1 / 2 + 1 / 3) / 4)
    best = selective(np.array([0.9, 0.1, 0.8, 0.7]), correct, seed=0)
    assert best.excess.value == pytest.approx(0)
    assert best.excess.low >= -1e-12
    # A constant confidence orders nothing: every image is accepted at the overall risk.
    flat = selective(np.full(4, 0.5), correct, seed=0)
    assert flat.aurc.value == pytest.approx(0.25)
    assert len(flat.coverage) == 1
    assert accuracy_at(confidence, correct, coverage=0.5).tolist() == [True, False]
    assert accuracy_at(confidence, correct, coverage=0.51).tolist() == [True, False, True]
    assert len(accuracy_at(np.array([0.9, 0.5, 0.5, 0.5]), correct, coverage=0.5)) == 4


def test_selective_equals_a_naive_loop() -> None:
    rng = np.random.default_rng(2)
    confidence, correct = np.round(rng.random(60), 1), rng.random(60) < 0.6
    risks = [(~correct)[confidence >= value].mean() for value in confidence]
    found = selective(confidence, correct, seed=0)
    assert found.aurc.value == pytest.approx(np.mean(risks))
    errors = np.sort(~correct)
    least = np.mean([errors[: k + 1].mean() for k in range(60)])
    assert found.excess.value == pytest.approx(np.mean(risks) - least)
    assert found.aurc.low < found.aurc.value < found.aurc.high


def test_counts_are_repeated_images() -> None:
    """A statistic of counts is the statistic of the images written out so often."""
    rng = np.random.default_rng(3)
    confidence, correct = rng.random(30), rng.random(30) < 0.5
    seen = []

    def mean(counts: np.ndarray) -> np.ndarray:
        seen.append(counts)
        return counts @ correct / counts.sum(1)

    own = bootstrap_statistic(mean, 30, seed=0, kind="percentile", n_resamples=4000)
    reference = bootstrap_mean(np.tile(correct, 4).astype(float), seed=0)
    assert own.value == correct.mean()
    # Standard error of a fraction; the mean of 4 n images has half of it.
    half = 1.96 * (correct.mean() * (1 - correct.mean()) / 30) ** 0.5
    assert (own.high - own.low) / 2 == pytest.approx(half, rel=0.1)
    assert (reference.high - reference.low) / 2 == pytest.approx(half / 2, rel=0.15)
    counts = seen[1]
    assert counts.shape[1] == 30
    assert (counts.sum(1) == 30).all()
    drawn = np.repeat(np.arange(30), counts[0].astype(int))
    risks = [(~correct)[drawn][confidence[drawn] >= value].mean() for value in confidence[drawn]]
    assert selective(confidence[drawn], correct[drawn], seed=0).aurc.value == pytest.approx(np.mean(risks))


def test_unknown_by_hand() -> None:
    validation = np.arange(1, 101) / 100
    found = unknown(validation, np.array([0.9, 0.05, 0.5]), np.array([0.01, 0.06, 0.7]), coverage=0.95, seed=0)
    assert found.threshold == pytest.approx(0.06)
    assert found.accepted.tolist() == [True, False, True]
    assert found.rejected.tolist() == [True, False, False]
    # Of nine pairs the known one is higher in 3 + 1 + 2.
    assert found.auroc.value == pytest.approx(6 / 9)
    assert unknown(validation, np.ones(4), np.ones(5), seed=0).auroc.value == 0.5
    assert unknown(validation, np.ones(4), np.zeros(5), seed=0).auroc.value == 1


def test_unknown_equals_a_naive_loop_and_keeps_the_coverage() -> None:
    rng = np.random.default_rng(0)
    validation, known, strange = (np.round(rng.normal(m, 1, n), 1) for m, n in ((1, 500), (1, 400), (0, 300)))
    found = unknown(validation, known, strange, coverage=0.9, seed=0)
    pairs = np.sign(known[:, None] - strange)
    assert found.auroc.value == pytest.approx((pairs + 1).mean() / 2)
    assert found.auroc.low < found.auroc.value < found.auroc.high
    assert (validation >= found.threshold).mean() >= 0.9
    assert abs(found.accepted.mean() - 0.9) < 0.06
    # A score that knows nothing rejects as many unknown as known ones.
    blind = unknown(rng.random(1000), rng.random(1000), rng.random(1000), seed=0)
    assert abs(blind.rejected.mean() - 0.05) < 0.03
    assert blind.auroc.low < 0.5 < blind.auroc.high


def test_confidence_metrics_refuse() -> None:
    with pytest.raises(UserError, match="0, 1"):
        calibration(np.array([1.5]), np.ones(1, bool), seed=0)
    with pytest.raises(UserError, match="bins"):
        calibration(np.ones(3), np.ones(3, bool), seed=0, bins=4, scheme="mass")
    with pytest.raises(ShapeError):
        calibration(np.ones(3), np.ones(3), seed=0)
    with pytest.raises(ShapeError):
        selective(np.ones(3), np.ones(4, bool), seed=0)
    with pytest.raises(UserError, match="coverage"):
        accuracy_at(np.ones(3), np.ones(3, bool), coverage=0)
    with pytest.raises(ShapeError, match="unknown"):
        unknown(np.ones(3), np.ones(3), np.ones(0), seed=0)
    with pytest.raises(UserError, match="coverage"):
        unknown(np.ones(3), np.ones(3), np.ones(3), coverage=1, seed=0)
