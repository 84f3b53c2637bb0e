"""LIME's ways: kernels, designs, feature choice, segmenters, fills, presets, stability, "auto"."""

from __future__ import annotations

import numpy as np
import pytest

from edgexai.errors import UserError
from edgexai.explain.fill import hidden_images
from edgexai.explain.lime import lime
from edgexai.explain.lime_result import kendall_tau
from edgexai.explain.presets import LIME_PRESETS, lime_preset, preset_named, preset_segments
from edgexai.explain.segment import felzenszwalb, grid, quickshift, slic
from edgexai.explain.surrogate import draw_masks, image_weights, kernel_weights, lime_coefficients, lime_selected

CELLS = grid(16, 4)


@pytest.fixture
def pictures(images):
    return images.numpy().copy()


@pytest.fixture
def classes(targets):
    return targets.numpy().copy()


@pytest.mark.parametrize("n_features", [7, 12])
def test_chosen_features_are_those_of_the_lime_package(n_features):
    lime_base = pytest.importorskip("lime.lime_base")
    metrics = pytest.importorskip("sklearn.metrics")
    masks = draw_masks(300, 25, seed=1)
    labels = np.random.default_rng(0).normal(size=(300, 1)) + masks @ np.linspace(-1, 1, 25)[:, None]
    base = lime_base.LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / 0.25**2)), random_state=0)
    distances = metrics.pairwise_distances(masks.astype(float), masks[:1].astype(float), metric="cosine").ravel()
    intercept, pairs, r2, _ = base.explain_instance_with_data(
        masks.astype(float), labels, distances, 0, n_features, feature_selection="auto"
    )
    ours = lime_selected(masks, labels, kernel_weights(masks), 1.0, n_features)
    theirs = np.zeros(25)
    for segment, value in pairs:
        theirs[segment] = value
    assert (theirs != 0).sum() == n_features
    np.testing.assert_allclose(ours.coefficients[0], theirs, atol=1e-6)
    assert ours.intercept[0] == pytest.approx(intercept, abs=1e-6)
    assert ours.r2[0] == pytest.approx(r2, abs=1e-6)


def test_image_distance_weighs_by_the_pixels(pictures):
    masks = draw_masks(30, 16, seed=0)
    hidden = hidden_images(pictures, CELLS, "black")
    weights = image_weights(masks, pictures, hidden, CELLS, kernel_width=0.3)
    assert weights.shape == (30, 6)
    for m in (0, 3, 17):
        for i in (0, 4):
            shown = np.where(masks[m][CELLS], pictures[i], 0.0)
            distance = np.sqrt(((pictures[i] - shown) ** 2).mean())
            assert weights[m, i] == pytest.approx(np.exp(-0.5 * (distance / 0.3) ** 2), rel=1e-5)


def test_every_image_is_fitted_with_its_own_weights(small, pictures, classes, as_predict):
    predict = as_predict(small)
    whole = lime(predict, pictures, classes, segments=CELLS, n_samples=80, seed=0, kernel="image", kernel_width=0.3)
    one = lime(
        predict, pictures[2:3], classes[2:3], segments=CELLS, n_samples=80, seed=0, kernel="image", kernel_width=0.3
    )
    np.testing.assert_allclose(whole.coefficients[2], one.coefficients[0], atol=1e-6)
    cosine = lime(predict, pictures, classes, segments=CELLS, n_samples=80, seed=0)
    assert not np.allclose(whole.coefficients, cosine.coefficients, atol=1e-3)


def test_glime_draws_what_the_kernel_weighs():
    masks = draw_masks(40_000, 6, seed=0, design="glime", kernel_width=0.25)
    every = np.array([[code >> k & 1 for k in range(6)] for code in range(64)], dtype=bool)
    share = kernel_weights(every, kernel_width=0.25)
    share /= share.sum()
    codes = masks[1:] @ (1 << np.arange(6))
    seen = np.bincount(codes, minlength=64) / len(codes)
    assert np.abs(seen - share).max() < 4 * np.sqrt(share.max() / len(codes))
    assert np.abs(seen[1:] / share[1:] - 1)[share[1:] > 0.005].max() < 0.2


def test_glime_and_lime_agree_on_many_masks(small, pictures, classes, as_predict):
    predict = as_predict(small)
    pictures, classes = pictures[:2], classes[:2]
    many = lime(predict, pictures, classes, segments=CELLS, n_samples=6000, seed=0, ridge=1e-6).coefficients
    glime = lime(predict, pictures, classes, segments=CELLS, n_samples=3000, seed=0, ridge=1e-6, design="glime")
    for a, b in zip(many, glime.coefficients, strict=True):
        assert np.corrcoef(a, b)[0, 1] > 0.98
    with pytest.raises(UserError, match="glime"):
        lime(predict, pictures, classes, segments=CELLS, n_samples=50, seed=0, design="glime", kernel="image")


def test_kendall_against_scipy():
    from scipy.stats import kendalltau

    generator = np.random.default_rng(0)
    for _ in range(5):
        a, b = generator.integers(0, 6, 20).astype(float), generator.normal(size=20)
        assert kendall_tau(a, b) == pytest.approx(kendalltau(a, b).statistic)
    assert kendall_tau(np.arange(5.0), -np.arange(5.0)) == -1
    assert np.isnan(kendall_tau(np.zeros(4), np.arange(4.0)))


def test_stability_is_part_of_the_result(small, pictures, classes, as_predict):
    predict = as_predict(small)
    few, many = (
        lime(predict, pictures, classes, segments=CELLS, n_samples=n, seed=0, stability_seeds=3, top_k=5)
        for n in (40, 1000)
    )
    assert few.stability is not None
    assert many.stability is not None
    assert few.stability.n_seeds == 3
    assert few.forwards == 3 * 40 * 6
    for name in ("jaccard", "kendall_tau", "sign_agreement"):
        assert getattr(many.stability, name).mean() > getattr(few.stability, name).mean()
    alone = lime(predict, pictures, classes, segments=CELLS, n_samples=40, seed=0)
    assert np.array_equal(few.coefficients, alone.coefficients)
    assert alone.stability is None
    assert few.stability.r2.shape == (6,)
    with pytest.raises(UserError, match="stability_seeds"):
        lime(predict, pictures, classes, segments=CELLS, n_samples=40, seed=0, stability_seeds=1)


def test_auto_takes_what_each_image_needs(small, pictures, classes, as_predict):
    inner, seen = as_predict(small), []

    def predict(batch):
        seen.append(len(batch))
        return inner(batch)

    found = lime(predict, pictures, classes, segments=CELLS, n_samples="auto", seed=0, top_k=5, max_samples=4096)
    assert sum(seen) == found.forwards == found.n_samples.sum()
    assert found.stability is not None
    enough = (found.stability.jaccard >= 0.8) | (found.n_samples * 2 > 4096)
    assert enough.all()
    assert len(set(found.n_samples.tolist())) > 1
    for i in range(3):  # no image's result depends on the others
        one = lime(
            predict, pictures[i : i + 1], classes[i : i + 1], segments=CELLS, n_samples="auto", seed=0, top_k=5,
            max_samples=4096,
        )  # fmt: skip
        assert one.n_samples[0] == found.n_samples[i]
        np.testing.assert_allclose(one.coefficients[0], found.coefficients[i], atol=1e-6)
    reference = lime(inner, pictures, classes, segments=CELLS, n_samples=8000, seed=99).coefficients
    auto = [np.corrcoef(a, b)[0, 1] for a, b in zip(found.coefficients, reference, strict=True)]
    assert np.median(auto) > 0.95
    with pytest.raises(UserError, match="max_samples"):
        lime(predict, pictures, classes, segments=CELLS, n_samples="auto", seed=0, max_samples=20)
    with pytest.raises(UserError, match="agreement"):
        lime(predict, pictures, classes, segments=CELLS, n_samples="auto", seed=0, agreement=0.0)


def test_weights_per_column_are_single_fits():
    generator = np.random.default_rng(0)
    masks, scores = draw_masks(60, 9, seed=2), generator.normal(size=(60, 3))
    weights = generator.random((60, 3))
    fit = lime_coefficients(masks, scores, weights, 0.5)
    for k in range(3):
        one = lime_coefficients(masks, scores[:, k : k + 1], weights[:, k], 0.5)
        np.testing.assert_array_equal(fit.coefficients[k], one.coefficients[0])
        assert fit.r2[k] == one.r2[0]


@pytest.fixture(scope="module")
def blocks():
    """A 64-pixel picture of coloured blocks, so that superpixels have edges to follow."""
    colours = np.random.default_rng(5).random((2, 3, 4, 4), dtype=np.float32)
    return colours.repeat(16, axis=2).repeat(16, axis=3)


@pytest.mark.parametrize(
    "cut",
    [
        lambda x: slic(x, 16),
        lambda x: quickshift(x, kernel_size=2.0, max_dist=8.0),
        lambda x: felzenszwalb(x, scale=20),
    ],
    ids=["slic", "quickshift", "felzenszwalb"],
)
def test_superpixels_follow_edges_and_few_are_refused(cut, blocks):
    pytest.importorskip("skimage")
    segments = cut(blocks)
    assert segments.shape == (2, 64, 64)
    for layout, image in zip(segments, blocks, strict=True):
        assert np.array_equal(np.unique(layout), np.arange(layout.max() + 1))
        spread = [image[:, layout == s].std(axis=1).mean() for s in range(layout.max() + 1)]
        assert np.mean(spread) < 0.5 * image.std()
    assert np.array_equal(segments, cut(blocks))
    with pytest.raises(UserError, match="fewer than 8"):
        cut(np.full((1, 3, 64, 64), 0.5, np.float32)[:, :, :2, :2])


def test_the_package_defaults_of_quickshift_are_refused_on_small_images(pictures):
    pytest.importorskip("skimage")
    with pytest.raises(UserError, match="fewer than 8"):
        quickshift(pictures)
    assert quickshift(pictures, min_segments=1).shape == (6, 16, 16)


def test_the_grid_takes_a_height_and_a_width():
    cells = grid((20, 12), 4)
    assert cells.shape == (20, 12)
    assert (np.bincount(cells.ravel()) == 15).all()


@pytest.mark.parametrize("name", LIME_PRESETS)
def test_every_preset_explains(name, small, blocks, as_predict):
    preset = preset_named(name)
    if preset.segmenter != "grid":
        pytest.importorskip("skimage")
    target = np.array([0, 1])
    segments = preset_segments(preset, blocks, seed=0, min_segments=2)
    found = lime_preset(as_predict(small), blocks, target, preset=preset, segments=segments, seed=0)
    assert np.isfinite(found.maps).all()
    if name == "tml":
        assert (found.n_samples == 700).all()
        direct = lime(
            as_predict(small), blocks, target, segments=segments, n_samples=700, seed=0, ridge=0.5, fill="p20"
        )
        assert np.array_equal(direct.maps, found.maps)
    with pytest.raises(UserError, match="did you mean"):
        preset_named(name + "x")
