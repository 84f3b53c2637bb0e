"""Detection finds a planted cue, only outside the sign where relevance is known, and never more than the cap."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from planted import CLASSES, GRID, corner_cue, lisa

from edgexai.models.base import Network
from edgexai.train.detect import DetectSettings, Flags, _stays_put, as_predict, detect, random_cells, stratified
from edgexai.train.flag_file import read_flags, write_flags
from edgexai.train.loop import LoopSettings
from edgexai.train.natural import fit_natural
from edgexai.train.validate import twin_accuracy
from edgexai.types import Split

CUE = 0  # the cell that holds the patch
SETTINGS = DetectSettings(
    grid=GRID,
    n_images=24,
    n_samples=96,
    repeats=2,
    relevance="roi",
    importance_quantile=0.8,
    sensitivity_quantile=0.9,
    instability=0.5,
    max_flagged=0.25,
    class_frequency=0.3,
)


@pytest.fixture(scope="module")
def cheater(tmp_path_factory: pytest.TempPathFactory) -> Network:
    net, work = lisa(), tmp_path_factory.mktemp("cheater")
    train = corner_cue(120, 1)
    settings = LoopSettings(epochs=6, batch_size=16, lr=0.05, weight_decay=5e-4, augment="none")
    fit_natural(net, train, train, settings=settings, seed=0, work=work, progress=lambda _: None)
    assert twin_accuracy(net, corner_cue(40, 2)) == 1.0
    return net


def flags_of(net: Network, split: Split, settings: DetectSettings = SETTINGS, *, seed: int = 0) -> Flags:
    return detect(net, split, classes=CLASSES, settings=settings, seed=seed)


def test_the_cue_is_flagged_and_nothing_on_the_sign(cheater: Network) -> None:
    split = corner_cue(60, 3)
    found = flags_of(cheater, split)
    assert found.explained.shape == (24,)
    assert np.bincount(split.labels[found.explained]).tolist() == [6] * 4
    assert found.flagged[:, CUE].mean() > 0.9  # a cell at random would be flagged at most 4 of 16 times
    assert found.flagged.sum(1).max() <= 4
    others = np.delete(found.flagged, CUE, axis=1)
    assert others.mean() < 0.35 * found.flagged[:, CUE].mean()
    sign = [5, 6, 9, 10]  # the box covers them wholly
    assert not found.flagged[:, sign].any()
    assert not found.cells[:, sign].any()
    assert (found.importance.argmax(1) == CUE).mean() > 0.9
    # images that were not explained take their class's map
    rest = np.setdiff1d(np.arange(60), found.explained)
    assert found.cells[rest, CUE].all()
    assert np.array_equal(found.cells[found.explained], found.flagged)
    for label in range(CLASSES):
        own = found.flagged[split.labels[found.explained] == label]
        assert np.allclose(found.class_frequency[label], own.mean(0))
        wanted = own.mean(0) >= 0.3
        wanted[sign] = False
        wanted[np.argsort(-np.where(wanted, own.mean(0), -1), kind="stable")[4:]] = False  # the cap holds here too
        assert (found.cells[rest[split.labels[rest] == label]] == wanted).all()


def test_nothing_is_flagged_where_the_whole_picture_is_the_sign(cheater: Network) -> None:
    split = corner_cue(24, 3)
    whole = replace(split, boxes=np.tile(np.array([0, 0, 32, 32], np.float32), (24, 1)))
    found = flags_of(cheater, whole)
    assert not found.flagged.any()
    assert not found.cells.any()


def test_masks_and_boxes_are_not_confused(cheater: Network) -> None:
    """The box says the middle, the mask says the corner: each is used when asked for."""
    split = corner_cue(24, 3)
    masks = np.zeros((24, 32, 32), np.bool_)
    masks[:, :8, :8] = True
    both = replace(split, masks=masks)
    by_box = flags_of(cheater, both)
    by_mask = flags_of(cheater, both, replace(SETTINGS, relevance="mask"))
    assert by_box.flagged[:, CUE].all()
    assert not by_mask.flagged[:, CUE].any()


def test_the_cue_stands_out_without_any_relevance(cheater: Network) -> None:
    found = flags_of(cheater, corner_cue(24, 3), replace(SETTINGS, relevance="none"))
    assert found.flagged.sum(1).max() <= 4


@pytest.mark.parametrize("share", [0.0, 0.07, 0.13, 1.0])
def test_the_cap(cheater: Network, share: float) -> None:
    found = flags_of(cheater, corner_cue(24, 3), replace(SETTINGS, max_flagged=share, importance_quantile=0.0))
    counts = found.flagged.sum(1)
    assert counts.max() <= int(share * 16)
    if share == 0.07:  # one cell: the strongest
        assert found.flagged[:, CUE].all()


def test_detection_repeats_and_touches_nothing(cheater: Network) -> None:
    split = corner_cue(24, 3)
    weights = {k: v.clone() for k, v in cheater.state_dict().items()}
    digest = split.digest()
    torch.manual_seed(0)
    first = flags_of(cheater, split)
    torch.manual_seed(1)
    second = flags_of(cheater, split)
    for one, other in zip(vars(first).values(), vars(second).values(), strict=True):
        assert np.array_equal(one, other)
    assert split.digest() == digest
    assert all(torch.equal(v, weights[k]) for k, v in cheater.state_dict().items())
    assert all(p.grad is None or not p.grad.isnan().any() for p in cheater.parameters())
    assert not np.array_equal(first.importance, flags_of(cheater, split, seed=1).importance)


def test_random_cells_keep_the_budget_of_every_image(cheater: Network) -> None:
    found = flags_of(cheater, corner_cue(60, 3))
    control = random_cells(found, seed=1)
    assert np.array_equal(control.cells.sum(1), found.cells.sum(1))
    assert np.array_equal(control.flagged, control.cells[control.explained])
    assert np.array_equal(control.explained, found.explained)
    assert not np.array_equal(control.cells, found.cells)
    assert np.array_equal(control.cells, random_cells(found, seed=1).cells)
    assert not np.array_equal(control.cells, random_cells(found, seed=2).cells)
    share = control.cells[:, CUE].mean()
    assert share < 0.5  # the cue is hit by chance only


def test_stratified() -> None:
    labels = np.array([0] * 10 + [1] * 3 + [4] * 20, dtype=np.int64)
    got = stratified(labels, 15, np.random.default_rng(0))
    assert np.bincount(labels[got]).tolist() == [5, 3, 0, 0, 5]
    assert (np.diff(got) > 0).all()
    assert len(stratified(labels, 1, np.random.default_rng(0))) == 3
    assert np.array_equal(got, stratified(labels, 15, np.random.default_rng(0)))


def test_as_predict_gives_a_fresh_array() -> None:
    predict, images = as_predict(lisa().eval()), corner_cue(3, 1).as_float()
    first = predict(images)
    assert first.dtype == np.float32
    kept = first.copy()
    predict(1 - images)
    assert np.array_equal(first, kept)


def test_flags_on_disk(tmp_path: Path, cheater: Network) -> None:
    found = flags_of(cheater, corner_cue(24, 3))
    assert read_flags(tmp_path, 0) is None
    write_flags(tmp_path, 0, found)
    again = read_flags(tmp_path, 0)
    assert again is not None
    for one, other in zip(vars(found).values(), vars(again).values(), strict=True):
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)
    assert [p.name for p in tmp_path.iterdir()] == ["flags_0.npz"]


def test_a_corner_shared_by_a_quarter_of_the_classes_does_not_hide_itself() -> None:
    """Three of twelve classes lean on corner 0; the middle speaks for every class and is never odd."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(12), 10)
    mean = rng.normal(0, 0.01, (120, 9))
    mean[:, 4] += 0.5 + rng.normal(0, 0.1, 120)
    mean[labels < 3, 0] += 0.4
    found = _stays_put(mean, labels, 12, replace(SETTINGS, relevance="none", importance_quantile=0.7))
    assert found[labels < 3, 0].all()
    assert not found[labels >= 3, 0].any()
    assert found[:, 4].mean() < 0.2
