"""LIME: against the lime package, against loops, on models whose explanation is known."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest

from edgexai.errors import ShapeError, UserError
from edgexai.explain.lime import lime, lime_coefficients, lime_repeats, lime_stability
from edgexai.explain.perturb import masked_scores
from edgexai.explain.segment import grid
from edgexai.explain.surrogate import draw_masks, kernel_weights

CELLS = grid(16, 4)


@pytest.fixture
def pictures(images):
    return images.numpy().copy()


@pytest.fixture
def classes(targets):
    return targets.numpy().copy()


def naive_hidden(image, segments, fill):
    """One image (3,H,W), segment by segment."""
    hidden = np.empty_like(image)
    for s in np.unique(segments):
        for c in range(3):
            where = segments == s
            if fill == "segment_mean":
                hidden[c][where] = image[c][where].astype(np.float64).mean()
            elif fill == "mean":
                hidden[c][where] = image[c].astype(np.float64).mean()
            else:
                hidden[c][where] = 0.0 if fill == "black" else fill[c]
    return hidden


def naive_perturbed(image, segments, masks, fill):
    hidden = naive_hidden(image, segments, fill)
    out = []
    for row in masks:
        one = image.copy()
        for s in np.flatnonzero(~row):
            one[:, segments == s] = hidden[:, segments == s]
        out.append(one)
    return np.stack(out)


def softmax(logits):
    e = np.exp(logits.astype(np.float64))
    return e / e.sum(1, keepdims=True)


def additive(classes_k=3, size=16, seed=0):
    """A predictor whose logit is a sum over pixels, its weights, and hence its exact explanation."""
    weight = np.random.default_rng(seed).normal(size=(classes_k, 3, size, size))

    def predict(batch):
        return np.einsum("nchw,kchw->nk", batch.astype(np.float64), weight).astype(np.float32)

    return predict, weight


@pytest.mark.parametrize("fill", ["segment_mean", "mean", "black", (0.1, 0.4, 0.8)])
@pytest.mark.parametrize("batch_size", [7, 64, 1000])
def test_the_network_sees_exactly_the_naive_pictures(fill, batch_size, pictures, classes):
    seen = []

    def predict(batch):
        assert batch.dtype == np.float32
        assert batch.flags.c_contiguous
        assert len(batch) <= max(batch_size, 1)
        seen.append(batch.copy())
        return np.zeros((len(batch), 5), dtype=np.float32)

    masks = draw_masks(20, 16, seed=1)
    masked_scores(
        predict, pictures, classes, segments=CELLS, masks=masks, fill=fill, score="logit", batch_size=batch_size
    )
    naive = np.concatenate([naive_perturbed(x, CELLS, masks, fill) for x in pictures])
    got = np.concatenate(seen)
    assert got.shape == naive.shape
    # The order of passes depends on the batch size: compare as multisets of pictures, rounded past the fill's last bit.
    order = [np.lexsort(a.reshape(len(a), -1).round(4).T) for a in (got, naive)]
    np.testing.assert_allclose(got[order[0]], naive[order[1]], atol=1e-6)
    # Shown pixels are the image's own, bit for bit: the first mask shows all.
    assert sum(any(np.array_equal(g, x) for g in got) for x in pictures) == len(pictures)


@pytest.mark.parametrize("fill", ["segment_mean", "mean", "black", (0.1, 0.4, 0.8)])
@pytest.mark.parametrize("design", ["uniform", "antithetic"])
def test_agrees_with_the_lime_package(fill, design, small, pictures, classes, as_predict):
    lime_base = pytest.importorskip("lime.lime_base")
    metrics = pytest.importorskip("sklearn.metrics")
    predict = as_predict(small)
    ours = lime(predict, pictures, classes, segments=CELLS, n_samples=120, seed=4, fill=fill, design=design)
    masks = draw_masks(120, 16, seed=4, design=design)
    base = lime_base.LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / 0.25**2)), random_state=0)
    distances = metrics.pairwise_distances(masks.astype(float), masks[:1].astype(float), metric="cosine").ravel()
    for i, (image, label) in enumerate(zip(pictures, classes, strict=True)):
        labels = softmax(predict(naive_perturbed(image, CELLS, masks, fill)))
        _, pairs, r2, _ = base.explain_instance_with_data(
            masks.astype(float), labels, distances, label, 16, feature_selection="none"
        )
        theirs = np.empty(16)
        for segment, value in pairs:
            theirs[segment] = value
        np.testing.assert_allclose(ours.coefficients[i], theirs, atol=1e-6)
        assert ours.r2[i] == pytest.approx(r2, abs=1e-5)
        assert np.abs(theirs).max() > 1e-4
    assert np.abs(ours.coefficients).max() > 5e-3


def test_coefficients_against_an_explicit_least_squares():
    generator = np.random.default_rng(0)
    masks = draw_masks(60, 9, seed=2)
    scores, weights, ridge = generator.normal(size=(60, 4)), generator.random(60), 0.7
    fit = lime_coefficients(masks, scores, weights, ridge)
    # The penalty as extra rows: |sqrt(w)(y - b0 - Xb)|^2 + |sqrt(ridge) b|^2, with no penalty on b0.
    root = np.sqrt(weights)[:, None]
    rows = np.vstack([root * np.hstack([np.ones((60, 1)), masks]), np.sqrt(ridge) * np.eye(10)[1:]])
    wanted = np.linalg.lstsq(rows, np.vstack([root * scores, np.zeros((9, 4))]), rcond=None)[0]
    np.testing.assert_allclose(fit.coefficients, wanted[1:].T, atol=1e-10)
    np.testing.assert_allclose(fit.intercept, wanted[0], atol=1e-10)
    for column in range(4):
        residual = scores[:, column] - fit.intercept[column] - masks @ fit.coefficients[column]
        mean = np.average(scores[:, column], weights=weights)
        r2 = 1 - (weights * residual**2).sum() / (weights * (scores[:, column] - mean) ** 2).sum()
        assert fit.r2[column] == pytest.approx(r2)


def test_linear_scores_are_recovered_and_constant_ones_have_no_fit():
    masks = draw_masks(100, 12, seed=0)
    truth = np.arange(12) - 5.0
    scores = np.stack([masks @ truth + 3.0, np.full(100, 0.1)], axis=1)
    fit = lime_coefficients(masks, scores, kernel_weights(masks), ridge=1e-10)
    np.testing.assert_allclose(fit.coefficients[0], truth, atol=1e-6)
    assert fit.intercept[0] == pytest.approx(3.0, abs=1e-6)
    assert fit.r2[0] == pytest.approx(1.0)
    assert np.isnan(fit.r2[1])
    assert np.abs(fit.coefficients[1]).max() < 1e-12


@pytest.mark.parametrize("fill", ["black", "segment_mean"])
def test_a_model_additive_over_segments_is_explained_exactly(fill, pictures):
    predict, weight = additive()
    target = np.array([0, 1, 2, 0, 1, 2])
    result = lime(
        predict, pictures, target, segments=CELLS, n_samples=300, seed=0, fill=fill, ridge=1e-9, score="logit"
    )
    for i, (image, t) in enumerate(zip(pictures, target, strict=True)):
        per_pixel = (weight[t] * (image - naive_hidden(image, CELLS, fill))).sum(0)
        truth = np.bincount(CELLS.ravel(), weights=per_pixel.ravel())
        np.testing.assert_allclose(result.coefficients[i], truth, atol=2e-4)
        np.testing.assert_allclose(result.maps[i], truth[CELLS], atol=2e-4)
    assert (result.r2 > 0.9999).all()
    assert (result.n_segments == 16).all()


def test_masks_and_weights():
    masks = draw_masks(4001, 10, seed=0)
    assert masks[0].all()
    assert abs(masks[1:].mean() - 0.5) < 0.01
    assert np.array_equal(masks, draw_masks(4001, 10, seed=0))
    assert not np.array_equal(masks, draw_masks(4001, 10, seed=1))
    for n in (20, 21):
        pairs = draw_masks(n, 10, seed=0, design="antithetic")
        assert pairs.shape == (n, 10)
        assert pairs[0].all()
        last = n - 1 if n % 2 else n - 2
        assert np.array_equal(pairs[1:last:2], ~pairs[2 : last + 1 : 2])
    weights = kernel_weights(np.array([[1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]], dtype=bool))
    np.testing.assert_allclose(weights, [1.0, np.exp(-0.5 * (0.5 / 0.25) ** 2), np.exp(-8.0)])


def test_batch_equals_singles_and_nothing_is_modified(small, pictures, classes, as_predict):
    predict, kept = as_predict(small), (pictures.copy(), classes.copy(), CELLS.copy())
    whole = lime(predict, pictures, classes, segments=CELLS, n_samples=50, seed=2)
    assert whole.coefficients.dtype == np.float64
    assert whole.maps.dtype == np.float32
    for i in range(6):
        one = lime(predict, pictures[i : i + 1], classes[i : i + 1], segments=CELLS, n_samples=50, seed=2)
        np.testing.assert_allclose(whole.coefficients[i], one.coefficients[0], atol=1e-6)
    for batch_size in (1, 33, 120):
        again = lime(predict, pictures, classes, segments=CELLS, n_samples=50, seed=2, batch_size=batch_size)
        np.testing.assert_allclose(whole.coefficients, again.coefficients, atol=1e-6)
    again = lime(predict, pictures, classes, segments=CELLS, n_samples=50, seed=2)
    assert np.array_equal(whole.coefficients, again.coefficients)
    assert not np.allclose(
        whole.coefficients, lime(predict, pictures, classes, segments=CELLS, n_samples=50, seed=3).coefficients
    )
    assert np.array_equal(pictures, kept[0])
    assert np.array_equal(classes, kept[1])
    assert np.array_equal(CELLS, kept[2])


def test_a_segment_layout_per_image(small, pictures, classes, as_predict):
    predict = as_predict(small)
    layouts = np.stack([CELLS, grid(16, 3), CELLS.T.copy(), grid(16, 3), CELLS, grid(16, 5)])
    result = lime(predict, pictures, classes, segments=layouts, n_samples=60, seed=2)
    assert result.n_segments.tolist() == [16, 9, 16, 9, 16, 25]
    assert result.coefficients.shape == (6, 25)
    for i, layout in enumerate(layouts):
        one = lime(predict, pictures[i : i + 1], classes[i : i + 1], segments=layout, n_samples=60, seed=2)
        count = one.n_segments[0]
        np.testing.assert_allclose(result.coefficients[i, :count], one.coefficients[0], atol=1e-6)
        assert np.isnan(result.coefficients[i, count:]).all()
        np.testing.assert_allclose(result.maps[i], one.maps[0], atol=1e-6)


def test_other_weights_give_another_explanation_and_a_blind_model_none(
    small, other_small, pictures, classes, as_predict
):
    results = [
        lime(as_predict(m), pictures, classes, segments=CELLS, n_samples=300, seed=0).coefficients
        for m in (small, other_small)
    ]
    correlation = [np.corrcoef(a, b)[0, 1] for a, b in zip(*results, strict=True)]
    assert np.median(correlation) < 0.9
    blind = lime(
        lambda batch: np.tile(np.float32([1, 2, 3, 4, 5]), (len(batch), 1)),
        pictures,
        classes,
        segments=CELLS,
        n_samples=50,
        seed=0,
    )
    assert np.abs(blind.coefficients).max() < 1e-12
    assert np.isnan(blind.r2).all()


def test_a_planted_cell_is_found(pictures):
    def predict(batch):
        cue = 20 * batch[:, 0, 4:8, 8:12].mean((1, 2)) - 10  # cell 1*4+2
        return np.stack([cue, -cue], axis=1).astype(np.float32)

    pictures[:, 0, 4:8, 8:12] = 0.9
    result = lime(predict, pictures, np.zeros(6, dtype=np.int64), segments=CELLS, n_samples=100, seed=0, fill="black")
    assert (result.coefficients.argmax(1) == 6).all()
    assert (np.sort(np.abs(result.coefficients), 1)[:, -2] < 0.2 * result.coefficients[:, 6]).all()


def test_repeats_are_single_runs_with_the_documented_seeds(small, pictures, classes, as_predict):
    predict = as_predict(small)
    repeats = lime_repeats(predict, pictures, classes, segments=CELLS, n_samples=40, repeats=3, seed=9)
    assert repeats.shape == (3, 6, 16)
    seeds = np.random.SeedSequence(9).generate_state(3)
    for run, seed in zip(repeats, seeds, strict=True):
        one = lime(predict, pictures, classes, segments=CELLS, n_samples=40, seed=int(seed))
        assert np.array_equal(run, one.coefficients)
    first = lime_repeats(predict, pictures, classes, segments=CELLS, n_samples=40, repeats=1, seed=9)
    assert np.array_equal(first[0], repeats[0])


def test_stability_against_loops(small, pictures, classes, as_predict):
    predict = as_predict(small)
    layouts = np.stack([CELLS, grid(16, 3), CELLS, CELLS, CELLS, CELLS])
    result = lime_stability(predict, pictures, classes, segments=layouts, n_samples=40, seeds=(0, 1, 2, 3), top_k=5)
    runs = [lime(predict, pictures, classes, segments=layouts, n_samples=40, seed=s).coefficients for s in range(4)]
    for i, count in enumerate([16, 9, 16, 16, 16, 16]):
        jaccard, sign = [], []
        for a, b in combinations([run[i, :count] for run in runs], 2):
            top_a, top_b = (set(np.argsort(-np.abs(v))[:5]) for v in (a, b))
            jaccard.append(len(top_a & top_b) / len(top_a | top_b))
            sign.append(np.mean((a > 0) == (b > 0)))
        assert result.jaccard[i] == pytest.approx(np.mean(jaccard))
        assert result.sign_agreement[i] == pytest.approx(np.mean(sign))
        np.testing.assert_allclose(result.std[i, :count], np.std([run[i, :count] for run in runs], axis=0, ddof=1))
    more = lime_stability(predict, pictures, classes, segments=CELLS, n_samples=1000, seeds=(0, 1, 2, 3), top_k=5)
    assert more.jaccard.mean() > result.jaccard.mean()
    assert np.nanmean(more.std) < np.nanmean(result.std)


def test_a_colour_may_be_an_array(small, pictures, classes, as_predict):
    predict, colour = as_predict(small), (0.1, 0.4, 0.8)
    results = [
        lime(predict, pictures, classes, segments=CELLS, n_samples=40, seed=0, fill=fill).coefficients
        for fill in (colour, np.array(colour), np.array(colour, dtype=np.float32))
    ]
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


def test_lime_runs_where_there_is_no_torch():
    names = "lime surrogate perturb segment baselines"
    code = f"""
import sys
for absent in ("torch", "captum", "scipy", "skimage"):
    sys.modules[absent] = None
from importlib import import_module
for name in {names.split()!r}:
    import_module("edgexai.explain." + name)
import numpy as np
from edgexai.explain.lime import lime
from edgexai.explain.segment import grid
predict = lambda batch: np.stack([batch.mean((1, 2, 3)), -batch.mean((1, 2, 3))], axis=1)
images = np.full((2, 3, 16, 16), 0.5, dtype=np.float32)
lime(predict, images, np.array([0, 1]), segments=grid(16, 4), n_samples=32, seed=0, fill="black")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_refusals(small, pictures, classes, as_predict):
    predict = as_predict(small)

    def run(images=pictures, targets=classes, segments=CELLS, n_samples=40, **options):
        return lime(predict, images, targets, segments=segments, n_samples=n_samples, seed=0, **options)

    with pytest.raises(ShapeError, match="images"):
        run(images=pictures.astype(np.float64))
    with pytest.raises(ShapeError, match="images"):
        run(images=pictures[0])
    with pytest.raises(ShapeError, match="targets"):
        run(targets=classes[:3])
    with pytest.raises(ShapeError, match="segments"):
        run(segments=grid(32, 4))
    with pytest.raises(ShapeError, match="skip number 3"):
        run(segments=np.where(CELLS == 3, 0, CELLS))
    with pytest.raises(UserError, match="n_samples = 15"):
        run(n_samples=15)
    with pytest.raises(UserError, match="class 7"):
        run(targets=np.full_like(classes, 7))
    for option in (
        {"fill": "white"},
        {"fill": (0.5, 0.5)},
        {"design": "sobol"},
        {"score": "loss"},
        {"ridge": -1.0},
        {"kernel_width": 0.0},
    ):
        with pytest.raises(UserError, match=next(iter(option))):
            run(**option)
    with pytest.raises(UserError, match="finite"):
        lime(
            lambda batch: np.full((len(batch), 5), np.nan, dtype=np.float32),
            pictures,
            classes,
            segments=CELLS,
            n_samples=40,
            seed=0,
        )
    with pytest.raises(ShapeError, match="predict returned"):
        lime(lambda batch: np.zeros(5, dtype=np.float32), pictures, classes, segments=CELLS, n_samples=40, seed=0)
    with pytest.raises(UserError, match="seeds"):
        lime_stability(predict, pictures, classes, segments=CELLS, n_samples=40, seeds=(1, 1))
    with pytest.raises(UserError, match="top_k"):
        lime_stability(predict, pictures, classes, segments=CELLS, n_samples=40, seeds=(1, 2), top_k=16)
    with pytest.raises(UserError, match="repeats"):
        lime_repeats(predict, pictures, classes, segments=CELLS, n_samples=40, repeats=0, seed=0)
    with pytest.raises(UserError, match="determine"):
        lime_coefficients(np.ones((20, 4), dtype=bool), np.ones((20, 1)), np.ones(20), ridge=0.0)
