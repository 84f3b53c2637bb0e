"""GTSRB from folders and from archives, and what happens when files are bad."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgexai.config.recipe import DataTable
from edgexai.data.gtsrb import load_gtsrb
from edgexai.errors import MissingCapability, UserError
from edgexai.types import Split

HEADER = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"
TABLE = DataTable(name="gtsrb", size=16)
N_TRACKS, N_FRAMES = 3, 2


def picture(seed: int, width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def make_tree(base: Path) -> Path:
    """43 classes of 3 tracks of 2 frames, 50 test images; .ppm as torchvision unpacks them."""
    for label in range(43):
        folder = base / "GTSRB" / "Training" / f"{label:05d}"
        folder.mkdir(parents=True)
        lines = [HEADER]
        for track in range(N_TRACKS):
            for frame in range(N_FRAMES):
                width, height = 25 + label % 5, 26 + track
                name = f"{track:05d}_{frame:05d}.ppm"
                picture(label * 100 + track * 10 + frame, width, height).save(folder / name)
                lines.append(f"{name};{width};{height};5;6;{width - 5};{height - 4};{label}")
        (folder / f"GT-{label:05d}.csv").write_text("\n".join(lines) + "\n")
    folder = base / "GTSRB" / "Final_Test" / "Images"
    folder.mkdir(parents=True)
    lines = [HEADER]
    for k in range(50):
        picture(9000 + k, 30, 40).save(folder / f"{k:05d}.ppm")
        lines.append(f"{k:05d}.ppm;30;40;3;4;24;36;{k % 43}")
    (base / "GT-final_test.csv").write_text("\r\n".join(lines) + "\r\n")
    return base


def zip_tree(tree: Path, target: Path, suffix: str) -> None:
    """The same tree as two archives, images in another lossless format."""
    target.mkdir(parents=True)
    with zipfile.ZipFile(target / "gtsrb_a.zip", "w") as train, zipfile.ZipFile(target / "gtsrb_b.zip", "w") as test:
        for path in sorted(tree.rglob("*")):
            if not path.is_file():
                continue
            archive = train if "Training" in path.parts else test
            name = path.relative_to(tree).as_posix()
            if path.suffix == ".ppm":
                stream = io.BytesIO()
                Image.open(path).save(stream, suffix.strip("."), lossless=True)
                archive.writestr(name.replace(".ppm", suffix), stream.getvalue())
            else:
                archive.write(path, name)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("whole") / "gtsrb")


@pytest.fixture
def tree(whole: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(whole, tmp_path / "gtsrb"))


def load(root: Path, *, seed: int = 0, table: DataTable = TABLE) -> dict[str, Split]:
    return load_gtsrb(table, seed=seed, data_root=root, progress=None)


def test_folder_and_archives_give_identical_splits(whole: Path, tmp_path: Path) -> None:
    expected = {name: split.digest() for name, split in load(whole.parent).items()}
    for suffix in (".webp", ".png"):
        zip_tree(whole, tmp_path / suffix / "gtsrb", suffix)
        got = {name: split.digest() for name, split in load(tmp_path / suffix).items()}
        assert got == expected
    assert set(expected) == {"train", "val", "test"}


@pytest.mark.parametrize("inside", ["gtsrb", ".", "GTSRB"])
def test_the_root_may_be_any_level(whole: Path, tmp_path: Path, inside: str) -> None:
    expected = load(whole.parent)["val"].digest()
    if inside == "GTSRB":
        assert load(whole / "GTSRB")["val"].digest() == expected
    else:
        shutil.copytree(whole, tmp_path / inside, dirs_exist_ok=True)
        assert load(tmp_path)["val"].digest() == expected


def test_an_archive_may_supply_one_part_and_archives_beside_folders_are_left_alone(tree: Path, tmp_path: Path) -> None:
    expected = load(tmp_path)["test"].digest()
    zip_tree(tree, tmp_path / "other" / "gtsrb", ".webp")
    shutil.copy(tmp_path / "other" / "gtsrb" / "gtsrb_b.zip", tree / "rest.zip")
    (tree / "left_over.zip").write_bytes(b"half a download")
    assert load(tmp_path)["test"].digest() == expected
    (tree / "left_over.zip").unlink()
    shutil.rmtree(tree / "GTSRB" / "Final_Test")
    (tree / "GT-final_test.csv").unlink()
    assert load(tmp_path)["test"].digest() == expected


def test_values_against_a_naive_reader(whole: Path) -> None:
    splits = load(whole.parent)
    assert len(splits["train"]) + len(splits["val"]) == 43 * N_TRACKS * N_FRAMES
    frames = {
        (label, track, frame): np.asarray(
            Image.open(whole / f"GTSRB/Training/{label:05d}/{track:05d}_{frame:05d}.ppm").resize(
                (16, 16), Image.Resampling.BILINEAR
            )
        )
        for label in range(43)
        for track in range(N_TRACKS)
        for frame in range(N_FRAMES)
    }
    seen = 0
    for split in (splits["train"], splits["val"]):
        for image, label, box, track in zip(split.images, split.labels, split.boxes, split.tracks, strict=True):
            assert track // 100_000 == label
            of = track % 100_000
            assert any(np.array_equal(image, frames[int(label), int(of), f]) for f in range(N_FRAMES))
            width, height = 25 + label % 5, 26 + of
            np.testing.assert_allclose(
                box, [5 * 16 / width, 6 * 16 / height, (width - 5) * 16 / width, (height - 4) * 16 / height], rtol=1e-6
            )
            seen += 1
    assert seen == len(frames)
    test = splits["test"]
    assert test.labels.tolist() == [k % 43 for k in range(50)]
    np.testing.assert_allclose(test.boxes[0], [3 / 30 * 16, 4 / 40 * 16, 24 / 30 * 16, 36 / 40 * 16], rtol=1e-6)
    assert (test.tracks == -1).all()


def test_no_track_on_both_sides_and_the_seed_decides(whole: Path) -> None:
    splits = load(whole.parent, seed=3)
    assert not set(splits["train"].tracks.tolist()) & set(splits["val"].tracks.tolist())
    assert np.bincount(splits["val"].labels, minlength=43).tolist() == [N_FRAMES] * 43
    assert load(whole.parent, seed=3)["val"].digest() == splits["val"].digest()
    assert load(whole.parent, seed=4)["val"].digest() != splits["val"].digest()


def edit_csv(tree: Path, line: int, text: str, label: int = 7) -> Path:
    """Replaces one line (counted from 1) of a class's CSV."""
    path = tree / f"GTSRB/Training/{label:05d}/GT-{label:05d}.csv"
    lines = path.read_text().splitlines()
    lines[line - 1] = text
    path.write_text("\n".join(lines) + "\n")
    return path


ROWS = {
    "fields": ("00000_00000.ppm;27;26;5;6;22;22", "7 fields, expected 8"),
    "not a number": ("00000_00000.ppm;27;26;five;6;22;22;7", "Roi.X1 = 'five'"),
    "fraction": ("00000_00000.ppm;27;26;5.5;6;22;22;7", "Roi.X1 = '5.5'"),
    "class 43": ("00000_00000.ppm;27;26;5;6;22;22;43", "ClassId 43, allowed 0..42"),
    "class -1": ("00000_00000.ppm;27;26;5;6;22;22;-1", "ClassId -1, allowed 0..42"),
    "other class": ("00000_00000.ppm;27;26;5;6;22;22;8", "ClassId 8 in the folder of class 7"),
    "empty ROI": ("00000_00000.ppm;27;26;22;6;22;22;7", "empty ROI"),
    "ROI outside": ("00000_00000.ppm;27;26;5;6;28;22;7", "reaches outside"),
    "ROI negative": ("00000_00000.ppm;27;26;-1;6;22;22;7", "reaches outside"),
    "path": ("../00008/00000_00000.ppm;27;26;5;6;22;22;7", "is not of the form"),
    "no such image": ("00099_00000.ppm;27;26;5;6;22;22;7", "00099_00000 is missing"),
    "other size": ("00000_00000.ppm;28;26;5;6;22;22;7", "its CSV row says 28 x 26"),
    "twice": ("00000_00001.ppm;27;26;5;6;22;22;7", "already named"),
}


@pytest.mark.parametrize("case", ROWS)
def test_bad_rows_are_named_with_file_and_line(tree: Path, case: str) -> None:
    text, expected = ROWS[case]
    path = edit_csv(tree, 2, text)
    with pytest.raises(UserError) as caught:
        load(tree.parent)
    assert expected in str(caught.value)
    if case == "other size":
        assert "00007/00000_00000.ppm: image of 27 x 26" in str(caught.value)
    else:
        assert f"{path}:{3 if case == 'twice' else 2}: " in str(caught.value)


def damage_header(tree: Path) -> str:
    return f"{edit_csv(tree, 1, 'Filename,Width,Height')}:1: header is"


def damage_encoding(tree: Path) -> str:
    path = tree / "GT-final_test.csv"
    path.write_bytes(b"\xff\xfe" + path.read_bytes())
    return f"{path}: unreadable"


def damage_cut_csv(tree: Path) -> str:
    path = tree / "GTSRB/Training/00007/GT-00007.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:4]) + "\n")
    return "00007/00001_00001.ppm: its CSV has no row for this image"


def damage_truncated(tree: Path) -> str:
    path = tree / "GTSRB/Training/00007/00001_00000.ppm"
    path.write_bytes(path.read_bytes()[:700])
    return f"{path}: truncated or corrupt image"


def damage_empty(tree: Path) -> str:
    path = tree / "GTSRB/Final_Test/Images/00011.ppm"
    path.write_bytes(b"")
    return f"{path}: empty file"


def damage_text(tree: Path) -> str:
    path = tree / "GTSRB/Final_Test/Images/00011.ppm"
    path.write_text("404: not found")
    return f"{path}: not an image"


def damage_bomb(tree: Path) -> str:
    path = tree / "GTSRB/Final_Test/Images/00011.ppm"
    path.write_bytes(b"P6\n60000 60000\n255\n" + bytes(100))
    return f"{path}: image too large"


def damage_smaller_bomb(tree: Path) -> str:
    path = tree / "GTSRB/Final_Test/Images/00011.ppm"
    path.write_bytes(b"P6\n9000 9000\n255\n" + bytes(100))
    return f"{path}: image of 9000 x 9000, its CSV row says 30 x 40"


def damage_no_class(tree: Path) -> str:
    shutil.rmtree(tree / "GTSRB/Training/00019")
    return "class 00019: class with no images"


def damage_empty_class(tree: Path) -> str:
    path = tree / "GTSRB/Training/00019"
    for image in path.glob("*.ppm"):
        image.unlink()
    return f"{path}/GT-00019.csv: class 19 has no images"


def damage_no_rows(tree: Path) -> str:
    path = tree / "GTSRB/Training/00019/GT-00019.csv"
    path.write_text(HEADER + "\n")
    return f"{path}: no usable row"


def damage_no_csv(tree: Path) -> str:
    (tree / "GTSRB/Training/00019/GT-00019.csv").unlink()
    return "class 00019: GT-00019.csv is missing"


def damage_extra_class(tree: Path) -> str:
    shutil.copytree(tree / "GTSRB/Training/00042", tree / "GTSRB/Training/00043")
    return "class folder 00043: allowed 00000..00042"


def damage_no_test_images(tree: Path) -> str:
    for image in (tree / "GTSRB/Final_Test/Images").iterdir():
        image.unlink()
    return "no test images"


def damage_same_image_twice(tree: Path) -> str:
    picture(1, 30, 40).save(tree / "GTSRB/Final_Test/Images/00011.png")
    return "keep one"


@pytest.mark.parametrize("damage", [f for name, f in sorted(globals().items()) if name.startswith("damage_")])
def test_damage_is_a_named_fault(tree: Path, damage: Callable[[Path], str]) -> None:
    expected = damage(tree)
    with pytest.raises(UserError) as caught:
        load(tree.parent)
    assert expected in str(caught.value)
    assert caught.value.next_step


def test_ten_faults_are_told_and_the_rest_counted(tree: Path) -> None:
    for k in range(13):
        (tree / f"GTSRB/Final_Test/Images/{k:05d}.ppm").write_bytes(b"x")
    with pytest.raises(UserError) as caught:
        load(tree.parent)
    assert caught.value.what.endswith("13 faults")
    assert len(caught.value.problems) == 11
    assert "00000.ppm" in caught.value.problems[0]
    assert caught.value.problems[-1] == "... and 3 more"


def test_damaged_archives(whole: Path, tmp_path: Path) -> None:
    base = tmp_path / "gtsrb"
    zip_tree(whole, base, ".webp")
    archive = base / "gtsrb_b.zip"
    data = archive.read_bytes()
    archive.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="not a whole zip archive"):
        load(tmp_path)
    # One byte inside one stored image: the archive's own checksum finds it.
    at = data.index(b"WEBP") + 60
    archive.write_bytes(data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :])
    with pytest.raises(UserError, match=r"gtsrb_b\.zip:GTSRB/Final_Test/Images/00000\.webp: .*CRC"):
        load(tmp_path)
    archive.write_bytes(data)
    shutil.copy(archive, base / "copy.zip")
    with pytest.raises(UserError, match="keep one"):
        load(tmp_path)


def test_two_training_sets_are_refused(tree: Path) -> None:
    shutil.copytree(tree / "GTSRB/Training", tree / "GTSRB/Final_Training/Images")
    with pytest.raises(UserError, match="two training sets"):
        load(tree.parent)


def test_the_complete_official_tree_is_read_too(tree: Path, whole: Path) -> None:
    (tree / "GTSRB/Final_Training").mkdir()
    (tree / "GTSRB/Training").rename(tree / "GTSRB/Final_Training/Images")
    assert load(tree.parent)["train"].digest() == load(whole.parent)["train"].digest()


def test_absent_data_name_the_remedies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEXAI_DATA", raising=False)
    monkeypatch.setenv("EDGEXAI_HOME", str(tmp_path / "home"))
    with pytest.raises(MissingCapability) as caught:
        load_gtsrb(TABLE, seed=0, data_root=None, progress=None)
    for remedy in ("EDGEXAI_DATA", "--data-root", "edgexai data fetch gtsrb"):
        assert remedy in caught.value.next_step
    monkeypatch.setenv("EDGEXAI_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"EDGEXAI_DATA: .*nowhere does not exist"):
        load_gtsrb(TABLE, seed=0, data_root=None, progress=None)
    (tmp_path / "gtsrb/GTSRB/Training").mkdir(parents=True)
    with pytest.raises(MissingCapability, match=r"incomplete: no GTSRB/Final_Test/Images, no GT-final_test\.csv"):
        load(tmp_path)


def test_environment_and_home_are_searched(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = load(whole.parent)["val"].digest()
    monkeypatch.setenv("EDGEXAI_DATA", str(whole.parent))
    assert load_gtsrb(TABLE, seed=0, data_root=None, progress=None)["val"].digest() == expected
    monkeypatch.delenv("EDGEXAI_DATA")
    monkeypatch.setenv("EDGEXAI_HOME", str(tmp_path))
    shutil.copytree(whole, tmp_path / "data" / "gtsrb")
    assert load_gtsrb(TABLE, seed=0, data_root=None, progress=None)["val"].digest() == expected
