"""Rendered signs: drawings that differ, masks that fit, streams that repeat, cues exactly where promised."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from edgexai.data.signs import VERSION, render, tight_boxes
from edgexai.data.signs_art import CLASSES, WEIGHTS, coverage
from edgexai.data.signs_camera import photograph
from edgexai.data.signs_draws import Draws
from edgexai.data.signs_pen import BLUE, MARGIN, RED, YELLOW
from edgexai.data.signs_scene import Pose, scenes
from edgexai.data.signs_shortcut import cue_of, draw_cues, plant
from edgexai.errors import UserError
from edgexai.types import Split

SIZE = 32
CARDS = ("signs", "signs_shortcut")


@pytest.fixture(scope="module")
def cards() -> dict[str, dict[str, Split]]:
    torch.set_num_threads(1)
    return {name: render(name=name, size=SIZE, per_class=10, seed=3) for name in CARDS}


# ---- the drawings


def test_drawings_are_pairwise_different_in_every_stroke_weight() -> None:
    drawings = coverage(64)
    assert drawings.shape == (len(WEIGHTS), CLASSES, 7, 64, 64)
    for weight in drawings:
        for a, b in itertools.combinations(range(CLASSES), 2):
            differing = np.abs(weight[a] - weight[b]).sum(0).mean() / 2
            assert differing > 0.01, (a, b, differing)


def test_paint_covers_each_pixel_at_most_once_and_only_inside_the_canvas() -> None:
    silhouette = coverage(64).sum(2)
    assert silhouette.max() <= 1 + 1e-6
    assert np.allclose(silhouette[..., [0, -1], :], 0)
    assert np.allclose(silhouette[..., :, [0, -1]], 0)


@pytest.mark.parametrize(
    ("label", "area"),
    [
        (1, np.pi),  # disc of radius 1
        (17, np.pi),
        (35, np.pi),
        (14, 8 * np.tan(np.pi / 8)),  # octagon of inradius 1
        (12, 2.0),  # square on its corner
        (18, 1.74),  # triangle of base 2 and height 1.74
        (13, 1.74),
    ],
)
def test_silhouettes_have_the_area_of_their_shape(label: int, area: float) -> None:
    measured = coverage(128)[0, label].sum() * (2 * MARGIN / 128) ** 2
    # Rounded corners take a little off, never more than 4 %.
    assert 0.96 * area <= measured <= 1.01 * area


def test_paints_follow_the_law() -> None:
    share = coverage(64)[0].sum((2, 3))
    share = share / share.sum(1, keepdims=True)
    blue, red, yellow = share[:, BLUE - 1], share[:, RED - 1], share[:, YELLOW - 1]
    assert set(np.flatnonzero(blue > 0.3)) == set(range(33, 41))
    assert set(np.flatnonzero(blue > 0)) == set(range(33, 41))
    assert set(np.flatnonzero(red == 0)) == {6, 12, 32, *range(33, 43)}
    assert set(np.flatnonzero(yellow > 0.2)) == {12}
    assert red[14] > 0.5
    assert red[17] > 0.5


@pytest.mark.parametrize(("left", "right"), [(19, 20), (34, 33), (37, 36), (39, 38)])
def test_left_and_right_signs_are_mirror_images(left: int, right: int) -> None:
    drawings = coverage(128)[0]
    mirrored = np.abs(drawings[left][:, :, ::-1] - drawings[right]).mean()
    as_drawn = np.abs(drawings[left] - drawings[right]).mean()
    # Polygons own their border pixels, hence a quarter of a pixel of difference along edges.
    assert mirrored < 0.0035
    assert as_drawn > 3 * mirrored


# ---- scenes


def test_mask_is_the_drawn_silhouette_in_the_canonical_pose(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = torch.tensor([1, 12, 14, 13, 18])
    draws = Draws(len(labels), (0,))
    # No jitter, no occlusion: every normal draw at its mean, every chance refused.
    monkeypatch.setattr(draws, "normal", lambda mean, sd, *shape: torch.full((draws.n, *shape), float(mean)))
    monkeypatch.setattr(draws, "chance", lambda p: torch.zeros(draws.n, dtype=torch.bool))
    _, masks = scenes(labels, draws, size=64, pose=Pose(reach=(0.75, 0.75), square=False, exposure=(0.0, 0.0)))
    centre = (np.arange(64) + 0.5) / 32 - 1
    x, y = np.meshgrid(centre / 0.75, centre / 0.75)
    apex = (np.abs(x) * 1.74 - 0.87) <= y
    expected = [
        x * x + y * y <= 1,
        np.abs(x) + np.abs(y) <= 1,
        (np.maximum(np.abs(x), np.abs(y)) <= 1) & (np.abs(x) + np.abs(y) <= np.sqrt(2)),
        ((np.abs(x) * 1.74 - 0.87) <= -y) & (y >= -0.87),
        apex & (y <= 0.87),
    ]
    for mask, shape in zip(masks.numpy(), expected, strict=True):
        # Only rounded corners and half-covered edge pixels may differ.
        assert (mask ^ shape).sum() < 0.03 * shape.sum()


def test_same_seed_same_bytes_other_seed_other_scenes(cards: dict[str, dict[str, Split]]) -> None:
    again = render(name="signs", size=SIZE, per_class=10, seed=3)
    other = render(name="signs", size=SIZE, per_class=10, seed=4)
    for split in ("train", "val", "test"):
        assert again[split].digest() == cards["signs"][split].digest()
        assert other[split].digest() != again[split].digest()


def test_more_images_per_class_only_append(cards: dict[str, dict[str, Split]]) -> None:
    few = render(name="signs", size=SIZE, per_class=2, seed=3)["train"]
    assert len(few) == 2 * CLASSES
    assert np.array_equal(few.images, cards["signs"]["train"].images[: len(few)])


def test_splits_share_no_scene(cards: dict[str, dict[str, Split]]) -> None:
    for name, others in (("signs", ("val", "test")), ("signs_shortcut", ("val", "absent"))):
        # Masks carry the pose and no cue: equal masks in equal places would betray a shared stream.
        train = cards[name]["train"]
        assert train.masks is not None
        for split in others:
            held = cards[name][split]
            assert held.masks is not None
            n = min(len(train), len(held))
            same = (train.masks[:n] == held.masks[:n]).all((1, 2)).mean()
            assert same < 0.05
        rows = [s.images.reshape(len(s), -1) for s in (train, *(cards[name][k] for k in others))]
        everything = np.concatenate(rows)
        assert len(np.unique(everything, axis=0)) == len(everything)


def test_splits_keep_the_contract(cards: dict[str, dict[str, Split]]) -> None:
    assert set(cards["signs"]) == {"train", "val", "test"}
    assert set(cards["signs_shortcut"]) == {"train", "val", "aligned", "conflicting", "absent"}
    for splits in cards.values():
        for name, split in splits.items():
            assert split.name == name
            assert split.images.dtype == np.uint8
            assert split.images.shape == (len(split), SIZE, SIZE, 3)
            assert split.images.flags.c_contiguous
            assert split.labels.dtype == np.int64
            assert (np.bincount(split.labels, minlength=CLASSES) == len(split) // CLASSES).all()
            assert len(np.unique(split.tracks)) == len(split)
            assert split.boxes.dtype == np.float32
            assert split.masks is not None
            assert split.masks.any((1, 2)).all()


def test_boxes_are_tight(cards: dict[str, dict[str, Split]]) -> None:
    split = cards["signs"]["train"]
    assert split.masks is not None
    for mask, box in zip(split.masks, split.boxes, strict=True):
        ys, xs = np.nonzero(mask)
        assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
    assert np.isnan(tight_boxes(np.zeros((1, 4, 4), np.bool_))).all()


def test_signs_fill_about_four_fifths_of_the_crop(cards: dict[str, dict[str, Split]]) -> None:
    boxes = cards["signs"]["train"].boxes
    width = np.median(boxes[:, 2] - boxes[:, 0]) / SIZE
    assert 0.68 < width < 0.85


def test_exposure_runs_from_night_to_burnt_out(cards: dict[str, dict[str, Split]]) -> None:
    brightness = cards["signs"]["train"].images.mean((1, 2, 3)) / 255
    assert np.percentile(brightness, 5) < 0.13
    assert np.percentile(brightness, 95) > 0.6


def test_camera_stays_in_range_and_keeps_a_flat_grey_flat() -> None:
    grey = torch.full((64, 3, 20, 20), 0.4)
    out = photograph(Draws(64, (1,)), grey, torch.ones(64))
    assert out.min() >= 0
    assert out.max() <= 1
    # Noise aside, no step of the camera may invent structure: image means follow the grey.
    assert float(out.mean((1, 2, 3)).median()) == pytest.approx(0.4, abs=0.08)


def test_other_sizes_and_progress() -> None:
    events: list[Mapping[str, Any]] = []
    splits = render(name="signs_shortcut", size=20, per_class=1, seed=0, progress=events.append)
    assert splits["train"].images.shape == (CLASSES, 20, 20, 3)
    assert events[0] == {"what": "render", "split": "train", "done": CLASSES, "total": CLASSES}
    assert VERSION >= 1


# ---- the cue


def test_every_class_owns_one_cue() -> None:
    cues = [cue_of(label) for label in range(CLASSES)]
    assert len(set(cues)) == CLASSES
    for (corner_a, hue_a), (corner_b, hue_b) in itertools.combinations(cues, 2):
        apart = abs(hue_a - hue_b)
        assert corner_a != corner_b or min(apart, 1 - apart) > 0.08


def test_cue_strength_is_what_it_says() -> None:
    labels = np.arange(43_000, dtype=np.int64) % CLASSES
    rng = np.random.default_rng(0)
    assert (draw_cues(labels, strength=1.0, rng=rng) == labels).all()
    assert (draw_cues(labels, strength=0.0, rng=rng) != labels).all()
    own = (draw_cues(labels, strength=0.9, rng=rng) == labels).mean()
    assert own == pytest.approx(0.9, abs=4 * np.sqrt(0.9 * 0.1 / len(labels)))


def test_plant_paints_one_patch_behind_the_sign_and_nothing_else() -> None:
    images = np.full((CLASSES, SIZE, SIZE, 3), 90, np.uint8)
    masks = np.zeros((CLASSES, SIZE, SIZE), np.bool_)
    masks[:, 5:27, 5:27] = True
    before = images.copy()
    cues = np.arange(CLASSES, dtype=np.int64)
    planted, where = plant(images, masks, cues, seed=(0,))
    assert np.array_equal(images, before)
    assert not (where & masks).any()
    assert np.array_equal((planted != images).any(-1), where)
    for cue in range(CLASSES):
        ys, xs = np.nonzero(where[cue])
        corner, _ = cue_of(cue)
        assert (xs.mean() > SIZE / 2) == (corner % 2 == 1)
        assert (ys.mean() > SIZE / 2) == (corner >= 2)
        assert xs.max() - xs.min() + 1 == 6
        assert ys.max() - ys.min() + 1 == 6
        assert xs.min() % 4 != 0
        assert ys.min() % 4 != 0


def test_test_splits_differ_only_in_the_patch(cards: dict[str, dict[str, Split]]) -> None:
    splits = cards["signs_shortcut"]
    absent, masks = splits["absent"], splits["absent"].masks
    assert masks is not None
    for name in ("aligned", "conflicting"):
        split = splits[name]
        assert np.array_equal(split.labels, absent.labels)
        assert split.masks is not None
        assert np.array_equal(split.masks, masks)
        changed = (split.images != absent.images).any(-1)
        assert not (changed & masks).any()
        area = changed.sum((1, 2))
        assert area.max() <= 36
        assert np.median(area) >= 34  # the corners are in view
        assert area.min() >= 12
        for one in changed:
            ys, xs = np.nonzero(one)
            assert max(np.ptp(xs), np.ptp(ys)) < 6


def test_aligned_and_conflicting_show_the_cue_they_promise(cards: dict[str, dict[str, Split]]) -> None:
    splits = cards["signs_shortcut"]
    for name, expected in (("aligned", 1.0), ("conflicting", 0.0)):
        split = splits[name]
        read = [_read_cue(a, b) for a, b in zip(split.images, splits["absent"].images, strict=True)]
        assert (np.array(read) == split.labels).mean() == expected


def _read_cue(image: np.ndarray[Any, Any], plain: np.ndarray[Any, Any]) -> int:
    """Second, independent reading: place and hue of the changed pixels."""
    changed = (image != plain).any(-1)
    ys, xs = np.nonzero(changed)
    r, g, b = image[changed].astype(float).mean(0)
    low, high = min(r, g, b), max(r, g, b)
    sector = {r: (g - b) / (high - low), g: 2 + (b - r) / (high - low), b: 4 + (r - g) / (high - low)}[high]
    corner = int(xs.mean() > SIZE / 2) + 2 * int(ys.mean() > SIZE / 2)
    return int(4 * (round(sector / 6 % 1 * 11) % 11) + corner)


# ---- faults


def test_all_faults_are_reported_together() -> None:
    with pytest.raises(UserError) as caught:
        render(name="sings", size=8, per_class=0, seed=-1)
    assert len(caught.value.problems) == 4
    assert "signs_shortcut" in str(caught.value)
