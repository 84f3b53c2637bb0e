"""Boxes of largest components against SciPy; WSL against its definition, its chance and its oracle."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from edgexai.errors import ShapeError, UserError
from edgexai.measure.components import largest_boxes
from edgexai.measure.wsl import THRESHOLDS, box_iou, wsl


def naive_box(mask: np.ndarray) -> list[int]:
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    if not count:
        return [0, 0, 0, 0]
    sizes = ndimage.sum_labels(mask, labels, range(1, count + 1))
    y, x = ndimage.find_objects(labels)[int(np.argmax(sizes))]
    return [x.start, y.start, x.stop, y.stop]


def test_boxes_equal_scipy_s() -> None:
    rng = np.random.default_rng(0)
    density = rng.choice([0.05, 0.3, 0.45, 0.6, 0.95], 300)
    masks = rng.random((300, 13, 9)) < density[:, None, None]
    masks[:3] = False
    # Snakes: the longest way a label has to travel.
    snake = np.zeros((13, 9), bool)
    snake[::2] = True
    snake[1::4, -1], snake[3::4, 0] = True, True
    masks[3], masks[4] = snake, np.eye(13, 9, dtype=bool)
    assert largest_boxes(masks).tolist() == [naive_box(mask) for mask in masks]
    assert largest_boxes(masks)[4].tolist() == [0, 0, 9, 9]


def test_iou_closed_forms() -> None:
    true = np.zeros((1, 10, 10), bool)
    true[0, 2:6, 2:6] = True
    for (y1, y2, x1, x2), expected in {
        (2, 6, 2, 6): 1.0,
        (2, 6, 4, 8): 8 / 24,
        (6, 10, 6, 10): 0.0,
        (2, 4, 2, 6): 0.5,
    }.items():
        maps = np.zeros((1, 10, 10), np.float32)
        maps[0, y1:y2, x1:x2] = 3
        assert box_iou(maps, true, thresholds=(0.0, 0.9))[:, 0] == pytest.approx([expected] * 2)
        # Only the shape counts: a scale and an offset change nothing.
        assert box_iou(5 * maps - 100, true, thresholds=(0.5,))[0, 0] == pytest.approx(expected)
    # A second, smaller patch elsewhere does not stretch the box.
    maps[0, 9, 9] = 3
    assert box_iou(maps, true, thresholds=(0.5,))[0, 0] == pytest.approx(0.5)
    assert box_iou(np.ones_like(maps), true, thresholds=(0.5,))[0, 0] == 0


def scene(n: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    relevance = np.zeros((n, 24, 24), bool)
    for mask in relevance:
        y, x, side = rng.integers(0, 14), rng.integers(0, 14), rng.integers(6, 10)
        mask[y : y + side, x : x + side] = True
    return rng, relevance


def test_oracle_wins_and_a_random_map_is_at_chance() -> None:
    rng, relevance = scene()
    oracle = wsl(relevance.astype(np.float32), relevance)
    assert oracle.hit.mean() == oracle.best_hit.mean() == 1
    random = rng.random(relevance.shape, dtype=np.float32)
    # Chance: the same random map held against another image's sign.
    chance = [wsl(np.roll(random, k, axis=0), relevance).hit.mean() for k in range(1, 4)]
    assert abs(wsl(random, relevance).hit.mean() - np.mean(chance)) < 0.1
    assert wsl(-relevance.astype(np.float32), relevance).hit.mean() < 0.2


def test_no_image_chooses_its_own_threshold() -> None:
    rng, relevance = scene(40)
    maps = ndimage.gaussian_filter(relevance.astype(float), (0, 2, 2)) + 0.1 * rng.random(relevance.shape)
    maps = maps.astype(np.float32)
    found = wsl(maps, relevance)
    right = box_iou(maps, relevance, thresholds=THRESHOLDS) >= 0.5
    best = int(right.sum(1).argmax())
    assert found.best_threshold == THRESHOLDS[best]
    assert np.array_equal(found.best_hit, right[best])
    for fold in (0, 1):
        other = right[:, 1 - fold :: 2].sum(1)
        chosen = int(other.argmax())
        assert found.thresholds[fold] == THRESHOLDS[chosen]
        assert np.array_equal(found.hit[fold::2], right[chosen, fold::2])
    assert found.best_hit.mean() >= found.hit.mean()
    # Whatever the other images of a fold look like does not enter: change the even images, the even threshold stays.
    other = maps.copy()
    other[::2] = rng.random(other[::2].shape)
    assert wsl(other, relevance).thresholds[0] == found.thresholds[0]


def test_undefined_and_refused() -> None:
    _, relevance = scene(6)
    maps = relevance.astype(np.float32)
    maps[1] = 2
    relevance[2] = False
    found = wsl(maps, relevance)
    assert np.isnan(found.hit).tolist() == np.isnan(found.best_hit).tolist() == [False, True, True, False, False, False]
    with pytest.raises(ShapeError):
        wsl(maps[:1], relevance[:1])
    with pytest.raises(UserError, match="min_iou"):
        wsl(maps, relevance, min_iou=0)
    with pytest.raises(UserError, match="thresholds"):
        wsl(maps, relevance, thresholds=(0.5, 1.0))
