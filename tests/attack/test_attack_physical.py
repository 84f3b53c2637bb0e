"""Patch and sticker: only the region changes, the print is drawn where the geometry says, and optimising helps."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest
import torch
from small_network import quadrants

from edgexai.attack.patch import patch
from edgexai.attack.physical import PhysicalResult
from edgexai.attack.pose import Boxes, Jitter, Poses, paste
from edgexai.attack.sticker import sticker
from edgexai.errors import ShapeError, UserError

ATTACKS: tuple[Callable[..., PhysicalResult], ...] = (patch, sticker)


def middle(n: int) -> np.ndarray:
    """The region of the tests: 6 x 6 of 8 x 8 pixels, without one corner."""
    region = np.zeros((n, 8, 8), dtype=np.bool_)
    region[:, 1:7, 1:7] = True
    region[:, 1, 1] = False
    return region


@lru_cache
def attacked(attack: Callable[..., PhysicalResult], steps: int = 60, seed: int = 0) -> PhysicalResult:
    net, x, y = quadrants()
    return attack(net, x, y, region=middle(len(x)), area=0.3, steps=steps, seed=seed)


def accuracy(images: torch.Tensor) -> float:
    net, _, y = quadrants()
    return float((net(images).argmax(1) == y).float().mean())


@pytest.mark.parametrize("attack", ATTACKS)
def test_only_the_region_changes_and_pixels_stay_pixels(attack) -> None:
    _, x, _ = quadrants()
    found = attacked(attack)
    region = torch.from_numpy(middle(len(x)))
    assert not (found.changed & ~region).any()
    for images in (found.images, found.control):
        same = (images == x).all(1)
        assert same[~found.changed].all()
        assert images.min() >= 0
        assert images.max() <= 1
    # The print is there: of an image's 35 pixels of region some, at most 1.21 (scale) of the share and a rim.
    share = found.changed.numpy().sum((1, 2)) / 35
    np.testing.assert_allclose(share, found.area_of_region)
    assert 0.1 < share.mean() < 0.45


@pytest.mark.parametrize("attack", ATTACKS)
def test_optimised_colours_fool_more_than_random_ones_and_more_steps_more(attack) -> None:
    found = attacked(attack)
    assert accuracy(found.images) < accuracy(found.control) - 0.1
    untrained = attacked(attack, 0)
    assert accuracy(found.images) < accuracy(untrained.images) - 0.1


@pytest.mark.parametrize("attack", ATTACKS)
def test_one_seed_gives_one_answer_and_inputs_stay(attack) -> None:
    net, x, y = quadrants()
    before, state = x.clone(), torch.random.get_rng_state()
    again = attack(net, x[:20], y[:20], region=middle(20), area=0.3, steps=4, seed=0)
    same = attack(net, x[:20], y[:20], region=middle(20), area=0.3, steps=4, seed=0)
    other = attack(net, x[:20], y[:20], region=middle(20), area=0.3, steps=4, seed=1)
    assert torch.equal(again.images, same.images)
    assert torch.equal(again.control, same.control)
    assert not torch.equal(again.images, other.images)
    assert torch.equal(x, before)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in net.parameters())


def test_the_patch_is_one_for_all_and_can_be_learned_elsewhere() -> None:
    net, x, y = quadrants()
    learn = (x[60:], y[60:], middle(60))
    found = patch(net, x[:60], y[:60], region=middle(60), area=0.3, steps=60, seed=0, learn=learn)
    assert found.prints.shape == (1, 3, 12, 12)
    right = (net(found.images).argmax(1) == y[:60]).float().mean()
    control = (net(found.control).argmax(1) == y[:60]).float().mean()
    assert right < control - 0.1
    # The print does not depend on the images it is judged on.
    other = patch(net, x[:5], y[:5], region=middle(5), area=0.3, steps=60, seed=0, learn=learn)
    assert torch.equal(other.prints, found.prints)
    assert torch.equal(other.images, found.images[:5])


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_empty_region_stays_as_it_is(attack) -> None:
    net, x, y = quadrants()
    region = middle(6)
    region[2] = False
    found = attack(net, x[:6], y[:6], region=region, area=0.3, steps=2, seed=0)
    assert torch.equal(found.images[2], x[2])
    assert np.isnan(found.area_of_region[2])
    assert np.isfinite(np.delete(found.area_of_region, 2)).all()
    assert torch.isfinite(found.images).all()


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"area": 0.0}, UserError),
        ({"area": 0.6}, UserError),
        ({"steps": -1}, UserError),
        ({"region": np.ones((3, 8, 7), np.bool_)}, ShapeError),
        ({"region": np.ones((3, 8, 8))}, ShapeError),
    ],
)
def test_what_cannot_be_done_is_refused(attack, changes, error) -> None:
    net, x, y = quadrants()
    with pytest.raises(error):
        attack(net, x[:3], y[:3], **{"region": None, "area": 0.2, "steps": 1, "seed": 0, **changes})


def test_a_print_lies_where_plain_geometry_says() -> None:
    """Every pixel by hand: its centre turned back into the print, and the print's colour there."""
    images = torch.full((1, 3, 12, 14), 0.25)
    prints = torch.zeros((1, 3, 2, 2))
    prints[0, 0] = torch.tensor([[0.2, 0.4], [0.6, 0.8]])
    one = lambda value: torch.tensor([value])  # noqa: E731
    turn, width, height, x, y = 0.4, 6.0, 4.0, 7.3, 5.1
    poses = Poses(one(x), one(y), one(width), one(height), one(turn), one(1.1), one(-0.02))
    shown, inside = paste(prints, images, poses, region=torch.ones((1, 12, 14), dtype=torch.bool))
    for row in range(12):
        for column in range(14):
            across, down = column + 0.5 - x, row + 0.5 - y
            u = (np.cos(turn) * across + np.sin(turn) * down) / (width / 2)
            v = (np.cos(turn) * down - np.sin(turn) * across) / (height / 2)
            expected = max(abs(u), abs(v)) <= 1
            assert bool(inside[0, row, column]) == expected
            if not expected:
                assert shown[0, 0, row, column] == 0.25
                continue
            # Bilinear between the centres of the four cells, which lie at -0.5 and 0.5; flat beyond them.
            a, b = np.clip(u + 0.5, 0, 1), np.clip(v + 0.5, 0, 1)
            colour = (1 - b) * ((1 - a) * 0.2 + a * 0.4) + b * ((1 - a) * 0.6 + a * 0.8)
            np.testing.assert_allclose(float(shown[0, 0, row, column]), 1.1 * colour - 0.02, atol=2e-6)


def test_boxes_and_draws() -> None:
    region = np.zeros((2, 8, 9), dtype=np.bool_)
    region[0, 2:5, 3:7] = True
    boxes = Boxes.around(region)
    assert [b.tolist() for b in (boxes.left, boxes.top, boxes.width, boxes.height, boxes.area)] == [
        [3, 0], [2, 0], [4, 0], [3, 0], [12, 0],
    ]  # fmt: skip
    drawn = Jitter.draw(4000, np.random.default_rng(0))
    for values, low, high in ((drawn.scale, 0.9, 1.1), (drawn.gain, 0.8, 1.2), (drawn.across, -1, 1)):
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() <= high
        np.testing.assert_allclose(values.mean(), (low + high) / 2, atol=0.02 * (high - low))
