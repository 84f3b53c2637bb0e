"""Streams give the very images that ``load`` gives, whatever part is asked for and however they are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgexai.cli.main import main
from edgexai.config.recipe import DataTable
from edgexai.data.corruptions import corrupt
from edgexai.data.load import load
from edgexai.data.stream import open_streams
from edgexai.errors import MissingCapability, UserError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEXAI_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def csv(root: Path) -> Path:
    """30 images of three classes and several sizes, with boxes and tracks."""
    root.mkdir()
    lines = ["path,label,x1,y1,x2,y2,track"]
    draws = np.random.default_rng(0)
    for k in range(30):
        width, height = (int(v) for v in draws.integers(20, 60, 2))
        Image.fromarray(draws.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(root / f"{k}.png")
        lines.append(f"{k}.png,c{k % 3},{2},{3},{width - 4},{height - 1},t{k // 6}{k % 3}")
    (root / "all.csv").write_text("\n".join(lines))
    return root / "all.csv"


def same(one, two) -> None:
    np.testing.assert_array_equal(one.images, two.images)
    np.testing.assert_array_equal(one.labels, two.labels)
    np.testing.assert_allclose(one.boxes, two.boxes, rtol=1e-6)


def test_own_images_are_those_that_load_gives(tmp_path: Path) -> None:
    assert main(["data", "add", "mine", str(csv(tmp_path / "mine"))]) == 0
    whole = load(DataTable(name="mine", size=24), seed=5).splits["test"]
    with open_streams("mine", size=(24, 24)) as streams:
        assert list(streams) == ["test"]
        stream = streams["test"]
        assert len(stream) == len(whole) > 3
        np.testing.assert_array_equal(stream.labels, whole.labels)
        index = np.array([2, 0, 2])
        same(stream.take(index), whole.take(index))
        bad = stream.take(index, corruption=("gaussian_noise", 3), seed=4)
        expected = corrupt(whole.images, "gaussian_noise", severity=3, seed=4)[index]
        np.testing.assert_array_equal(bad.images, expected)
    # Not square: as the square, squashed; boxes with it.
    with open_streams("mine", size=(16, 24)) as streams:
        part = streams["test"].take(np.arange(2))
        assert part.images.shape == (2, 16, 24, 3)
        np.testing.assert_allclose(part.boxes, whole.boxes[:2] * [1, 16 / 24, 1, 16 / 24], rtol=1e-5)
    (tmp_path / "mine" / "0.png").unlink()
    with pytest.raises(UserError, match=r"0\.png is missing"), open_streams("mine", size=(24, 24)):
        pass


@pytest.mark.parametrize("name", ["signs", "signs_shortcut"])
def test_rendered_images_are_those_that_load_gives(name: str) -> None:
    whole = load(DataTable(name=name, size=16, per_class=1), seed=0).splits
    with open_streams(name, size=(16, 16)) as streams:
        assert set(streams) == set(whole) - {"train", "val"}
        for split, stream in streams.items():
            # Asking for more images per class only appends: the first 43 are the same.
            part = stream.take(np.arange(43))
            np.testing.assert_array_equal(part.labels, whole[split].labels[:43])
            if name == "signs":
                same(part, whole[split].take(np.arange(43)))


@pytest.mark.data
@pytest.mark.slow
def test_gtsrb_is_what_load_gives() -> None:
    whole = load(DataTable(name="gtsrb", size=16), seed=0).splits["test"]
    with open_streams("gtsrb", size=(16, 16)) as streams:
        index = np.array([0, 12_629, 777])
        same(streams["test"].take(index), whole.take(index))
        np.testing.assert_array_equal(streams["test"].labels, whole.labels)
    with open_streams("gtsrb_c", size=(16, 16)) as streams:
        assert len(streams) == 96
        bad = streams["fog_3"].take(index)
        np.testing.assert_array_equal(
            bad.images, load(DataTable(name="gtsrb_c", size=16), seed=0).splits["fog_3"].images[index]
        )


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingCapability), open_streams("cifar100", size=(32, 32), data_root=tmp_path):
        pass
    with pytest.raises(UserError, match="from 16 to 4096"), open_streams("signs", size=(8, 32)):
        pass
