"""One call for every method; passes counted; sanity checks that convict a method which ignores the network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgexai.errors import MissingCapability, UserError
from edgexai.explain import EXPLAINERS, KINDS
from edgexai.explain.apply import ExplainSettings, explain
from edgexai.explain.conventions import CONVENTIONS
from edgexai.explain.passes import counted_passes
from edgexai.explain.sanity import map_correlation, randomised, sanity_check

QUICK = ExplainSettings(stability_seeds=2, shap_samples=200, rise_masks=200, steps=4)


@pytest.fixture
def pictures(images):
    return images.numpy().copy()


@pytest.fixture
def classes(targets):
    return targets.numpy().copy()


def test_every_method_has_a_convention():
    assert set(CONVENTIONS) == set(EXPLAINERS)


@pytest.mark.parametrize("name", EXPLAINERS)
def test_every_method_gives_one_map_an_image_with_its_stated_sign(name, small, pictures, classes, as_predict):
    kept = pictures.copy()
    found = explain(name, pictures, classes, predict=as_predict(small), model=small, settings=QUICK)
    assert found.maps.shape == (6, 16, 16)
    assert found.maps.dtype == np.float32
    assert np.isfinite(found.maps).all()
    assert (found.maps.min() < 0) == CONVENTIONS[name].signed
    assert found.error_name == CONVENTIONS[name].error
    assert np.isnan(found.error).all() == (found.error_name == "")
    assert (found.forwards > 0) == (KINDS[name] != "baseline")
    assert (found.backwards > 0) == (KINDS[name] in ("gradient", "optimised") and name not in ("cam", "gradcam"))
    again = explain(name, pictures, classes, predict=as_predict(small), model=small, settings=QUICK)
    assert np.array_equal(found.maps, again.maps)
    assert np.array_equal(pictures, kept)


def test_passes_are_counted(small, images, targets, pictures, classes, as_predict):
    with counted_passes(small, images[:1]) as passes:
        small(images)
        small.features(images[:2])
        x = images.clone().requires_grad_(True)
        small(x).sum().backward()
    assert (passes.forward, passes.backward) == (14, 6)
    assert not any(m._forward_hooks for m in small.modules())
    small.zero_grad()
    for name, forwards, backwards in (("vg", 6, 6), ("ig", 300, 300), ("smoothgrad", 150, 150)):
        found = explain(name, pictures, classes, predict=as_predict(small), model=small)
        # and a few more that check the input and the completeness
        assert forwards <= found.forwards <= forwards + 14
        assert found.backwards == backwards


def test_gradients_need_a_model_and_names_must_be_right(small, pictures, classes, as_predict):
    with pytest.raises(MissingCapability, match="gradients"):
        explain("ig", pictures, classes, predict=as_predict(small))
    with pytest.raises(UserError, match="occlusion"):
        explain("oclusion", pictures, classes, predict=as_predict(small))


def test_correlation_of_maps_by_hand():
    a = np.arange(16, dtype=np.float32).reshape(1, 4, 4) - 20
    assert map_correlation(a, a)[0] == pytest.approx(1)
    assert map_correlation(a, a**3)[0] == pytest.approx(1)
    assert map_correlation(a, -a)[0] == pytest.approx(1)  # absolute values agree
    assert np.isnan(map_correlation(a, np.ones_like(a))[0])  # neither agreement nor difference
    halves = np.where(a > -13, 1, -1).astype(np.float32)  # constant in absolute value alone
    assert map_correlation(halves, halves)[0] == pytest.approx(1)
    noise = np.random.default_rng(0).normal(size=(40, 12, 12)).astype(np.float32)
    assert abs(map_correlation(noise[:20], noise[20:]).mean()) < 0.15


def test_the_shuffled_network_still_answers_but_otherwise(small, pictures):
    other = randomised(small, pictures, seed=0)
    x = torch.from_numpy(pictures)
    with torch.no_grad():
        ours, theirs = small(x), other(x)
    assert torch.isfinite(theirs).all()
    assert theirs.std() > 0.01
    assert not torch.allclose(ours, theirs, atol=0.05)
    for (name, a), (_, b) in zip(small.named_parameters(), other.named_parameters(), strict=True):
        assert torch.equal(a.flatten().sort().values, b.flatten().sort().values), name
    assert not any(m.training for m in other.modules())


@pytest.mark.parametrize("name", ["edges", "centre", "random"])
def test_a_method_that_ignores_the_network_fails(name, small, pictures, classes):
    verdict = sanity_check(name, pictures, classes, model=small, draws=1, settings=QUICK)
    assert not verdict.passed
    assert verdict.median == pytest.approx(1)


@pytest.mark.parametrize("name", ["vg", "gradcam", "lime", "kernelshap", "occlusion"])
def test_a_method_that_looks_at_the_network_is_told_apart_from_itself(name, small, pictures, classes):
    same = sanity_check(name, pictures, classes, model=small, against=[small], settings=QUICK)
    other = sanity_check(name, pictures, classes, model=small, draws=2, settings=QUICK)
    assert same.median == pytest.approx(1)
    assert not same.passed
    assert other.median < 0.8
    assert other.passed == (other.median < other.threshold)


@pytest.mark.parametrize("name", ["vg", "gradcam", "lime"])
def test_maps_that_are_known_are_not_made_again(name, small, pictures, classes, as_predict):
    stable = replace(QUICK, stability_seeds=3)
    made = explain(name, pictures, classes, predict=as_predict(small), model=small, seed=2, settings=stable)
    asked = []
    small.register_forward_hook(lambda *_: asked.append(1))  # the shuffled copies take it with them
    given = sanity_check(name, pictures, classes, model=small, seed=2, settings=stable, own=made.maps, draws=1)
    less, asked[:] = len(asked), []
    whole = sanity_check(name, pictures, classes, model=small, seed=2, settings=stable, draws=1)
    np.testing.assert_array_equal(given.correlation, whole.correlation)
    assert less < len(asked)


def test_a_sanity_check_asks_for_draws_and_images(small, pictures, classes):
    with pytest.raises(UserError, match="draws"):
        sanity_check("vg", pictures, classes, model=small, draws=0)
    with pytest.raises(UserError, match="1 image"):
        sanity_check("vg", pictures[:1], classes[:1], model=small)


@pytest.mark.parametrize("name", ["lime", "kernelshap", "rise", "occlusion"])
def test_the_score_that_is_asked_for_is_explained(name, small, pictures, classes, as_predict):
    probability, logit = (
        explain(name, pictures, classes, predict=as_predict(small), settings=replace(QUICK, score=score))
        for score in ("probability", "logit")
    )
    assert logit.detail["score"] == "logit"
    assert not np.allclose(probability.maps, logit.maps, atol=1e-3)


def test_coalitions_are_as_many_as_asked_or_refused(small, pictures, classes, as_predict):
    found = explain("kernelshap", pictures, classes, predict=as_predict(small), settings=QUICK)
    assert found.detail["coalitions"] <= 200 + 2
    with pytest.raises(UserError, match="n_samples = 60"):
        explain("kernelshap", pictures, classes, predict=as_predict(small), settings=replace(QUICK, shap_samples=60))
