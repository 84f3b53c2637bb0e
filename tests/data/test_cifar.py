"""CIFAR in every official form and packed: one set of pixels from all of them, and pickles that are refused."""

from __future__ import annotations

import csv
import io
import os
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgexai.config.recipe import DataTable
from edgexai.data.cifar import load_cifar
from edgexai.data.cifar_files import find_cifar
from edgexai.data.digest import source_digest
from edgexai.data.restricted_pickle import read_pickle
from edgexai.errors import MissingCapability, UserError
from edgexai.types import Split

N = 20
BATCHES = [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]
Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]


def ten(name: str) -> Batch:
    """20 images of noise, two of each class."""
    rng = np.random.default_rng(BATCHES.index(name))
    return rng.integers(0, 256, (N, 32, 32, 3), dtype=np.uint8), rng.permutation(np.arange(N) % 10)


def write_binary(folder: Path, name: str) -> None:
    """Record by record, plane by plane: the naive writer of the official description."""
    images, labels = ten(name)
    out = bytearray()
    for image, label in zip(images, labels, strict=True):
        out.append(int(label))
        for channel in range(3):
            for row in range(32):
                out += bytes(image[row, :, channel].tolist())
    (folder / f"{name}.bin").write_bytes(bytes(out))


def write_pickle(folder: Path, name: str, *, protocol: int = 2, python2: bool = False) -> None:
    images, labels = ten(name)
    data = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(N, 3072)
    content: dict[Any, Any] = {"batch_label": "x", "labels": labels.tolist(), "data": data, "filenames": ["a"] * N}
    if python2:
        content = {k.encode(): v for k, v in content.items()}
    (folder / name).write_bytes(pickle.dumps(content, protocol=protocol))


def write_packed(folder: Path, name: str) -> None:
    """Two mosaics of ten tiles, five in a row."""
    images, labels = ten(name)
    with zipfile.ZipFile(folder / f"cifar10_{name}.zip", "w") as archive:
        table = io.StringIO()
        rows = csv.writer(table)
        rows.writerow(["index", "label", "filename"])
        rows.writerows([k, int(label), f"{k}.png"] for k, label in enumerate(labels))
        archive.writestr(f"{name}.csv", table.getvalue())
        for part in range(2):
            mosaic = Image.new("RGB", (160, 64))
            for k in range(10):
                mosaic.paste(Image.fromarray(images[part * 10 + k]), (k % 5 * 32, k // 5 * 32))
            stream = io.BytesIO()
            mosaic.save(stream, "WEBP", lossless=True)
            archive.writestr(f"{name}_{part:02d}.webp", stream.getvalue())


def tree(root: Path, form: str, batches: list[str] = BATCHES) -> Path:
    base = root / "cifar10"
    inner = {"binary": base / "cifar-10-batches-bin", "packed": base}.get(form, base / "cifar-10-batches-py")
    inner.mkdir(parents=True)
    for name in batches:
        if form == "binary":
            write_binary(inner, name)
        elif form == "packed":
            write_packed(inner, name)
        else:
            write_pickle(inner, name, protocol=int(form[-1]), python2=form.startswith("old"))
    return inner


def load(root: Path, *, name: str = "cifar10", size: int = 32, seed: int = 0, share: float = 0.1) -> dict[str, Split]:
    table = DataTable(name=name, size=size, validation=share)
    return load_cifar(table, seed=seed, data_root=root, progress=None)


@pytest.mark.parametrize("form", ["binary", "packed", "pickle2", "pickle4", "pickle5", "oldpickle2"])
def test_every_form_gives_the_same_images_in_the_official_order(tmp_path: Path, form: str) -> None:
    tree(tmp_path, form)
    splits = load(tmp_path)
    images, labels = ten("test_batch")
    assert np.array_equal(splits["test"].images, images)
    assert np.array_equal(splits["test"].labels, labels)
    whole = [ten(name) for name in BATCHES[:5]]
    images, labels = np.concatenate([b[0] for b in whole]), np.concatenate([b[1] for b in whole])
    got = np.concatenate([splits["train"].images, splits["val"].images])
    assert len(got) == len(images) == 100
    order = {image.tobytes(): k for k, image in enumerate(images)}
    for name in ("train", "val"):
        index = [order[image.tobytes()] for image in splits[name].images]
        assert index == sorted(index)
        assert np.array_equal(splits[name].labels, labels[index])
    assert {order[image.tobytes()] for image in got} == set(range(100))
    # A tenth of the ten images of every class.
    assert np.bincount(splits["val"].labels, minlength=10).tolist() == [1] * 10
    assert np.isnan(splits["train"].boxes).all()
    assert (splits["train"].tracks == -1).all()
    assert splits["train"].relevance() is None


def test_the_seed_and_the_share_decide_the_validation_images(tmp_path: Path) -> None:
    tree(tmp_path, "binary")
    first = load(tmp_path)
    assert load(tmp_path)["val"].digest() == first["val"].digest()
    assert load(tmp_path, seed=1)["val"].digest() != first["val"].digest()
    assert load(tmp_path, seed=1)["test"].digest() == first["test"].digest()
    assert np.bincount(load(tmp_path, share=0.3)["val"].labels).tolist() == [3] * 10


def test_other_sizes_are_resized_as_pillow_does(tmp_path: Path) -> None:
    tree(tmp_path, "binary")
    images = load(tmp_path, size=24)["test"].images
    expected = Image.fromarray(ten("test_batch")[0][3]).resize((24, 24), Image.Resampling.BILINEAR)
    assert np.array_equal(images[3], np.asarray(expected))


def test_archives_may_hold_some_training_batches_official_files_may_not(tmp_path: Path) -> None:
    tree(tmp_path / "some", "packed", ["data_batch_2", "test_batch"])
    assert len(load(tmp_path / "some")["train"]) + len(load(tmp_path / "some")["val"]) == N
    tree(tmp_path / "less", "binary", ["data_batch_2", "test_batch"])
    with pytest.raises(MissingCapability, match=r"incomplete: no data_batch_1\.bin, no data_batch_3\.bin"):
        load(tmp_path / "less")
    tree(tmp_path / "none", "packed", ["test_batch"])
    with pytest.raises(MissingCapability, match="no training archive"):
        load(tmp_path / "none")


def test_binary_files_are_taken_before_pickles(tmp_path: Path) -> None:
    tree(tmp_path, "pickle2")
    assert find_cifar("cifar10", data_root=tmp_path).form == "pickle"
    tree(tmp_path, "binary")
    assert find_cifar("cifar10", data_root=tmp_path).form == "binary"


def test_absent_data_name_the_remedies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEXAI_DATA", raising=False)
    monkeypatch.setenv("EDGEXAI_HOME", str(tmp_path / "home"))
    for name in ("cifar10", "cifar100"):
        with pytest.raises(MissingCapability) as caught:
            find_cifar(name, data_root=None)
        for remedy in ("EDGEXAI_DATA", "--data-root", f"edgexai data fetch {name}"):
            assert remedy in caught.value.next_step
    inner = tree(tmp_path / "home" / "data", "binary")
    assert find_cifar("cifar10", data_root=None).base == inner


def test_the_digest_follows_the_bytes(tmp_path: Path) -> None:
    inner, table = tree(tmp_path, "binary"), DataTable(name="cifar10")
    first = source_digest(table, data_root=tmp_path, home=tmp_path / "home")
    shutil.move(tmp_path / "cifar10", tmp_path / "moved" / "cifar10")
    moved = tmp_path / "moved" / "cifar10" / inner.name / "data_batch_3.bin"
    assert source_digest(table, data_root=tmp_path / "moved", home=tmp_path / "home") == first
    data = bytearray(moved.read_bytes())
    data[5] ^= 1
    moved.write_bytes(data)
    assert source_digest(table, data_root=tmp_path / "moved", home=tmp_path / "other") != first


def test_cifar100_reads_the_fine_label_of_both_official_forms(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for form in ("binary", "python"):
        (tmp_path / form / "cifar100" / f"cifar-100-{form}").mkdir(parents=True)
    expected = {}
    for name, n in (("train", 300), ("test", 100)):
        images = rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
        fine = np.arange(n) % 100
        planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(n, 3072)
        expected[name] = images, fine
        records = np.concatenate([(fine // 5)[:, None], fine[:, None], planes], axis=1).astype(np.uint8)
        (tmp_path / f"binary/cifar100/cifar-100-binary/{name}.bin").write_bytes(records.tobytes())
        content = {b"data": planes, b"fine_labels": fine.tolist(), b"coarse_labels": (fine // 5).tolist()}
        (tmp_path / f"python/cifar100/cifar-100-python/{name}").write_bytes(pickle.dumps(content, protocol=2))
    one, other = (load(tmp_path / form, name="cifar100") for form in ("binary", "python"))
    assert {k: s.digest() for k, s in one.items()} == {k: s.digest() for k, s in other.items()}
    assert np.array_equal(one["test"].images, expected["test"][0])
    assert np.array_equal(one["test"].labels, expected["test"][1])
    assert (len(one["train"]), len(one["val"])) == (200, 100)
    path = tmp_path / "binary/cifar100/cifar-100-binary/test.bin"
    path.write_bytes(b"\x14" + path.read_bytes()[1:])
    with pytest.raises(UserError, match=r"coarse label 20, allowed 0\.\.19"):
        load(tmp_path / "binary", name="cifar100")


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = tree(tmp_path / "a", "binary") / "data_batch_3.bin"
    data = path.read_bytes()
    for bad, said in (
        (data[:-1], "not whole records"),
        (b"", "no images"),
        (b"\x0a" + data[1:], r"labels 0\.\.10, allowed"),
    ):
        path.write_bytes(bad)
        with pytest.raises(UserError, match=said) as caught:
            load(tmp_path / "a")
        assert str(path) in str(caught.value)
    path = tree(tmp_path / "b", "packed") / "cifar10_test_batch.zip"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"cifar10_test_batch\.zip: cannot be read"):
        load(tmp_path / "b")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("test_batch.csv", "index,label,filename\n0,x,a\n")
        archive.writestr("test_batch_00.webp", b"RIFF")
    with pytest.raises(UserError, match=r"test_batch\.csv:2: label = 'x'"):
        load(tmp_path / "b")


class Hostile:
    """What a pickle of it does when it is read is up to ``call``."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call[0], tuple(self.call[1:])


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    ("call", "named"),
    [
        ((os.system, "touch {}"), r"posix\.system"),
        ((eval, "open('{}', 'w')"), r"\.eval"),
        ((getattr, "", "join"), r"\.getattr"),
        ((np.load, "{}"), r"numpy.*\.load"),
        ((np.frombuffer, b"12345678"), r"numpy.*frombuffer"),
        ((Path, "{}"), r"pathlib"),
    ],
)
def test_a_hostile_pickle_is_refused_before_it_acts(tmp_path: Path, call: Any, named: str, protocol: int) -> None:
    inner, mark = tree(tmp_path, "pickle2"), tmp_path / "mark"
    filled = [text.format(mark) if isinstance(text, str) else text for text in call]
    data = pickle.dumps({b"labels": [0], b"data": Hostile(*filled)}, protocol=protocol)
    (inner / "data_batch_2").write_bytes(data)
    with pytest.raises(UserError, match=rf"data_batch_2: refused: the pickle asks for .*{named}") as caught:
        load(tmp_path)
    assert "binary" in caught.value.next_step
    assert not mark.exists()


def test_the_hostile_pickle_would_have_acted(tmp_path: Path) -> None:
    """Negative control: the refusals above are not of harmless files."""
    pickle.loads(pickle.dumps(Hostile(os.system, f"touch {tmp_path / 'mark'}")))
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x02",
        b"not a pickle",
        b"\x80\x02}q\x01.",
        pickle.dumps([1, 2]),
        pickle.dumps({"data": np.zeros((2, 3072), np.float32), "labels": [0, 1]}),
        pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0]}),
        pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0, "1"]}),
        pickle.dumps({"data": np.array([{}], dtype=object), "labels": [0]}),
        pickle.dumps({"data": np.zeros(2, dtype=[("a", "u1")]), "labels": [0]}),
        pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0, 1]})[:-3000],
        b"cnumpy\nndarray\n(I1000000000000\ntR.",
        b"cnumpy\ndtype\n(S'u1'\ntR(I3\nS'|'\nNNNtb.",
        b"\x80\x02\x82\x01.",
        b"P12\n.",
        b"I1\nPid\n.",
    ],
)
def test_pickles_that_hold_no_batch_end_in_one_clear_error(tmp_path: Path, data: bytes) -> None:
    inner = tree(tmp_path, "pickle2")
    (inner / "test_batch").write_bytes(data)
    with pytest.raises(UserError, match="test_batch: "):
        load(tmp_path)


def test_plain_content_is_read_as_pickle_reads_it() -> None:
    arrays = [np.arange(6).astype(code).reshape(2, 3) for code in ("u1", "<i8", ">f4", "?")]
    arrays += [np.asfortranarray(arrays[0]), np.zeros((0, 3), np.uint8)]
    content = {"a": [1, 2.5, True, None, "é", b"\xff"], "t": (1, (2, 3)), "n": arrays}
    for protocol in range(6):
        got = read_pickle(pickle.dumps(content, protocol=protocol), where="x")
        assert got["a"] == content["a"]
        assert got["t"] == content["t"]
        for one, other in zip(got["n"], arrays, strict=True):
            assert one.dtype == other.dtype
            assert np.array_equal(one, other)


@pytest.mark.data
def test_the_real_packs() -> None:
    root = os.environ.get("EDGEXAI_DATA")
    if not root or not (Path(root) / "cifar10").is_dir():
        pytest.skip("no cifar10 under EDGEXAI_DATA")
    splits = load_cifar(DataTable(name="cifar10"), seed=0, data_root=Path(root), progress=None)
    assert np.bincount(splits["test"].labels).tolist() == [1000] * 10
    assert (len(splits["train"]) + len(splits["val"])) % 10_000 == 0
    counts = np.bincount(np.concatenate([splits["train"].labels, splits["val"].labels]))
    np.testing.assert_allclose(np.bincount(splits["val"].labels), counts / 10, atol=0.5)
    # The first official test images are a cat, two ships and a plane.
    assert splits["test"].labels[:4].tolist() == [3, 8, 8, 0]
    pixels = {image.tobytes() for split in splits.values() for image in split.images}
    assert len(pixels) == sum(len(split) for split in splits.values())
