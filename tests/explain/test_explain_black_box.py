"""RISE, occlusion, KernelSHAP: naive loops, exact Shapley values, Captum, the shap package, invariants, refusals."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np
import pytest
import torch

from edgexai.errors import ShapeError, UserError
from edgexai.explain.fill import blurred, hidden_images
from edgexai.explain.kernelshap import choose_coalitions, kernelshap, shapley_fit
from edgexai.explain.occlusion import occlusion
from edgexai.explain.perturb import masked_scores
from edgexai.explain.rise import rise, rise_masks
from edgexai.explain.segment import grid

EIGHT = grid((16, 16), 4) // 2  # 8 segments of two cells


def _kernelshap(predict, images, targets, **options):
    return kernelshap(predict, images, targets, segments=EIGHT, **options)


METHODS = {"rise": rise, "occlusion": occlusion, "kernelshap": _kernelshap}
SHORT = {"rise": {"n_masks": 60}, "occlusion": {"window": 5, "stride": 3}, "kernelshap": {"n_samples": 40}}


@pytest.fixture
def pictures(images):
    return images.numpy().copy()


@pytest.fixture
def classes(targets):
    return targets.numpy().copy()


def probability(predict, batch, target):
    logits = predict(batch).astype(np.float64)
    e = np.exp(logits - logits.max(1, keepdims=True))
    return (e / e.sum(1, keepdims=True))[:, target]


@pytest.mark.parametrize("fill", ["black", "mean", "p20", "blur", (0.1, 0.4, 0.8)])
def test_rise_against_a_loop(fill, small, pictures, classes, as_predict):
    predict = as_predict(small)
    found = rise(predict, pictures, classes, seed=3, n_masks=30, cells=3, p=0.4, fill=fill, batch_size=7)
    masks = rise_masks(30, 3, (16, 16), seed=3, p=0.4)
    hidden = hidden_images(pictures, np.zeros((16, 16), dtype=np.int32), fill)
    for i in range(len(pictures)):
        parts = []
        for mask in masks:
            shown = pictures[i] * mask + hidden[i] * (1 - mask)
            parts.append(probability(predict, shown[None].astype(np.float32), classes[i])[0] * mask / 0.4)
        np.testing.assert_allclose(found.maps[i], np.mean(parts, axis=0), atol=2e-5)
        error = np.std(parts, axis=0, ddof=1) / np.sqrt(30)
        assert found.error[i] == pytest.approx(error.mean(), rel=1e-3)
    assert found.forwards == 6 * 30


def test_rise_masks_are_the_sources():
    cells, size, step = 4, (18, 10), (5, 3)
    masks = rise_masks(400, cells, size, seed=0, p=0.3)
    assert masks.shape == (400, 18, 10)
    assert masks.min() >= 0
    assert masks.max() <= 1
    assert abs(masks.mean() - 0.3) < 0.02
    # one mask by hand: small grid, enlarged with torch's bilinear, cropped at the drawn offset
    generator = np.random.default_rng(0)
    small = (generator.random((400, cells, cells)) < 0.3).astype(np.float32)
    top, left = generator.integers(0, step[0], 400), generator.integers(0, step[1], 400)
    for k in (0, 17, 399):
        large = torch.nn.functional.interpolate(
            torch.from_numpy(small[k])[None, None], size=(5 * step[0], 5 * step[1]), mode="bilinear"
        )[0, 0].numpy()
        np.testing.assert_allclose(masks[k], large[top[k] : top[k] + 18, left[k] : left[k] + 10], atol=1e-5)


@pytest.mark.parametrize(("window", "stride"), [(4, 4), (5, 3), (6, 5), (16, 16)])
def test_occlusion_against_captum(window, stride, small, images, targets, pictures, classes, as_predict):
    from captum.attr import Occlusion

    found = occlusion(as_predict(small), pictures, classes, window=window, stride=stride, score="logit", batch_size=11)
    with torch.no_grad():
        theirs = Occlusion(small).attribute(
            images, (3, window, window), strides=(3, stride, stride), baselines=0, target=targets
        )
    np.testing.assert_allclose(found.maps, theirs[:, 0].numpy(), atol=2e-4)
    assert np.isnan(found.error).all()


def test_occlusion_finds_a_planted_patch(pictures):
    def predict(batch):
        cue = batch[:, 1, 4:8, 8:12].mean((1, 2))
        return np.stack([cue, -cue], axis=1).astype(np.float32)

    maps = occlusion(predict, pictures, np.zeros(6, np.int64), window=4, stride=4, score="logit").maps
    inside = np.zeros((16, 16), dtype=bool)
    inside[4:8, 8:12] = True
    assert (maps[:, ~inside] == 0).all()
    np.testing.assert_allclose(
        maps[:, inside], pictures[:, 1, 4:8, 8:12].mean((1, 2))[:, None].repeat(16, 1), rtol=1e-4
    )


def exact_shapley(values, count):
    """From the scores of all 2^S coalitions, keyed by frozenset."""
    phi = np.zeros(count)
    for player in range(count):
        others = [k for k in range(count) if k != player]
        for size in range(count):
            for some in combinations(others, size):
                weight = factorial(size) * factorial(count - size - 1) / factorial(count)
                phi[player] += weight * (values[frozenset(some) | {player}] - values[frozenset(some)])
    return phi


def coalition_values(predict, image, target, segments):
    count = int(segments.max()) + 1
    masks = np.array([[bool(code >> k & 1) for k in range(count)] for code in range(2**count)])
    scores = masked_scores(
        predict, image[None], np.array([target]), segments=segments, masks=masks, fill="segment_mean",
        score="probability", batch_size=512,
    )[:, 0]  # fmt: skip
    return masks, scores


def test_kernelshap_with_all_coalitions_is_exact(small, pictures, classes, as_predict):
    predict = as_predict(small)
    found = kernelshap(predict, pictures, classes, segments=EIGHT, seed=0, n_samples=300)
    for i in range(3):
        masks, scores = coalition_values(predict, pictures[i], classes[i], EIGHT)
        table = {frozenset(np.flatnonzero(m).tolist()): s for m, s in zip(masks, scores, strict=True)}
        np.testing.assert_allclose(found.values[i], exact_shapley(table, 8), atol=1e-7)
        assert found.base[i] == pytest.approx(scores[0], abs=1e-7)
        assert found.base[i] + found.values[i].sum() == pytest.approx(scores[-1], abs=1e-6)
        np.testing.assert_allclose(found.maps[i], found.values[i][EIGHT], atol=1e-7)
    assert (found.standard_error == 0).all()
    assert found.forwards == 6 * 2**8


@pytest.mark.slow
def test_kernelshap_equals_the_shap_package(small, pictures, classes, as_predict):
    shap = pytest.importorskip("shap")
    predict, cells = as_predict(small), grid(16, 4)

    def scores_of(rows):
        return masked_scores(
            predict, pictures[:1], classes[:1], segments=cells, masks=rows.astype(bool), fill="segment_mean",
            score="probability", batch_size=512,
        )[:, 0]  # fmt: skip

    # Every coalition of 16 segments is too many for either: both take all of sizes 1 and 15, and draw the rest.
    np.random.seed(0)
    explainer = shap.KernelExplainer(scores_of, np.zeros((1, 16)))
    theirs = explainer.shap_values(np.ones((1, 16)), nsamples=6000, l1_reg=0, silent=True)[0]
    ours = kernelshap(predict, pictures[:1], classes[:1], segments=cells, seed=0, n_samples=6000)
    spread = np.abs(ours.values[0]).max()
    assert spread > 0.01
    assert np.corrcoef(theirs, ours.values[0])[0, 1] > 0.999
    assert np.abs(theirs - ours.values[0]).max() < 0.03 * spread
    # With all coalitions of eight segments the two are the same numbers.
    eight = kernelshap(predict, pictures[:1], classes[:1], segments=EIGHT, seed=0, n_samples=300)

    def scores_of_eight(rows):
        return masked_scores(
            predict, pictures[:1], classes[:1], segments=EIGHT, masks=rows.astype(bool), fill="segment_mean",
            score="probability", batch_size=512,
        )[:, 0]  # fmt: skip

    explainer = shap.KernelExplainer(scores_of_eight, np.zeros((1, 8)))
    theirs = explainer.shap_values(np.ones((1, 8)), nsamples=1000, l1_reg=0, silent=True)[0]
    np.testing.assert_allclose(eight.values[0], theirs, atol=1e-6)


def test_the_sampling_error_of_kernelshap_is_true(small, pictures, classes, as_predict):
    predict, cells = as_predict(small), grid(16, 3)
    pictures, classes = pictures[:2], classes[:2]
    exact = kernelshap(predict, pictures, classes, segments=cells, seed=0, n_samples=510)
    assert (exact.standard_error == 0).all()
    runs = [kernelshap(predict, pictures, classes, segments=cells, seed=s, n_samples=80) for s in range(40)]
    seen = np.sqrt(np.mean([(run.values - exact.values) ** 2 for run in runs], axis=0))
    told = np.sqrt(np.mean([run.standard_error**2 for run in runs], axis=0))
    assert 0.7 < np.median(told / seen) < 1.6
    more = kernelshap(predict, pictures, classes, segments=cells, seed=0, n_samples=400)
    assert (more.error < 0.5 * np.mean([run.error for run in runs], axis=0)).all()


def test_coalitions_are_paired_and_weigh_as_the_kernel():
    found = choose_coalitions(12, 200, seed=4)
    assert len(found.shown) <= 200
    assert found.drawn > 50
    drawn = found.shown[-2 * found.drawn :]
    assert np.array_equal(drawn[0::2], ~drawn[1::2])
    assert found.weights.sum() == pytest.approx(1)
    sizes = found.shown.sum(1)
    assert not np.isin(sizes, (0, 12)).any()
    for size in (1, 11):  # all of them, once, with the kernel's weight
        mine = found.shown[: -2 * found.drawn][sizes[: -2 * found.drawn] == size]
        assert len(np.unique(mine, axis=0)) == len(mine) == 12
    kernel = {s: 11 / (s * (12 - s)) for s in range(1, 12)}
    assert found.weights[sizes == 1].sum() == pytest.approx(kernel[1] / sum(kernel.values()))
    every = choose_coalitions(6, 10_000, seed=0)
    assert every.drawn == 0
    assert len(np.unique(every.shown, axis=0)) == 62


@pytest.mark.parametrize(("n_segments", "n_samples"), [(9, 20), (16, 40), (49, 98), (49, 196)])
def test_too_few_coalitions_are_refused_and_never_answered_with_noise(n_segments, n_samples):
    refused = 0
    for seed in range(20):
        coalitions = choose_coalitions(n_segments, n_samples, seed=seed)
        truth = np.random.default_rng(seed).normal(size=n_segments)
        try:
            values, errors = shapley_fit(coalitions, (coalitions.shown @ truth)[:, None], truth.sum(keepdims=True))
        except UserError:
            refused += 1
            continue
        np.testing.assert_allclose(values[0], truth, atol=1e-6)
        assert errors.max() < 1e-5
    assert (refused > 0) == (n_samples < 4 * n_segments)


def test_additive_scores_are_shared_out_exactly(pictures):
    weight = np.random.default_rng(0).normal(size=(3, 3, 16, 16))

    def predict(batch):
        return np.einsum("nchw,kchw->nk", batch.astype(np.float64), weight).astype(np.float32)

    cells, target = grid(16, 4), np.array([0, 1, 2, 0, 1, 2])
    found = kernelshap(predict, pictures, target, segments=cells, seed=0, n_samples=64, fill="black", score="logit")
    for i, t in enumerate(target):
        truth = np.bincount(cells.ravel(), weights=(weight[t] * pictures[i]).sum(0).ravel())
        np.testing.assert_allclose(found.values[i], truth, atol=2e-4)
        assert found.error[i] < 1e-4


@pytest.mark.parametrize("name", METHODS)
def test_batch_equals_singles_seeds_repeat_and_nothing_is_modified(name, small, pictures, classes, as_predict):
    explain, options, predict = METHODS[name], SHORT[name], as_predict(small)
    kept = pictures.copy(), classes.copy()
    state = np.random.get_state()[1].copy()
    whole = explain(predict, pictures, classes, seed=2, **options)
    assert whole.maps.shape == (6, 16, 16)
    assert whole.maps.dtype == np.float32
    for i in range(6):
        one = explain(predict, pictures[i : i + 1], classes[i : i + 1], seed=2, **options)
        np.testing.assert_allclose(whole.maps[i], one.maps[0], atol=1e-5)
    for batch_size in (1, 13, 1000):
        again = explain(predict, pictures, classes, seed=2, batch_size=batch_size, **options)
        np.testing.assert_allclose(whole.maps, again.maps, atol=1e-5)
    assert np.array_equal(whole.maps, explain(predict, pictures, classes, seed=2, **options).maps)
    other = explain(predict, pictures, classes, seed=3, **options).maps
    assert np.array_equal(whole.maps, other) == (name == "occlusion")
    assert np.array_equal(pictures, kept[0])
    assert np.array_equal(classes, kept[1])
    assert np.array_equal(np.random.get_state()[1], state)


@pytest.mark.parametrize("name", METHODS)
def test_the_networks_passes_are_counted_and_batches_kept_to(name, small, pictures, classes, as_predict):
    inner, sizes = as_predict(small), []

    def predict(batch):
        assert batch.dtype == np.float32
        assert batch.flags.c_contiguous
        sizes.append(len(batch))
        return inner(batch)

    found = METHODS[name](predict, pictures, classes, seed=0, batch_size=16, **SHORT[name])
    assert sum(sizes) == found.forwards
    assert max(sizes) <= 16


@pytest.mark.parametrize("name", METHODS)
def test_other_weights_give_other_maps_and_a_blind_model_flat_ones(
    name, small, other_small, pictures, classes, as_predict
):
    explain = METHODS[name]
    maps = [explain(as_predict(model), pictures, classes, seed=0).maps for model in (small, other_small)]
    correlation = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(*maps, strict=True)]
    assert np.median(correlation) < 0.9
    blind = explain(lambda b: np.tile(np.float32([1, 2, 3, 4, 5]), (len(b), 1)), pictures, classes, seed=0).maps
    if name == "rise":  # what is left is how often each pixel was shown
        shown = rise_masks(2000, 7, (16, 16), seed=0).mean(0)
        for one in blind:
            assert np.corrcoef(one.ravel(), shown.ravel())[0, 1] > 0.999
    else:
        assert np.abs(blind).max() < 1e-7


@pytest.mark.parametrize("name", METHODS)
def test_bad_input_is_refused(name, small, pictures, classes, as_predict):
    explain, predict = METHODS[name], as_predict(small)
    with pytest.raises(ShapeError, match="images"):
        explain(predict, pictures.astype(np.float64), classes, seed=0)
    with pytest.raises(ShapeError, match="targets"):
        explain(predict, pictures, classes[:2], seed=0)
    with pytest.raises(UserError, match="class 9"):
        explain(predict, pictures, np.full(6, 9), seed=0)
    with pytest.raises(UserError, match="score"):
        explain(predict, pictures, classes, seed=0, score="loss")
    with pytest.raises(UserError, match="fill"):
        explain(predict, pictures, classes, seed=0, fill="white")
    with pytest.raises(UserError, match="batch_size"):
        explain(predict, pictures, classes, seed=0, batch_size=0)
    with pytest.raises(UserError, match="finite"):
        explain(lambda b: np.full((len(b), 5), np.inf, np.float32), pictures, classes, seed=0)


def test_options_out_of_range_are_refused(small, pictures, classes, as_predict):
    predict = as_predict(small)
    for option in ({"n_masks": 1}, {"cells": 0}, {"p": 1.0}, {"fill": "segment_mean"}):
        with pytest.raises(UserError, match=next(iter(option))):
            rise(predict, pictures, classes, seed=0, **option)
    for option in ({"window": 17}, {"window": 3, "stride": 4}, {"fill": "segment_mean"}):
        with pytest.raises(UserError, match=next(iter(option))):
            occlusion(predict, pictures, classes, **option)
    with pytest.raises(UserError, match="n_samples = 20"):
        kernelshap(predict, pictures, classes, segments=grid(16, 4), seed=0, n_samples=20)
    with pytest.raises(UserError, match="one segment"):
        kernelshap(predict, pictures, classes, segments=np.zeros((16, 16), np.int32), seed=0)


def test_fills_are_what_they_say(pictures):
    none = np.zeros((16, 16), dtype=np.int32)
    p20 = hidden_images(pictures, none, "p20")
    for image, hidden in zip(pictures, p20, strict=True):
        for channel, flat in zip(image, hidden, strict=True):
            assert np.unique(flat).size == 1
            assert flat[0, 0] == pytest.approx(np.percentile(channel, 20))
    from scipy.ndimage import gaussian_filter

    soft = blurred(pictures, sigma=2.0)
    expected = np.stack([[gaussian_filter(c, 2.0, mode="reflect", truncate=4.0) for c in image] for image in pictures])
    np.testing.assert_allclose(soft, expected, atol=1e-5)
    wide = hidden_images(pictures, none, "blur")
    assert wide.std() < 0.5 * pictures.std()
    np.testing.assert_allclose(blurred(np.full((1, 3, 4, 9), 0.3, np.float32), sigma=20.0), 0.3, atol=1e-5)
    with pytest.raises(UserError, match="sigma"):
        blurred(pictures, sigma=0.0)
