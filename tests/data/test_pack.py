"""Data sets and their packs on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgexai.data import pack
from edgexai.data.dataset import Dataset
from edgexai.data.duplicates import duplicates
from edgexai.errors import ShapeError, UserError
from edgexai.types import Split

CLASSES = ("stop", "Vorfahrt gewähren", "no entry")


def split(name: str, n: int, *, seed: int, size: int = 8, masks: bool = False) -> Split:
    rng = np.random.default_rng(seed)
    return Split(
        name,
        rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8),
        rng.integers(0, 3, n),
        np.full((n, 4), np.nan, dtype=np.float32),
        np.arange(n, dtype=np.int64),
        rng.random((n, size, size)) < 0.5 if masks else None,
    )


def dataset() -> Dataset:
    parts = [split("train", 40, seed=0, masks=True), split("test", 7, seed=1), split("empty", 0, seed=2)]
    return Dataset.of("signs", CLASSES, {part.name: part for part in parts})


def test_statistics_equal_numpy_in_double_precision() -> None:
    data = dataset()
    pixels = data.splits["train"].images.astype(np.float64) / 255
    np.testing.assert_allclose(data.mean, pixels.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(data.std, pixels.std(axis=(0, 1, 2)), rtol=1e-12)


def test_statistics_in_closed_form() -> None:
    part = split("train", 2, seed=0)
    part.images[0], part.images[1] = 0, 255
    data = Dataset.of("signs", CLASSES, {"train": part})
    assert data.mean == (0.5, 0.5, 0.5)
    assert data.std == (0.5, 0.5, 0.5)


def test_statistics_do_not_look_at_test_images() -> None:
    data = dataset()
    other = Dataset.of("signs", CLASSES, {"train": data.splits["train"], "test": split("test", 99, seed=5)})
    assert (other.mean, other.std) == (data.mean, data.std)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    data = dataset()
    pack.write(data, tmp_path / "deep" / "pack")
    again = pack.read(tmp_path / "deep" / "pack")
    assert (again.name, again.classes, again.mean, again.std) == (data.name, data.classes, data.mean, data.std)
    assert list(again.splits) == list(data.splits)
    for name in data.splits:
        assert again.splits[name].digest() == data.splits[name].digest()
        assert again.splits[name].name == name
    assert again.splits["test"].masks is None
    assert type(again.splits["train"].images) is np.ndarray


def test_writing_to_what_was_read_never_reaches_the_file(tmp_path: Path) -> None:
    pack.write(dataset(), tmp_path)
    before = pack.read(tmp_path).splits["train"].digest()
    pack.read(tmp_path).splits["train"].images[:] = 0
    assert pack.read(tmp_path).splits["train"].digest() == before


def test_two_packs_of_one_data_set_are_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        pack.write(dataset(), tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "b").iterdir())
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_a_pack_is_not_overwritten(tmp_path: Path) -> None:
    pack.write(dataset(), tmp_path)
    with pytest.raises(UserError, match="already holds a pack"):
        pack.write(dataset(), tmp_path)


@pytest.mark.parametrize(
    "damage", ["cut", "emptied", "pickle", "removed", "labels", "index", "format", "count", "gone"]
)
def test_a_damaged_pack_is_named(tmp_path: Path, damage: str) -> None:
    pack.write(dataset(), tmp_path)
    images, index = tmp_path / "train.images.npy", tmp_path / "pack.json"
    content = json.loads(index.read_text(encoding="utf-8"))
    expected = "train.images.npy"
    if damage == "cut":
        images.write_bytes(images.read_bytes()[:-10])
    elif damage == "emptied":
        images.write_bytes(b"")
    elif damage == "pickle":
        np.save(images, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    elif damage == "removed":
        images.unlink()
    elif damage == "labels":
        np.save(tmp_path / "train.labels.npy", np.full(40, 3))
        expected = r"labels: 3\.\.3, allowed 0\.\.2"
    elif damage == "index":
        index.write_text("{")
        expected = "not a pack index"
    elif damage == "format":
        index.write_text(json.dumps(content | {"format": 99}))
        expected = "format 99"
    elif damage == "count":
        content["splits"]["train"]["n"] = 39
        index.write_text(json.dumps(content))
        expected = "40 images, pack.json says 39"
    else:
        index.unlink()
        expected = r"pack\.json: missing"
    with pytest.raises(UserError, match=expected):
        pack.read(tmp_path)


def test_splits_that_break_the_contract_are_refused() -> None:
    good = split("train", 5, seed=0)
    with pytest.raises(ShapeError, match=r"boxes: float64 \(5, 4\), expected float32 \(5, 4\)"):
        Dataset.of("x", CLASSES, {"train": Split("train", good.images, good.labels, np.zeros((5, 4)), good.tracks)})  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="images"):
        Dataset.of("x", CLASSES, {"train": Split("train", good.images[:4], good.labels, good.boxes, good.tracks)})
    with pytest.raises(ShapeError, match="another size"):
        Dataset.of("x", CLASSES, {"train": good, "test": split("test", 3, seed=1, size=9)})
    with pytest.raises(UserError, match=r"allowed 0\.\.0"):
        Dataset.of("x", ("one",), {"train": Split("train", good.images, good.labels + 1, good.boxes, good.tracks)})
    with pytest.raises(UserError, match="no training images"):
        Dataset.of("x", CLASSES, {"test": good})
    with pytest.raises(UserError, match="one value"):
        Dataset.of("x", CLASSES, {"train": Split("train", good.images * 0, good.labels, good.boxes, good.tracks)})


def test_duplicates_finds_what_was_copied_and_nothing_else() -> None:
    train, val, test = split("train", 30, seed=0), split("val", 30, seed=1), split("test", 20, seed=2)
    assert duplicates([train, val], test).size == 0
    test.images[17], test.images[3] = train.images[4], val.images[9]
    test.images[5] = train.images[6]
    test.images[5, 0, 0, 0] ^= 1
    assert duplicates([train, val], test).tolist() == [3, 17]
    assert duplicates([train], test).tolist() == [17]
