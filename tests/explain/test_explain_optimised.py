"""Masks found by descent: they find a planted patch, keep to their game, and depend on nothing but their own image."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from edgexai.errors import ShapeError, UserError
from edgexai.explain.extremal import extremal_perturbation
from edgexai.explain.fill import blurred
from edgexai.explain.meaningful import meaningful_perturbation

METHODS = {"meaningful": meaningful_perturbation, "extremal": extremal_perturbation}


class Striped(nn.Module):
    """Class 0 is contrast between neighbouring columns inside one window; blurring it takes the class away."""

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength

    def forward(self, images):
        window = images[:, :, 16:24, 8:16]
        cue = (window[..., ::2] - window[..., 1::2]).mean((1, 2, 3))
        return torch.stack([self.strength * (cue - 0.3), -self.strength * (cue - 0.3)], dim=1)


@pytest.fixture
def striped():
    images = torch.full((2, 3, 32, 32), 0.5)
    images[..., ::2] = 0.95
    images[..., 1::2] = 0.05
    return images


@pytest.mark.parametrize("name", METHODS)
def test_the_planted_window_is_found(name, striped):
    # areas no larger than the window: what is left of a larger one lies anywhere
    options = {"areas": (0.03, 0.06), "steps": 150} if name == "extremal" else {"steps": 100}
    maps = METHODS[name](Striped(4.0).eval(), striped, torch.zeros(2, dtype=torch.int64), **options)
    assert maps.shape == (2, 32, 32)
    assert maps.min() >= 0
    assert maps.max() <= 1
    inside = torch.zeros(32, 32, dtype=torch.bool)
    inside[16:24, 8:16] = True
    for one in maps:
        assert one[inside].mean() > 3 * one[~inside].mean()
        y, x = divmod(int(one.argmax()), 32)
        assert 14 <= y < 26
        assert 6 <= x < 18


def test_the_deletion_game_is_won_with_a_small_mask(striped):
    model, target = Striped(4.0).eval(), torch.zeros(2, dtype=torch.int64)
    maps = meaningful_perturbation(model, striped, target, steps=200)
    soft = torch.from_numpy(blurred(striped.numpy(), sigma=2.0))
    before = model(striped).softmax(1)[:, 0]
    after = model(striped * (1 - maps[:, None]) + soft * maps[:, None]).softmax(1)[:, 0]
    assert (before > 0.99).all()
    assert (after < 0.1).all()
    assert maps.mean() < 0.4


def test_larger_areas_give_larger_masks(striped):
    model, target = Striped(4.0).eval(), torch.zeros(2, dtype=torch.int64)
    sums = [float(extremal_perturbation(model, striped, target, steps=100, areas=(a,)).mean()) for a in (0.06, 0.25)]
    assert 0.03 < sums[0] < 0.12
    assert 0.18 < sums[1] < 0.32


@pytest.mark.parametrize("name", METHODS)
def test_batch_equals_singles_and_nothing_is_left_behind(name, small, images, targets):
    explain = METHODS[name]
    small.head.weight.grad = torch.full_like(small.head.weight, 3.0)
    before, kept = copy.deepcopy(small.state_dict()), images.clone()
    with torch.no_grad():
        whole = explain(small, images, targets, steps=6)
    assert not whole.requires_grad
    for i in range(6):
        one = explain(small, images[i : i + 1], targets[i : i + 1], steps=6)
        torch.testing.assert_close(whole[i : i + 1], one, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(whole, explain(small, images, targets, steps=6, batch_size=2), rtol=1e-3, atol=1e-4)
    assert torch.equal(images, kept)
    assert all(p.grad is None for p in small.parameters() if p is not small.head.weight)
    assert (small.head.weight.grad == 3.0).all()
    assert all(torch.equal(before[k], v) for k, v in small.state_dict().items())
    other = explain(small, images, (targets + 1) % 5, steps=6)
    assert not np.allclose(whole, other, atol=1e-3)


@pytest.mark.parametrize("name", METHODS)
def test_bad_input_is_refused(name, small, images, targets):
    explain = METHODS[name]
    with pytest.raises(ShapeError, match="images"):
        explain(small, images[0], targets)
    with pytest.raises(UserError, match="class 9"):
        explain(small, images, targets + 5)
    with pytest.raises(UserError, match="steps"):
        explain(small, images, targets, steps=0)
    with pytest.raises(UserError, match="cell" if name == "meaningful" else "areas"):
        explain(small, images, targets, **({"cell": 99} if name == "meaningful" else {"areas": (1.5,)}))
