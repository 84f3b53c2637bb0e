"""Imputation against a naive sparse solve; ROAD, deletion and insertion with oracle and random maps."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
from scipy.ndimage import gaussian_filter

from edgexai.errors import ShapeError, UserError
from edgexai.measure.deletion import area, deletion_insertion, substrate_images
from edgexai.measure.faithfulness import RoadCurve, removal_rank, remove, road, road_curves, road_gap
from edgexai.measure.impute import linear_impute
from edgexai.measure.stats import bootstrap_mean


def naive_impute(image: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """One image, one unknown at a time, straight from the definition."""
    _, height, width = image.shape
    places = list(zip(*np.nonzero(removed), strict=True))
    number = {place: k for k, place in enumerate(places)}
    matrix = scipy.sparse.lil_matrix((len(places), len(places)))
    known = np.zeros((len(places), len(image)))
    for k, (y, x) in enumerate(places):
        near = {
            (y + dy, x + dx): 1 / 6 if 0 in (dy, dx) else 1 / 12
            for dy in (-1, 0, 1)
            for dx in (-1, 0, 1)
            if (dy, dx) != (0, 0) and 0 <= y + dy < height and 0 <= x + dx < width
        }
        matrix[k, k] = 1
        for place, weight in near.items():
            share = weight / sum(near.values())
            if place in number:
                matrix[k, number[place]] = -share
            else:
                known[k] += share * image[(slice(None), *place)]
    out = image.astype(np.float64)
    if places:
        solved = scipy.sparse.linalg.spsolve(matrix.tocsc(), known).reshape(len(places), -1)
        out[:, removed] = solved.T
    return out


def smooth_images(n: int, height: int = 32, width: int = 32, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).random((n, 3, height, width))
    return np.clip(gaussian_filter(noise, (0, 0, 1.5, 1.5)) * 4 - 1.5, 0, 1).astype(np.float32)


@pytest.mark.parametrize("shape", [(32, 32), (48, 40), (15, 17)])
def test_imputation_equals_the_naive_solve(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    images = smooth_images(6, *shape)
    y, x = np.mgrid[: shape[0], : shape[1]]
    centre = -np.hypot(y - shape[0] / 2, x - shape[1] / 2) + 1e-3 * rng.random(shape)
    blobs = gaussian_filter(rng.random(shape), 3)
    corner = (y + x).astype(float) + 1e-3 * rng.random(shape)
    fields = [rng.random(shape), rng.random(shape), blobs, centre, corner, -centre]
    level = [0.1, 0.6, 0.5, 0.9, 0.9, 0.5]
    removed = np.array([f > np.quantile(f, 1 - q) for f, q in zip(fields, level, strict=True)])
    kept = images.copy()
    out = linear_impute(images, removed)
    assert np.array_equal(images, kept)
    assert out.dtype == np.float32
    for k in range(6):
        np.testing.assert_allclose(out[k], naive_impute(images[k], removed[k]), atol=1e-5)
        assert np.array_equal(out[k][:, ~removed[k]], images[k][:, ~removed[k]])


def test_imputation_closed_forms() -> None:
    # A linear ramp is harmonic for the symmetric stencil: an interior hole is filled exactly.
    ramp = np.broadcast_to(np.linspace(0, 1, 12, dtype=np.float32), (1, 3, 12, 12)).copy()
    hole = np.zeros((1, 12, 12), np.bool_)
    hole[0, 3:8, 2:9] = True
    broken = np.where(hole[:, None], np.float32(0.77), ramp)  # what was removed must not matter
    np.testing.assert_allclose(linear_impute(broken, hole), ramp, atol=1e-5)
    # One pixel in a corner: direct 1/6, 1/6, diagonal 1/12, renormalised.
    image = np.zeros((1, 3, 4, 4), np.float32)
    image[0, :, 0, 1], image[0, :, 1, 0], image[0, :, 1, 1] = 0.5, 0.25, 1.0
    one = np.zeros((1, 4, 4), np.bool_)
    one[0, 0, 0] = True
    expected = (0.5 / 6 + 0.25 / 6 + 1 / 12) / (5 / 12)
    np.testing.assert_allclose(linear_impute(image, one)[0, :, 0, 0], expected, atol=1e-6)
    # A single pixel left decides everything.
    all_but_one = ~one
    np.testing.assert_allclose(linear_impute(image + 0.3, all_but_one), 0.3, atol=1e-4)


def test_imputation_refuses() -> None:
    images = smooth_images(2)
    with pytest.raises(UserError, match="image 1"):
        linear_impute(images, np.array([np.zeros((32, 32), np.bool_), np.ones((32, 32), np.bool_)]))
    with pytest.raises(ShapeError):
        linear_impute(images, np.zeros((2, 32, 31), np.bool_))


WINDOW = (slice(4, 10), slice(5, 11))


def window_predict(images: np.ndarray) -> np.ndarray:
    """Class 1 exactly when the window is brighter than 0.5; it looks nowhere else."""
    brightness = images[(slice(None), slice(None), *WINDOW)].mean(axis=(1, 2, 3))
    return np.stack([np.full(len(images), 0.5), brightness], axis=1).astype(np.float32) * 20


@pytest.fixture(scope="module")
def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Dark images with a bright window, all of class 1; and the oracle's map of it."""
    images = np.random.default_rng(0).random((60, 3, 16, 16), dtype=np.float32) * 0.3
    images[(slice(None), slice(None), *WINDOW)] += 0.6
    oracle = np.zeros((60, 16, 16), np.float32)
    oracle[(slice(None), *WINDOW)] = 1
    return images, np.ones(60, np.int64), oracle


def test_oracle_wins_random_is_at_chance_inverse_loses(scene: tuple) -> None:
    images, labels, oracle = scene
    maps = {
        "oracle": oracle,
        "inverse": -oracle,
        "random": np.random.default_rng(5).random(oracle.shape, dtype=np.float32),
        "constant": np.ones_like(oracle),
    }
    curves = road_curves(window_predict, images, labels, maps, seed=0)
    random = curves["", "random"]
    gaps = {name: road_gap(random, curves[name, "morf"]) for name in maps}
    assert gaps["oracle"].mean() > 0.5
    assert gaps["inverse"].mean() <= 0
    for name in ("random", "constant"):
        _, low, high = bootstrap_mean(gaps[name], seed=0)
        assert low - 0.02 <= 0 <= high + 0.02
    # Least relevant first keeps the oracle's window until the end, and MoRF of the inverse is LeRF of the map.
    assert road_gap(random, curves["oracle", "lerf"]).mean() <= 0
    assert curves["oracle", "morf"].accuracy[2] == 0
    assert curves["oracle", "lerf"].accuracy[:7].min() == 1
    assert np.array_equal(curves["inverse", "morf"].correct, curves["oracle", "lerf"].correct)
    # The gap's mean is the area between the two curves.
    expected = (random.accuracy - curves["oracle", "morf"].accuracy).mean()
    assert gaps["oracle"].mean() == pytest.approx(expected)


def test_one_call_equals_many_and_batches_do_not_matter(scene: tuple) -> None:
    images, labels, oracle = scene
    levels = (0.0, 0.2, 0.5)
    many = road_curves(window_predict, images, labels, {"oracle": oracle}, levels=levels, seed=0)
    one = road(window_predict, images, labels, oracle, order="morf", levels=levels, seed=0, batch_size=7)
    assert np.array_equal(many["oracle", "morf"].correct, one.correct)
    part = road(window_predict, images[10:20], labels[10:20], oracle[10:20], order="morf", levels=levels, seed=0)
    assert np.array_equal(one.correct[:, 10:20], part.correct)
    assert one.accuracy[0] == 1
    assert len(many) == 3


def test_ranking_is_a_permutation_with_random_ties(scene: tuple) -> None:
    images, _, oracle = scene
    for order in ("morf", "lerf", "random"):
        rank = removal_rank(images, oracle, order=order, seed=0)
        assert np.array_equal(np.sort(rank.reshape(60, -1), axis=1), np.broadcast_to(np.arange(256), (60, 256)))
    rank = removal_rank(images, oracle, order="morf", seed=0)
    assert rank[oracle > 0].max() == 35
    # Within the tie the order is random: no raster order, other images and seeds differ.
    first = rank[0][WINDOW].ravel()
    assert not np.array_equal(first, np.sort(first))
    assert not np.array_equal(rank[0], rank[1])
    assert not np.array_equal(rank, removal_rank(images, oracle, order="morf", seed=1))
    lerf = removal_rank(images, oracle + np.random.default_rng(0).random(oracle.shape), order="lerf", seed=0)
    morf = removal_rank(images, oracle + np.random.default_rng(0).random(oracle.shape), order="morf", seed=0)
    assert np.array_equal(lerf, 255 - morf)


def test_removed_pixels_carry_the_noise_and_no_others(scene: tuple) -> None:
    images, _, oracle = scene
    rank = removal_rank(images, oracle, order="random", seed=0)
    clean = remove(images, rank, level=0.3, noise_std=0, seed=0)
    noisy = remove(images, rank, level=0.3, noise_std=0.01, seed=0)
    gone = np.broadcast_to((rank < round(0.3 * 256))[:, None], images.shape)
    assert np.array_equal(noisy[~gone], images[~gone])
    assert (noisy - clean)[gone].std() == pytest.approx(0.01, rel=0.03)
    assert noisy.min() >= 0
    assert noisy.max() <= 1
    assert np.array_equal(remove(images, rank, level=0, noise_std=0.01, seed=0), images)


def test_road_refuses(scene: tuple) -> None:
    images, labels, oracle = scene
    for levels in ((), (0.5, 0.4), (0.5, 1.0), (-0.1, 0.5)):
        with pytest.raises(UserError, match="levels"):
            road(window_predict, images, labels, oracle, order="morf", levels=levels, seed=0)
    with pytest.raises(ShapeError, match="maps"):
        road(window_predict, images, labels, oracle[:3], order="morf", seed=0)
    with pytest.raises(ShapeError):
        road(window_predict, images, labels, None, order="morf", seed=0)
    grid = np.array([0.1, 0.2])
    with pytest.raises(ShapeError):
        road_gap(
            RoadCurve("random", grid, np.ones((2, 4), np.bool_)), RoadCurve("morf", grid * 2, np.ones((2, 4), np.bool_))
        )


def test_area_is_the_trapezoid() -> None:
    curves = np.random.default_rng(0).random((5, 9))
    expected = [sum((c[k] + c[k + 1]) / 2 for k in range(8)) / 8 for c in curves]
    np.testing.assert_allclose(area(curves), expected)
    assert area(np.linspace(1, 0, 11)[None])[0] == pytest.approx(0.5)


def test_deletion_and_insertion_follow_the_oracle(scene: tuple) -> None:
    images, labels, oracle = scene
    good = deletion_insertion(window_predict, images, None, oracle, substrate="zero", zero=(0, 0, 0), steps=16, seed=0)
    bad = deletion_insertion(
        window_predict, images, labels, -oracle, substrate="zero", zero=(0, 0, 0), steps=16, seed=0
    )
    assert np.array_equal(good.targets, labels)
    assert area(good.deletion).mean() < 0.3 < 0.7 < area(bad.deletion).mean()
    assert area(bad.insertion).mean() < 0.3 < 0.7 < area(good.insertion).mean()
    # Ends: the original image and the substrate, from both sides.
    logits = window_predict(images).astype(np.float64)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(good.deletion[:, 0], softmax[:, 1], rtol=1e-6)
    np.testing.assert_allclose(good.insertion[:, -1], good.deletion[:, 0])
    np.testing.assert_allclose(good.insertion[:, 0], good.deletion[:, -1])
    np.testing.assert_allclose(good.insertion[:, 0], 1 / (1 + np.exp(10)), rtol=1e-5)
    # Deleting the highest first is inserting the lowest first, backwards (no ties: distinct values).
    distinct = oracle + np.random.default_rng(0).random(oracle.shape, dtype=np.float32) * 0.5
    forth = deletion_insertion(window_predict, images, labels, distinct, substrate="blur", steps=8, seed=0)
    back = deletion_insertion(window_predict, images, labels, -distinct, substrate="blur", steps=8, seed=0)
    np.testing.assert_allclose(forth.deletion, back.insertion[:, ::-1], rtol=1e-6)
    np.testing.assert_allclose(forth.normalised().deletion[:, 0], 1)


def test_deletion_equals_a_naive_loop(scene: tuple) -> None:
    images, labels, _ = scene
    maps = np.random.default_rng(1).random((3, 16, 16), dtype=np.float32)
    curves = deletion_insertion(window_predict, images[:3], labels[:3], maps, substrate="zero", steps=7, seed=0)
    for k in range(3):
        order = np.argsort(-maps[k].ravel())
        for step in range(8):
            image = images[k].reshape(3, -1).copy()
            image[:, order[: round(step * 256 / 7)]] = 0.5
            a, b = window_predict(image.reshape(1, 3, 16, 16))[0].astype(float)
            assert curves.deletion[k, step] == pytest.approx(1 / (1 + np.exp(a - b)), rel=1e-6)


def test_blur_is_the_gaussian() -> None:
    images = smooth_images(2)
    expected = gaussian_filter(images.astype(np.float64), (0, 0, 5, 5), mode="nearest", truncate=1.0)
    np.testing.assert_allclose(substrate_images(images, "blur", zero=(0, 0, 0)), expected, atol=1e-6)
    with pytest.raises(UserError, match="substrate"):
        substrate_images(images, "grey", zero=(0, 0, 0))  # type: ignore[arg-type]
