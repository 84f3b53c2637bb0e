"""Corrupted data sets: 95 test splits that are made when looked at, official files first, bounded memory."""

from __future__ import annotations

import gc
import pickle
import weakref
from pathlib import Path

import numpy as np
import pytest

from edgexai.config.recipe import DataTable
from edgexai.data.corrupted import CorruptedSplits, corrupted, corrupted_splits, corruption_of
from edgexai.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from edgexai.data.digest import source_digest
from edgexai.data.load import load
from edgexai.data.place import find_place
from edgexai.errors import MissingCapability, UserError
from edgexai.types import Split

N = 30


def cifar(root: Path) -> Path:
    """Five training batches and a test batch of 30 images, in the official pickle form."""
    inner = root / "cifar10" / "cifar-10-batches-py"
    inner.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"):
        pixels = rng.integers(0, 256, (N, 3072), dtype=np.uint8)
        content = {"data": pixels, "labels": (np.arange(N) % 10).tolist()}
        (inner / name).write_bytes(pickle.dumps(content, protocol=2))
    return root


def official(root: Path) -> Path:
    folder = root / "CIFAR-10-C"
    folder.mkdir()
    for k, name in enumerate(CORRUPTIONS):
        images = np.zeros((5 * N, 32, 32, 3), np.uint8)
        images += (np.arange(5 * N) + k).astype(np.uint8)[:, None, None, None]
        np.save(folder / f"{name}.npy", images)
    np.save(folder / "labels.npy", np.tile(np.arange(N) % 10, 5).astype(np.uint8))
    return folder


def noise(n: int) -> Split:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    boxes = np.tile(np.array([1, 2, 30, 31], np.float32), (n, 1))
    return Split("test", images, np.arange(n) % 10, boxes, np.arange(n))


def test_names() -> None:
    assert corruption_of("fog_3") == ("fog", 3)
    assert corruption_of("gaussian_noise_5") == ("gaussian_noise", 5)
    for other in ("test", "fog", "fog_0", "fog_6", "fog_", "smog_1", "fog_x", "val"):
        assert corruption_of(other) is None


def test_generated_where_no_official_files_are(tmp_path: Path) -> None:
    data = load(DataTable(name="cifar10c"), seed=3, data_root=cifar(tmp_path))
    clean = load(DataTable(name="cifar10"), seed=3, data_root=tmp_path)
    assert list(data.splits)[:3] == ["train", "val", "test"]
    assert len(list(data.splits)) == len(data.splits) == 3 + 19 * 5
    assert (data.mean, data.std, data.classes) == (clean.mean, clean.std, clean.classes)
    for name in ("train", "val", "test"):
        assert data.splits[name].digest() == clean.splits[name].digest()
    foggy = data.splits["fog_3"]
    assert np.array_equal(foggy.images, corrupt(clean.splits["test"].images, "fog", severity=3, seed=3))
    assert np.array_equal(foggy.labels, clean.splits["test"].labels)
    assert data.splits["fog_3"].digest() == foggy.digest()
    assert foggy.name == "fog_3"
    with pytest.raises(KeyError):
        data.splits["fog_6"]
    place = find_place("cifar10c", data_root=tmp_path)
    assert place is not None
    assert place.what == "generated from official pickle files"


def test_official_files_are_read_where_they_are(tmp_path: Path) -> None:
    cifar(tmp_path)
    generated = source_digest(DataTable(name="cifar10c"), data_root=tmp_path, home=tmp_path / "home")
    folder = official(tmp_path)
    data = load(DataTable(name="cifar10c", size=16), seed=0, data_root=tmp_path)
    for k, name in enumerate(CORRUPTIONS):
        for severity in SEVERITIES:
            split = data.splits[f"{name}_{severity}"]
            expected = (np.arange(N) + (severity - 1) * N + k).astype(np.uint8)
            assert np.array_equal(split.images, np.broadcast_to(expected[:, None, None, None], (N, 16, 16, 3)))
    assert source_digest(DataTable(name="cifar10c"), data_root=tmp_path, home=tmp_path / "home") != generated
    with pytest.raises(UserError, match="scored whole"):
        load(DataTable(name="cifar10c", drop_duplicates=True), seed=0, data_root=tmp_path)
    np.save(folder / "labels.npy", np.tile(np.arange(N) % 9, 5).astype(np.uint8))
    with pytest.raises(UserError, match="not those of the clean test images"):
        data.splits["fog_1"]
    np.save(folder / "fog.npy", np.zeros((5, 32, 32, 3), np.uint8))
    with pytest.raises(UserError, match=r"fog\.npy: uint8 \(5, 32, 32, 3\)"):
        data.splits["fog_1"]
    np.save(folder / "fog.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match=r"fog\.npy: damaged array"):
        data.splits["fog_1"]
    (folder / "snow.npy").unlink()
    with pytest.raises(MissingCapability, match=r"incomplete: no snow\.npy"):
        load(DataTable(name="cifar10c"), seed=0, data_root=tmp_path)


def test_a_part_is_corrupted_as_it_is_in_the_whole() -> None:
    test = noise(40)
    splits = CorruptedSplits({"train": test, "val": test, "test": test}, n_classes=10, seed=2, official=None)
    index = np.array([4, 9, 33])
    part = splits.take(index)
    assert len(part["test"]) == 3
    assert len(part["train"]) == 40
    for name in ("snow_2", "gaussian_noise_5"):
        assert part[name].digest() == splits[name].take(index).digest()


def test_boxes_and_masks_stay_and_the_walk_is_complete() -> None:
    test = noise(4)
    one = corrupted(test, "fog", severity=1, seed=0)
    assert np.array_equal(one.boxes, test.boxes)
    assert np.array_equal(one.tracks, test.tracks)
    walk = [(name, severity) for name, severity, _ in corrupted_splits(test, seed=0)]
    assert walk == [(name, severity) for name in CORRUPTIONS for severity in SEVERITIES]
    few = list(corrupted_splits(test, seed=0, names=("fog", "contrast"), severities=(1,)))
    assert [(name, severity) for name, severity, _ in few] == [("fog", 1), ("contrast", 1)]
    assert few[0][2].digest() == one.digest()


def test_no_corrupted_split_is_kept() -> None:
    test = noise(20)
    splits = CorruptedSplits({"test": test}, n_classes=10, seed=0, official=None)
    names = [f"contrast_{severity}" for severity in SEVERITIES]
    seen = [weakref.ref(splits[name].images) for name in names]
    gc.collect()
    assert [image() for image in seen] == [None] * 5
    # Negative control: what somebody holds is there.
    held = splits["contrast_1"]
    assert weakref.ref(held.images)() is held.images
