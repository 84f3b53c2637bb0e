"""LIME's stability table and the speed at equal agreement: what is compared is what is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from test_bench_families import TINY

from edgexai.bench import explain_cost, lime_equal, lime_speed, lime_stability
from edgexai.bench.agreement import Agreement, agreement, passes_needed, rank_correlation, reference_coefficients
from edgexai.bench.line import Line
from edgexai.bench.trained import Trained
from edgexai.bench.workshop import Workshop
from edgexai.explain.gradient import vanilla_gradient
from edgexai.explain.gradient_shap import gradient_shap
from edgexai.explain.input_gradient import input_x_gradient
from edgexai.explain.integrated import integrated_gradients
from edgexai.explain.lime import lime
from edgexai.explain.segment import grid
from edgexai.explain.smooth import smoothgrad
from edgexai.types import Images, Logits

SMALL = replace(TINY, lime_samples=256, stability_samples=(64, 256), stability_reference=400)
CELLS = grid(16, 4)
RNG = np.random.default_rng(4)
WEIGHT = RNG.normal(size=(3, 16, 16)).astype(np.float32)
IMAGES = RNG.random((3, 3, 16, 16), dtype=np.float32)
TARGETS = np.array([1, 1, 0])


def smooth(images: Images) -> Logits:
    """Nearly linear in what is shown: every design must find the same ranking."""
    value = np.einsum("nchw,chw->n", images - 0.5, WEIGHT) / 50
    return np.stack([value, -value], axis=1).astype(np.float32)


def wild(images: Images) -> Logits:
    """What is seen decides, but in no way that a linear model could tell."""
    value = np.sin(1e4 * np.einsum("nchw,chw->n", images, WEIGHT))
    return np.stack([value, -value], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """With an untrained network in the trained one's place: how it was come by does not matter here."""
    made = Workshop(SMALL, folder=tmp_path_factory.mktemp("bench"))
    blocks = RNG.random((2, 3, 8, 8), dtype=np.float32)
    net, images = made.net("signnet"), np.kron(blocks, np.ones((1, 1, 4, 4), dtype=np.float32))
    trained = Trained(net, images, np.array([0, 1]), 0.5, "noise", made.noise(32), made.folder)
    made.__dict__["trained"] = trained
    return made


def test_rank_correlation_is_spearmans() -> None:
    a, b = RNG.integers(0, 9, 40).astype(float), RNG.normal(size=40)  # with ties
    assert rank_correlation(a, b) == pytest.approx(float(spearmanr(a, b).statistic))
    assert rank_correlation(a, np.exp(a)) == pytest.approx(1)
    assert rank_correlation(a, np.zeros(40)) == 0


@pytest.mark.parametrize("design", lime_stability.DESIGNS)
def test_every_design_finds_a_linear_score_and_none_finds_noise(design: str) -> None:
    found = {}
    for name, predict in (("smooth", smooth), ("wild", wild)):
        reference = reference_coefficients(predict, IMAGES, TARGETS, segments=CELLS, n_samples=2000, seed=0)
        found[name] = agreement(
            predict, IMAGES, TARGETS, segments=CELLS, reference=reference, design=design,  # type: ignore[arg-type]
            counts=(8, 60, 300), seeds=(5, 6),
        )  # fmt: skip
    assert np.isnan(found["smooth"].correlation[0]).all()  # 8 masks cannot tell 16 segments apart
    correlation, jaccard = found["smooth"].at(300)
    assert correlation > 0.97
    assert jaccard > 0.8
    assert abs(found["wild"].at(300)[0]) < 0.5
    assert found["wild"].at(300)[1] < 0.7


def test_the_reference_and_the_last_count_are_limes_own() -> None:
    reference = reference_coefficients(smooth, IMAGES, TARGETS, segments=CELLS, n_samples=400, seed=3)
    own = lime(smooth, IMAGES, TARGETS, segments=CELLS, n_samples=400, seed=3).coefficients
    np.testing.assert_allclose(np.stack(reference), own)
    found = agreement(
        smooth,
        IMAGES,
        TARGETS,
        segments=CELLS,
        reference=reference,
        design="antithetic",
        counts=(50, 100),
        seeds=(1, 2),
    )
    runs = [
        lime(smooth, IMAGES, TARGETS, segments=CELLS, n_samples=100, seed=s, design="antithetic").coefficients
        for s in (1, 2)
    ]
    naive = [np.mean([spearmanr(run[i], reference[i]).statistic for run in runs]) for i in range(3)]
    np.testing.assert_allclose(found.correlation[1], naive)


def test_layouts_of_their_own_are_followed() -> None:
    layouts = np.stack([CELLS, CELLS[::-1], grid(16, 3, min_segments=1)])
    reference = reference_coefficients(smooth, IMAGES, TARGETS, segments=layouts, n_samples=200, seed=3)
    assert [len(one) for one in reference] == [16, 16, 9]
    alone = reference_coefficients(smooth, IMAGES[2:], TARGETS[2:], segments=layouts[2], n_samples=200, seed=3)
    np.testing.assert_allclose(reference[2], alone[0])


def test_passes_needed_by_hand() -> None:
    nan = float("nan")
    rows = np.array([[nan, nan], [0.9, 0.8], [0.7, 0.7], [0.8, 0.9], [0.9, 0.95]])
    found = Agreement((10, 20, 30, 40, 50), rows, rows)
    assert passes_needed(found, np.array([0.8, 0.8])) == 40  # 20 reached it by luck: 30 fell below again
    assert passes_needed(found, np.array([0.7, 0.7])) == 20
    assert passes_needed(found, np.array([0.99, 0.99])) is None
    assert passes_needed(found, np.array([0.0, 0.0])) == 20  # 10 masks tell nothing
    assert passes_needed(found, np.array([0.85, 0.0]), images=np.array([0, 0])) == 50


def sound(lines: list[Line]) -> None:
    for line in lines:
        if line.value is not None:
            assert line.low is not None
            assert line.high is not None
            assert line.low <= line.value <= line.high
        else:
            assert line.reason


@pytest.mark.slow
def test_the_table_has_every_segmenter_design_and_count(workshop: Workshop) -> None:
    lines = lime_stability.stability_of_lime(workshop)
    sound(lines)
    told = {(line.detail["segmenter"], line.detail["design"]) for line in lines if "forwards" in line.detail}
    grids = {(s, d) for s, d in told if str(s).startswith("grid")}
    assert {design for _, design in grids} == set(lime_stability.DESIGNS)
    for name in ("grid 4x4", *lime_stability._SEGMENTERS):
        assert any(line.what.startswith(name) for line in lines), name
    assert all(not line.aim for line in lines)
    assert sum(line.what.startswith("grid 4x4: passes") for line in lines) == 2
    slic = [line for line in lines if line.what.startswith("slic 64")]
    assert all(line.value is not None for line in slic if "forwards" in line.detail)
    assert any(line.value is not None for line in slic)
    uniform = [line for line in lines if "/ uniform" in line.what]
    assert not uniform  # not held against itself


def test_counts_that_the_goal_is_not_among_give_no_equal_line(workshop: Workshop) -> None:
    rows = np.array([[0.5, 0.6]])
    found = {design: Agreement((100,), rows, rows) for design in lime_stability.DESIGNS}
    assert lime_stability._equal("grid", found, "", 1, usual=64) == []
    (first, _) = lime_stability._equal("grid", found, "", 1, usual=100)
    assert (first.value, first.low, first.high) == (1.0, 1.0, 1.0)


def test_equal_agreement_says_when_it_is_not_reached(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lime.lime_image", exc_type=ImportError)
    monkeypatch.setattr(lime_equal, "passes_needed", lambda found, goal: None)
    line = lime_equal.lime_at_equal_agreement(workshop, missing="")
    assert line.aim == ">= 10"
    assert line.verdict == "missed"
    assert "do not reach" in line.broken
    assert line.detail["masks"] == SMALL.stability_samples[-1]
    skipped = lime_equal.lime_at_equal_agreement(workshop, missing="not here")
    assert (skipped.verdict, skipped.reason) == ("skipped", "not here")


def test_null_models_answer_alike_for_every_image() -> None:
    images = IMAGES.repeat(2, axis=0)
    assert lime_speed.null_predict(images).shape[0] == 6
    assert not np.allclose(lime_speed.null_predict(images), lime_speed.null_predict(images)[:1])
    shares = lime_speed.null_classify(images.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)


def test_captum_does_the_same_work(workshop: Workshop) -> None:
    """Both sides of every gradient line: the same map where nothing is drawn, as many passes where it is."""
    net, x, k = workshop.net("signnet"), torch.from_numpy(workshop.noise(2)), torch.tensor([3, 1])
    greys = torch.tensor([0.0, 0.5, 1.0]).view(-1, 1, 1, 1).expand(-1, 3, 32, 32).contiguous()
    captum = explain_cost.captum_attributions(net, greys)
    given = {name: call(x.clone().requires_grad_(True), k).detach() for name, (_, call) in captum.items()}
    exact = {"vg": vanilla_gradient, "ixg": input_x_gradient, "ig": integrated_gradients}
    for name, ours in exact.items():
        assert torch.allclose(given[name].sum(1), ours(net, x, k, seed=0), rtol=1e-4, atol=1e-6), name
    drawn = {"smoothgrad": smoothgrad(net, x, k, seed=0), "gradshap": gradient_shap(net, x, k, seed=0)}
    for name, maps in drawn.items():
        theirs = given[name].abs().sum(1) if name == "smoothgrad" else given[name].sum(1)
        assert maps.shape == theirs.shape
        assert np.corrcoef(maps[0].flatten(), theirs[0].flatten())[0, 1] > 0.3, name
    assert set(given) == set(exact) | set(drawn)
