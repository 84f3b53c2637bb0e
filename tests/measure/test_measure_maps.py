"""Sparsity, localisation and drift: closed forms, naive second implementations, invariants."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from edgexai.errors import ShapeError, UserError
from edgexai.measure.drift import decision_agreement, logit_drift, map_rank_correlation, topk_overlap
from edgexai.measure.localisation import pointing_game, roi_share
from edgexai.measure.sparsity import gini, top_mass


def one_hot(height: int = 4, width: int = 5, at: tuple[int, int] = (1, 2)) -> np.ndarray:
    out = np.zeros((1, height, width), np.float32)
    out[0][at] = -3.0
    return out


def random_maps(n: int = 12, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 6, 7)).astype(np.float32)


def test_gini_closed_forms() -> None:
    assert gini(one_hot())[0] == pytest.approx(19 / 20)
    assert gini(np.full((1, 4, 5), -0.2, np.float32))[0] == pytest.approx(0, abs=1e-12)
    half = np.zeros((1, 2, 4), np.float32)
    half[0, 0] = 1
    assert gini(half)[0] == pytest.approx(0.5)
    ramp = np.arange(1, 11, dtype=np.float32).reshape(1, 2, 5)  # (d^2-1)/(3 d (d+1)) * ... = (d-1)/(3d)
    assert gini(ramp)[0] == pytest.approx(9 / 30)
    assert np.isnan(gini(np.zeros((1, 3, 3), np.float32))[0])


def test_gini_is_half_the_relative_mean_difference_and_free_of_scale() -> None:
    maps = random_maps()
    naive = []
    for one in np.abs(maps.astype(np.float64)).reshape(len(maps), -1):
        naive.append(sum(abs(a - b) for a in one for b in one) / (2 * len(one) * one.sum()))
    np.testing.assert_allclose(gini(maps), naive, rtol=1e-12)
    np.testing.assert_allclose(gini(-7 * maps), naive, rtol=1e-6)
    shuffled = maps.reshape(len(maps), -1)[:, np.random.default_rng(0).permutation(42)].reshape(maps.shape)
    np.testing.assert_allclose(gini(shuffled), naive, rtol=1e-12)


def test_top_mass() -> None:
    assert top_mass(one_hot(), share=0.05)[0] == 1
    assert top_mass(np.ones((1, 10, 10), np.float32), share=0.1)[0] == pytest.approx(0.1)
    assert top_mass(random_maps(), share=1.0) == pytest.approx(np.ones(12))
    assert np.isnan(top_mass(np.zeros((1, 3, 3), np.float32))[0])
    with pytest.raises(UserError, match="share"):
        top_mass(random_maps(), share=0)


def test_roi_share() -> None:
    maps = np.array([[[1, -1], [2, 0]], [[0, 0], [0, 0]], [[1, 1], [1, 1]]], np.float32)
    relevance = np.array([[[True, False], [True, False]], [[True] * 2] * 2, [[False] * 2] * 2])
    share = roi_share(maps, relevance)
    assert share[0] == pytest.approx(3 / 4)
    assert np.isnan(share[1:]).all()
    area = np.zeros((1, 5, 4), np.bool_)
    area[0, :2] = True
    assert roi_share(np.full((1, 5, 4), -2, np.float32), area)[0] == pytest.approx(0.4)
    with pytest.raises(ShapeError, match="bool"):
        roi_share(maps, relevance.astype(np.uint8))


def test_pointing_game() -> None:
    relevance = np.zeros((1, 9, 9), np.bool_)
    relevance[0, 2:5, 2:5] = True

    def point(y: int, x: int, tolerance: float) -> float:
        maps = np.full((1, 9, 9), -1.0, np.float32)
        maps[0, y, x] = 0.5
        return float(pointing_game(maps, relevance, tolerance=tolerance)[0])

    assert point(4, 4, 0) == 1
    assert point(5, 4, 0) == 0
    assert point(5, 4, 1) == 1
    assert point(5, 5, 1) == 0  # sqrt(2) away
    assert point(5, 5, 1.5) == 1
    tied = np.zeros((1, 9, 9), np.float32)
    tied[0, 2, 2] = tied[0, 4, 4] = 1  # centroid (3,3)
    assert pointing_game(tied, relevance, tolerance=0)[0] == 1
    tied[0, 4, 4], tied[0, 8, 8] = 0, 1  # centroid (5,5)
    assert pointing_game(tied, relevance, tolerance=0)[0] == 0
    negative = np.zeros((1, 9, 9), np.float32)
    negative[0, 3, 3] = -5  # signed: a strong negative attribution is no maximum
    negative[0, 8, 8] = 0.1
    assert pointing_game(negative, relevance, tolerance=0)[0] == 0
    assert np.isnan(pointing_game(np.ones((1, 9, 9), np.float32), relevance, tolerance=0)[0])
    assert np.isnan(pointing_game(tied, np.zeros_like(relevance), tolerance=0)[0])


def test_random_maps_point_at_chance() -> None:
    maps = np.random.default_rng(1).random((2000, 8, 8)).astype(np.float32)
    relevance = np.zeros((2000, 8, 8), np.bool_)
    relevance[:, 3:7, 1:5] = True
    assert pointing_game(maps, relevance, tolerance=0).mean() == pytest.approx(0.25, abs=0.04)
    assert roi_share(maps, relevance).mean() == pytest.approx(0.25, abs=0.01)


def test_decisions_and_logits() -> None:
    a = np.array([[1, 2, 3], [3, 2, 1]], np.float32)
    b = np.array([[1, 2, 2.5], [3, 4, 1]], np.float32)
    assert decision_agreement(a, b).tolist() == [True, False]
    drift = logit_drift(a, b)
    assert drift.max == 2
    assert drift.mean == pytest.approx(2.5 / 6)
    with pytest.raises(ShapeError):
        decision_agreement(a, b[:1])


def test_rank_correlation_equals_scipy_with_and_without_ties() -> None:
    a, b = random_maps(8, 1), random_maps(8, 2)
    b[:4] = np.round(b[:4])
    a[2:6] = np.round(a[2:6])
    expected = [spearmanr(x.ravel(), y.ravel()).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(map_rank_correlation(a, b), expected, atol=1e-12)
    np.testing.assert_allclose(map_rank_correlation(a, np.exp(a)), 1, atol=1e-12)
    np.testing.assert_allclose(map_rank_correlation(a, -a), -1, atol=1e-12)
    assert np.isnan(map_rank_correlation(a, np.ones_like(a))).all()


def test_topk_overlap() -> None:
    a, b = random_maps(200, 1), random_maps(200, 2)
    overlap = topk_overlap(a, b, share=0.25)
    k = round(0.25 * 42)
    naive = [
        len(set(np.argsort(-x.ravel())[:k]) & set(np.argsort(-y.ravel())[:k])) / k for x, y in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(overlap, naive)
    assert overlap.mean() == pytest.approx(k / 42, abs=0.03)
    np.testing.assert_allclose(topk_overlap(np.round(a), np.round(a), share=0.25), 1)
    assert topk_overlap(a, np.ones_like(a), share=0.25) == pytest.approx(np.full(200, k / 42))


def test_nothing_is_modified_and_bad_maps_are_refused() -> None:
    a, b = random_maps(3, 1), random_maps(3, 2)
    relevance = b > 0
    kept = a.copy(), b.copy()
    gini(a), top_mass(a), roi_share(a, relevance), pointing_game(a, relevance, tolerance=2)
    map_rank_correlation(a, b), topk_overlap(a, b)
    assert np.array_equal(a, kept[0])
    assert np.array_equal(b, kept[1])
    a[1, 0, 0] = np.nan
    with pytest.raises(UserError, match="map 1"):
        gini(a)
    with pytest.raises(ShapeError, match="channels"):
        gini(a[:, None])


def test_batch_equals_singles() -> None:
    a, b = random_maps(5, 1), random_maps(5, 2)
    for metric in (gini, top_mass, lambda m: map_rank_correlation(m, b[: len(m)])):
        np.testing.assert_array_equal(metric(a)[:1], metric(a[:1]))
