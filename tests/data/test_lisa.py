"""LISA from official frames and from packed crops: three label maps, clips on one side, faults by file and line."""

from __future__ import annotations

import io
import os
import zipfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgexai.config.cards import read_card
from edgexai.config.recipe import DataTable
from edgexai.data.digest import source_digest
from edgexai.data.lisa import load_lisa
from edgexai.errors import MissingCapability, UserError
from edgexai.types import Split

HEADER = (
    "Filename;Annotation tag;Upper left corner X;Upper left corner Y;Lower right corner X;Lower right corner Y;"
    "Occluded,On another road;Origin file;Origin frame number;Origin track;Origin track frame number"
)
TAGS = ("stop", "yield", "speedLimit25", "speedLimit30", "dip", "merge")
CLIPS, FRAMES = 6, 2


def frame(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (60, 80, 3), dtype=np.uint8))


def signs() -> list[tuple[str, int, int, str, tuple[int, int, int, int]]]:
    """(frame path, seed, frame number, tag, box): every clip shows its own tag, and each third a "merge" beside it."""
    out = []
    for t, tag in enumerate(TAGS[:5]):
        for clip in range(CLIPS):
            for number in range(FRAMES):
                path = f"vid{t}/frameAnnotations/{tag}_{clip}.avi_image{number}.png"
                seed = t * 100 + clip * 10 + number
                out.append((path, seed, number, tag, (5 + clip, 6, 25 + t, 31)))
                if clip % 3 == 0:
                    out.append((path, seed, number, "merge", (40, 10, 60, 40)))
    return out


def write_frames(root: Path) -> Path:
    base = root / "lisa"
    lines = [HEADER]
    for path, seed, number, tag, (x1, y1, x2, y2) in signs():
        file = base / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            frame(seed).save(file)
        clip = file.name.split("_image")[0]
        lines.append(f"{path};{tag};{x1};{y1};{x2};{y2};0,0;a.avi;7;{clip};{number}")
    (base / "allAnnotations.csv").write_text("\r\n".join(lines) + "\r\n")
    return base


def write_packed(root: Path) -> Path:
    """The same signs as crops; clips 0 and 1 of every tag test."""
    base = root / "lisa"
    base.mkdir(parents=True)
    lines = ["file,tag,in17,split_track,w,h,track"]
    with zipfile.ZipFile(base / "lisa_crops.zip", "w") as archive:
        for k, (path, seed, _, tag, box) in enumerate(signs()):
            stream, crop = io.BytesIO(), frame(seed).crop(box)
            crop.save(stream, "WEBP", lossless=True)
            archive.writestr(f"crops/{tag}/{k}.webp", stream.getvalue())
            clip = path.rpartition("/")[2].split("_image")[0]
            side = "test" if clip.split("_")[1][0] in "01" else "train"
            lines.append(f"crops/{tag}/{k}.webp,{tag},1,{side},{crop.width},{crop.height},{clip}")
        archive.writestr("lisa_crops.csv", "\n".join(lines) + "\n")
    return base / "lisa_crops.zip"


def load(root: Path, name: str = "lisa", *, seed: int = 0) -> dict[str, Split]:
    return load_lisa(DataTable(name=name, size=16, validation=0.2), seed=seed, data_root=root, progress=None)


def pixels(splits: dict[str, Split]) -> dict[bytes, int]:
    return {image.tobytes(): int(k) for s in splits.values() for image, k in zip(s.images, s.labels, strict=True)}


def test_frames_and_crops_give_the_same_signs(tmp_path: Path) -> None:
    write_frames(tmp_path / "frames")
    write_packed(tmp_path / "packed")
    one, other = load(tmp_path / "frames"), load(tmp_path / "packed")
    assert pixels(one) == pixels(other)
    assert sum(map(len, one.values())) == len(signs()) == len(pixels(one))
    classes = read_card("lisa").classes
    for _, seed, _, tag, box in signs():
        small = np.asarray(frame(seed).crop(box).resize((16, 16), Image.Resampling.BILINEAR))
        assert classes[pixels(one)[small.tobytes()]] == tag
    assert all(np.isnan(s.boxes).all() for s in one.values())


@pytest.mark.parametrize("kind", ["frames", "packed"])
def test_clips_lie_on_one_side_and_every_class_on_all(tmp_path: Path, kind: str) -> None:
    (write_frames if kind == "frames" else write_packed)(tmp_path)
    splits = load(tmp_path)
    for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
        assert not set(splits[a].tracks.tolist()) & set(splits[b].tracks.tolist())
    for name in ("train", "test"):
        assert len(set(splits[name].labels.tolist())) == 6, name
    if kind == "packed":
        # Two clips of six of five tags, and "merge" where clip 0 shows it.
        assert len(splits["test"]) == 5 * 2 * FRAMES + 5 * FRAMES
    again = load(tmp_path, seed=1)
    assert again["test"].digest() == splits["test"].digest()
    assert again["val"].digest() != splits["val"].digest()


def test_label_maps_keep_join_and_leave_out(tmp_path: Path) -> None:
    write_frames(tmp_path)
    whole, some, joined = (load(tmp_path, name) for name in ("lisa", "lisa17", "lisa14"))
    counts: dict[str, dict[str, int]] = {}
    for name, splits in (("lisa", whole), ("lisa17", some), ("lisa14", joined)):
        counts[name] = defaultdict(int)
        for split in splits.values():
            for label in split.labels:
                counts[name][read_card(name).classes[label]] += 1
    per_tag = CLIPS * FRAMES
    tags = {"stop": per_tag, "yield": per_tag, "speedLimit25": per_tag, "speedLimit30": per_tag, "dip": per_tag}
    assert counts["lisa"] == {**tags, "merge": 20}
    assert counts["lisa17"] == {**{k: v for k, v in tags.items() if k != "dip"}, "merge": 20}
    assert counts["lisa14"] == {"stop": per_tag, "yield": per_tag, "speedlimit": 2 * per_tag, "merge": 20}
    # One clip is on one side in all three: the test signs of 17 and 14 classes are among those of 47.
    for splits in (some, joined):
        assert set(pixels({"test": splits["test"]})) <= set(pixels({"test": whole["test"]}))


def test_maps_are_the_published_ones() -> None:
    fourteen = read_card("lisa14")
    merged = sorted(k for k, v in fourteen.labels.items() if v == "speedlimit")
    assert merged == [f"speedLimit{v}" for v in (15, 25, 30, 40, 45, 50, 55, 65)]
    assert all(k == v for k, v in fourteen.labels.items() if v != "speedlimit")
    everything = set(read_card("lisa").classes)
    assert set(read_card("lisa17").classes) | set(fourteen.labels) <= everything


ROWS = {
    "fields": ("a.png;stop;1;2;9;9;0,0;a.avi;7;c", "10 fields, expected 11"),
    "number": ("a.png;stop;1;2;nine;9;0,0;a.avi;7;c;0", "box corner 'nine'"),
    "negative": ("a.png;stop;-1;2;9;9;0,0;a.avi;7;c;0", "box corner '-1'"),
    "empty": ("a.png;stop;9;2;9;9;0,0;a.avi;7;c;0", "empty box 9,2,9,9"),
    "tag": ("a.png;stopp;1;2;9;9;0,0;a.avi;7;c;0", "tag 'stopp' is none of LISA's 47"),
    "outside": ("../a.png;stop;1;2;9;9;0,0;a.avi;7;c;0", "file '../a.png' is not a path below the CSV"),
    "track": ("a.png;stop;1;2;9;9;0,0;a.avi;7;;0", "no track named"),
    "missing": ("nowhere.png;stop;1;2;9;9;0,0;a.avi;7;c;0", "nowhere.png is missing"),
}


@pytest.mark.parametrize("case", ROWS)
def test_bad_rows_are_named_with_file_and_line(tmp_path: Path, case: str) -> None:
    path = write_frames(tmp_path) / "allAnnotations.csv"
    lines = path.read_text().splitlines()
    lines[4] = ROWS[case][0]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError) as caught:
        load(tmp_path)
    assert f"{path}:5: {ROWS[case][1]}" in str(caught.value)


def test_damage_is_named(tmp_path: Path) -> None:
    base = write_frames(tmp_path / "a")
    path, seed, _, _, _ = signs()[0]
    frame(seed).crop((0, 0, 20, 20)).save(base / path)
    with pytest.raises(UserError, match=r"image of 20 x 20, its box .* reaches outside"):
        load(tmp_path / "a")
    (base / "allAnnotations.csv").write_text("Filename,Tag\n")
    with pytest.raises(UserError, match=r"allAnnotations\.csv:1: header is"):
        load(tmp_path / "a")
    archive = write_packed(tmp_path / "b")
    data = archive.read_bytes()
    archive.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"lisa_crops\.zip: unreadable"):
        load(tmp_path / "b")
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("readme", "x")
    with pytest.raises(UserError, match=r"no lisa_crops\.csv in it"):
        load(tmp_path / "b")
    (tmp_path / "c" / "lisa").mkdir(parents=True)
    (tmp_path / "c" / "lisa" / "allAnnotations.csv").write_text(HEADER)
    with pytest.raises(MissingCapability, match="without the folders of frames"):
        load(tmp_path / "c")


def test_the_three_cards_have_digests_of_their_own_that_follow_the_files(tmp_path: Path) -> None:
    base, home = write_frames(tmp_path), tmp_path / "home"
    tables = [DataTable(name=name) for name in ("lisa", "lisa14", "lisa17")]
    first = [source_digest(table, data_root=tmp_path, home=home) for table in tables]
    assert len(set(first)) == 3
    (base / signs()[0][0]).write_bytes(b"x")
    assert not set(first) & {source_digest(table, data_root=tmp_path, home=home) for table in tables}


@pytest.mark.data
def test_the_real_crops() -> None:
    root = os.environ.get("EDGEXAI_DATA")
    if not root or not (Path(root) / "lisa/lisa_crops.zip").is_file():
        pytest.skip("no packed lisa under EDGEXAI_DATA")
    expected = {"lisa": (6_987, 47, 1_597), "lisa17": (6_186, 17, 1_361), "lisa14": (5_096, 14, 1_092)}
    for name, (total, classes, tests) in expected.items():
        table = DataTable(name=name, size=16)
        splits = load_lisa(table, seed=0, data_root=Path(root), progress=None)
        assert sum(map(len, splits.values())) == total
        assert len(splits["test"]) == tests
        assert len(set(splits["train"].labels.tolist())) == classes
        sides = [set(split.tracks.tolist()) for split in splits.values()]
        assert sum(map(len, sides)) == len(set.union(*sides))
        # Every class of the two smaller maps is chosen on and tested.
        if name != "lisa":
            assert {len(set(splits[side].labels.tolist())) for side in ("val", "test")} == {classes}
