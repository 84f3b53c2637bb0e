"""Infidelity, sensitivity-n, sufficiency, entropy, AOPC: closed forms, naive loops, chance and oracle."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgexai.errors import ShapeError, UserError
from edgexai.measure.deletion import aopc, area, deletion_insertion
from edgexai.measure.infidelity import infidelity
from edgexai.measure.localisation import energy_inside
from edgexai.measure.removals import attributed, random_pixels, random_squares, removal_effects
from edgexai.measure.sensitivity_n import sensitivity_n
from edgexai.measure.sparsity import entropy
from edgexai.measure.sufficiency import SHARES, sufficiency

N, S = 5, 12
RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(3, S, S))
IMAGES = RNG.random((N, 3, S, S), dtype=np.float32)
BLANK = np.full_like(IMAGES, 0.5)
TARGETS = np.zeros(N, np.int64)
ORACLE = (WEIGHTS * (IMAGES - BLANK)).sum(1).astype(np.float32)
"""Of a network linear in its pixels: exactly what each pixel adds to the logit."""


def linear(images: np.ndarray) -> np.ndarray:
    logit = (images.astype(np.float64) * WEIGHTS).sum((1, 2, 3))
    return np.stack([logit, np.zeros(len(images))], 1).astype(np.float32)


@pytest.fixture(scope="module")
def squares() -> tuple[np.ndarray, np.ndarray]:
    sets = random_squares(IMAGES, sets=60, sides=(2, 3, 5), seed=0)
    return sets, removal_effects(linear, IMAGES, TARGETS, sets, substrate=BLANK)


def test_sets_are_what_they_say() -> None:
    sets = random_squares(IMAGES, sets=200, sides=(2, 5), seed=0)
    sizes = sets.sum((2, 3))
    assert set(np.unique(sizes)) == {4, 25}
    for mask in sets[:20].reshape(-1, S, S):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert len(rows) == len(columns) == rows[-1] - rows[0] + 1 == round(mask.sum() ** 0.5)
    # Every place is reached, borders too; every pixel of scattered sets is as likely as any other.
    assert sets.any((0, 1)).all()
    pixels = random_pixels(IMAGES, sets=400, removed=0.25, seed=0)
    assert np.unique(pixels.sum((2, 3))).tolist() == [36]
    assert abs(pixels.mean((0, 1)) - 0.25).max() < 5 * math.sqrt(0.25 * 0.75 / 2000)
    assert np.array_equal(pixels[:, 2:3], random_pixels(IMAGES[2:3], sets=400, removed=0.25, seed=0))
    assert not np.array_equal(pixels, random_pixels(IMAGES, sets=400, removed=0.25, seed=1))


def test_effects_equal_a_naive_loop_and_batches_do_not_matter(squares: tuple) -> None:
    sets, effects = squares
    before = IMAGES.copy()
    for p in (0, 31, 59):
        for n in range(N):
            changed = IMAGES[n].copy()
            changed[:, sets[p, n]] = 0.5
            expected = float(linear(IMAGES[n : n + 1])[0, 0]) - float(linear(changed[None])[0, 0])
            assert effects[p, n] == pytest.approx(expected, abs=1e-5)
    again = removal_effects(linear, IMAGES, TARGETS, sets, substrate=BLANK, batch_size=7)
    np.testing.assert_allclose(again, effects, atol=1e-6)
    assert np.array_equal(before, IMAGES)
    naive = [[ORACLE[n][sets[p, n]].astype(float).sum() for n in range(N)] for p in range(60)]
    np.testing.assert_allclose(attributed(ORACLE, sets), naive, rtol=1e-6)


def test_a_linear_network_has_no_infidelity(squares: tuple) -> None:
    sets, effects = squares
    own = infidelity(ORACLE, sets, effects)
    assert own.raw.max() < 1e-9
    np.testing.assert_allclose(own.scale, 1, atol=1e-6)
    # Ten times the map is wrong as it is, and right once scaled.
    tenfold = infidelity(10 * ORACLE, sets, effects)
    np.testing.assert_allclose(tenfold.raw, 81 * (effects**2).mean(0), rtol=1e-5)
    assert tenfold.relative.max() < 1e-9
    np.testing.assert_allclose(tenfold.scale, 0.1, atol=1e-6)
    # A map of zeros: E[fall^2], relative 1; an inverted map is no better than it.
    for poor in (0 * ORACLE, -ORACLE):
        found = infidelity(poor, sets, effects)
        np.testing.assert_allclose(found.scaled, (effects**2).mean(0))
        np.testing.assert_allclose(found.relative, 1)
    random = infidelity(np.random.default_rng(3).normal(size=ORACLE.shape).astype(np.float32), sets, effects)
    assert random.relative.min() > 0.5
    assert np.isnan(infidelity(ORACLE, sets, 0 * effects).relative).all()


def test_the_scale_is_the_best_one(squares: tuple) -> None:
    """Second opinion: least squares over a fine grid of scales."""
    sets, effects = squares
    maps = np.abs(ORACLE) + np.random.default_rng(1).random(ORACLE.shape, dtype=np.float32)
    found, said = infidelity(maps, sets, effects), attributed(maps, sets)
    for n in range(N):
        losses = ((np.linspace(0, 1, 20001)[:, None] * said[:, n] - effects[:, n]) ** 2).mean(1)
        assert found.scaled[n] == pytest.approx(min(losses), rel=1e-3)
        assert found.relative[n] == pytest.approx(min(losses) / (effects[:, n] ** 2).mean(), rel=1e-3)


@pytest.mark.parametrize("removed", [0.05, 0.3])
def test_sensitivity_n_is_one_for_a_linear_network(removed: float) -> None:
    sets = random_pixels(IMAGES, sets=300, removed=removed, seed=0)
    effects = removal_effects(linear, IMAGES, TARGETS, sets, substrate=BLANK)
    np.testing.assert_allclose(sensitivity_n(ORACLE, sets, effects), 1, atol=1e-6)
    np.testing.assert_allclose(sensitivity_n(3 * ORACLE, sets, effects), 1, atol=1e-6)
    np.testing.assert_allclose(sensitivity_n(-ORACLE, sets, effects), -1, atol=1e-6)
    # All sets have one size, so an offset of the map changes nothing, and a constant map says nothing.
    np.testing.assert_allclose(sensitivity_n(ORACLE + 7, sets, effects), 1, atol=1e-4)
    assert np.isnan(sensitivity_n(np.full_like(ORACLE, 0.1), sets, effects)).all()
    random = sensitivity_n(np.random.default_rng(3).normal(size=ORACLE.shape).astype(np.float32), sets, effects)
    naive = [np.corrcoef(attributed(ORACLE**2, sets)[:, n], effects[:, n])[0, 1] for n in range(N)]
    np.testing.assert_allclose(sensitivity_n(ORACLE**2, sets, effects), naive, atol=1e-6)
    assert abs(random.mean()) < 0.2


def test_removals_refuse(squares: tuple) -> None:
    sets, effects = squares
    with pytest.raises(UserError, match="one size"):
        sensitivity_n(ORACLE, sets, effects)
    with pytest.raises(UserError, match="sides"):
        random_squares(IMAGES, sets=3, sides=(13,), seed=0)
    with pytest.raises(UserError, match="removed"):
        random_pixels(IMAGES, sets=3, removed=1.0, seed=0)
    with pytest.raises(ShapeError, match="effects"):
        infidelity(ORACLE, sets, effects[1:])
    with pytest.raises(ShapeError, match="sets"):
        removal_effects(linear, IMAGES, TARGETS, sets[:, 1:], substrate=BLANK)
    with pytest.raises(ShapeError, match="classes"):
        removal_effects(linear, IMAGES, TARGETS + 2, sets, substrate=BLANK)
    with pytest.raises(UserError, match="NaN"):
        infidelity(np.full_like(ORACLE, np.nan), sets, effects)


def softmax(images: np.ndarray) -> np.ndarray:
    logits = linear(images).astype(np.float64)
    return np.exp(logits[:, 0]) / np.exp(logits).sum(1)


def test_sufficiency_equals_a_naive_loop() -> None:
    found = sufficiency(linear, IMAGES, TARGETS, ORACLE, substrate=BLANK, seed=0)
    order = np.argsort(-ORACLE.reshape(N, -1), axis=1)
    for n in range(N):
        lost, left = [], []
        for share in SHARES:
            top = np.zeros(S * S, bool)
            top[order[n, : max(1, round(share * S * S))]] = True
            top = top.reshape(S, S)
            lost.append(softmax(np.where(top, BLANK[n], IMAGES[n])[None])[0])
            left.append(softmax(np.where(top, IMAGES[n], BLANK[n])[None])[0])
        whole = softmax(IMAGES[n : n + 1])[0]
        assert found.confidence[n] == pytest.approx(whole, rel=1e-5)
        assert found.comprehensiveness[n] == pytest.approx(whole - np.mean(lost), abs=1e-5)
        assert found.sufficiency[n] == pytest.approx(whole - np.mean(left), abs=1e-5)
    # The oracle of a linear network is best on both sides, among a hundred others.
    inverse = sufficiency(linear, IMAGES, TARGETS, -ORACLE, substrate=BLANK, seed=0)
    for seed in range(100):
        other = np.random.default_rng(seed).normal(size=ORACLE.shape).astype(np.float32)
        rival = sufficiency(linear, IMAGES, TARGETS, other, substrate=BLANK, seed=0)
        for a, b in ((found, rival), (rival, inverse)):
            assert (a.comprehensiveness >= b.comprehensiveness - 1e-6).all()
            assert (a.sufficiency <= b.sufficiency + 1e-6).all()
    with pytest.raises(UserError, match="shares"):
        sufficiency(linear, IMAGES, TARGETS, ORACLE, substrate=BLANK, seed=0, shares=(0.5, 1.0))


def test_aopc_is_samek_s_mean() -> None:
    curves = np.array([[1.0, 0.5, 0.25, 0.0], [0.3, 0.3, 0.3, 0.3]])
    np.testing.assert_allclose(aopc(curves), [(0 + 0.5 + 0.75 + 1) / 4, 0])
    found = deletion_insertion(linear, IMAGES, TARGETS, ORACLE, substrate="zero", steps=6, seed=0).deletion
    # Trapezoid area and AOPC tell the same up to the weight of the ends.
    expected = found[:, 0] - (area(found) * 6 + (found[:, 0] + found[:, -1]) / 2) / 7
    np.testing.assert_allclose(aopc(found), expected)
    with pytest.raises(ShapeError):
        aopc(np.ones((3, 1)))


def test_entropy_closed_forms() -> None:
    even, one, two, none = np.ones((4, 4)), np.zeros((4, 4)), np.zeros((4, 4)), np.zeros((4, 4))
    one[1, 2] = -3
    two[0, 0], two[3, 3] = 5, -5
    found = entropy(np.stack([even, one, two, none]).astype(np.float32))
    np.testing.assert_allclose(found[:3], [1, 0, math.log(2) / math.log(16)], atol=1e-12)
    assert np.isnan(found[3])
    maps = np.random.default_rng(0).normal(size=(3, 5, 7)).astype(np.float32)
    for value, m in zip(entropy(maps), maps.astype(float), strict=True):
        p = np.abs(m) / np.abs(m).sum()
        assert value == pytest.approx(-sum(x * math.log(x) for x in p.ravel()) / math.log(35))
    np.testing.assert_allclose(entropy(-7 * maps), entropy(maps), rtol=1e-6)


def test_energy_inside_counts_what_speaks_for_the_class() -> None:
    inside = np.zeros((4, 4, 4), bool)
    inside[:3, :2, :2] = True
    maps = np.zeros((4, 4, 4), np.float32)
    maps[0] = 1
    maps[1, 0, 0], maps[1, 3, 3], maps[1, 0, 1] = 3, 1, -50
    maps[2] = -1
    maps[3] = 1
    found = energy_inside(maps, inside)
    np.testing.assert_allclose(found[:2], [0.25, 0.75])
    assert np.isnan(found[2:]).all()
