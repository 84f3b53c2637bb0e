"""Boxes reach the network's input where the picture does, and maps are scored against them from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgexai.cli.main import main
from edgexai.data.picture import read_picture
from edgexai.data.picture_boxes import picture_boxes
from edgexai.errors import UserError
from edgexai.measure.located import located

# Class 1's logit is the red of 8 x 8 pixels at (8, 8), class 0's is nothing: the gradient lies there and only there.
NET = """
import torch
from torch import nn
class Patch(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, 3, 32, 32))
        with torch.no_grad():
            self.weight[:, 0, 8:16, 8:16] = 1.0
    def forward(self, images):
        seen = (images * self.weight).sum((1, 2, 3)) + 0.1
        return torch.stack([torch.zeros_like(seen), seen], 1)
def make(n_classes, size):
    assert (n_classes, size) == (2, 32)
    return Patch()
"""


def picture(path: Path, size: tuple[int, int], box: tuple[int, int, int, int] | None = None) -> Path:
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    if box is not None:
        pixels[box[1] : box[3], box[0] : box[2]] = 255
    Image.fromarray(pixels).save(path)
    return path


def boxes_file(path: Path, lines: list[str]) -> Path:
    path.write_text("path,x1,y1,x2,y2\n" + "\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("fit", ["crop", "squash"])
@pytest.mark.parametrize("size", [(100, 50), (50, 100), (64, 64), (300, 217)])
def test_where_the_white_box_is_seen(tmp_path: Path, fit: str, size: tuple[int, int]) -> None:
    """A white box on black, read as the network sees it, is white where the file of boxes says."""
    box = (size[0] // 3, size[1] // 4, size[0] // 3 + size[0] // 4, size[1] - 5)
    shown = picture(tmp_path / "a.png", size, box)
    file = boxes_file(tmp_path / "boxes.csv", [f"a.png,{','.join(str(v) for v in box)}"])
    found = picture_boxes(file, [shown], (40, 32), fit=fit)[0]  # type: ignore[arg-type]
    seen = read_picture(shown, (40, 32), fit=fit)[0]  # type: ignore[arg-type]
    sure = (seen < 0.02) | (seen > 0.98)  # at the box's rim a pixel is partly white
    assert sure.mean() > 0.8
    assert ((seen > 0.5) == found)[sure].all()
    assert 0 < found.mean() < 1


def test_cropped_by_hand(tmp_path: Path) -> None:
    """Of 100 x 50 the middle 50 x 50 is seen: a box from 25 to 50 is its left half, one beyond 75 is not in it."""
    shown = [picture(tmp_path / name, (100, 50)) for name in ("a.png", "b.png")]
    file = boxes_file(tmp_path / "boxes.csv", ["a.png,25,0,50,50", "b.png,80,0,100,50", "c.png,0,0,1,1"])
    found = picture_boxes(file, shown, (10, 10))
    assert found[0, :, :5].all()
    assert not found[0, :, 5:].any()
    assert not found[1].any()


def test_several_boxes_and_both_forms(tmp_path: Path) -> None:
    shown = picture(tmp_path / "a.png", (20, 20))
    told = boxes_file(tmp_path / "boxes.csv", ["a.png,0,0,5,5", f"{tmp_path / 'a.png'},10,10,20,15"])
    as_json = tmp_path / "boxes.json"
    as_json.write_text(json.dumps([{"file": "a.png", "boxes": [[0, 0, 5, 5], [10, 10, 20, 15]], "label": "x"}]))
    one, other = picture_boxes(told, [shown], (20, 20)), picture_boxes(as_json, [shown], (20, 20))
    assert np.array_equal(one, other)
    assert one.sum() == 25 + 50


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,x1,y1,x2,y2\nb.png,0,0,1,1\n", "no box for"),
        ("path,x1,y1,x2\na.png,0,0,1\n", "no column y2"),
        ("path,x1,y1,x2,y2\na.png,0,0,0,1\n", "line 2: box .* is empty"),
        ("path,x1,y1,x2,y2\na.png,0,zero,1,1\n", "line 2: .* is not a box"),
        ("path,x1,y1,x2,y2\na.png,0,0,1\n", "line 2: .* is not a box"),
        ("x1,y1,x2,y2,path\n0,0,1,1\n", "names no picture"),
        ("path,x1,y1,x2,y2\n" + "a" * 200_000 + ",0,0,1,1\n", "field larger"),
        ("path,x1,y1,x2,y2\na\0.png,0,0,1,1\n", "names no picture|NUL"),
    ],
)
def test_bad_files_are_said(tmp_path: Path, text: str, said: str) -> None:
    shown = picture(tmp_path / "a.png", (20, 20))
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(UserError, match=said):
        picture_boxes(tmp_path / "boxes.csv", [shown], (20, 20))


@pytest.mark.parametrize("text", ["{", "[1]", '[{"file": "a.png"}]', '[{"file": "a.png", "boxes": [[1, 2, 3]]}]'])
def test_bad_json_is_said(tmp_path: Path, text: str) -> None:
    shown = picture(tmp_path / "a.png", (20, 20))
    (tmp_path / "boxes.json").write_text(text)
    with pytest.raises(UserError, match=r"wanted a JSON list|is not a box"):
        picture_boxes(tmp_path / "boxes.json", [shown], (20, 20))


def test_scores_by_hand() -> None:
    """The mark's own map scores one, its opposite nothing, an even chance the mark's area."""
    mark = np.zeros((40, 32, 32), dtype=np.bool_)
    mark[:, 8:24, 4:20] = True
    best = located(mark.astype(np.float32), mark, seed=0)
    assert (best.n, best.pointing.value, best.inside.value, best.area, best.tolerance) == (40, 1.0, 1.0, 0.25, 2)
    worst = np.zeros((40, 32, 32), np.float32)
    worst[:, 31, 31] = 1
    assert located(worst, mark, seed=0).pointing.value == 0
    chance = located(np.random.default_rng(0).random((40, 32, 32), dtype=np.float32), mark, seed=0)
    assert chance.inside.low <= 0.25 <= chance.inside.high
    flat = worst.copy()
    flat[:10] = 0
    assert located(flat, mark, seed=0).n == 30
    with pytest.raises(UserError, match="points anywhere"):
        located(np.zeros((40, 32, 32), np.float32), mark, seed=0)


def test_a_network_of_ones_own_scored_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "patchnet.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    for name in ("a", "b", "c"):
        Image.fromarray(rng.integers(60, 255, (32, 32, 3), dtype=np.uint8)).save(f"{name}.png")
    boxes_file(tmp_path / "boxes.csv", ["a.png,8,8,16,16", "b.png,6,6,18,18", "c.png,24,24,32,32"])
    command = ["explain", "patchnet:make", "a.png", "b.png", "c.png", "--size", "32", "--classes", "2"]
    assert main([*command, "--method", "vg,occlusion", "--boxes", "boxes.csv", "--out", "out"]) == 0
    assert "67 % [" in capsys.readouterr().out  # c's box lies where the network does not look
    told = json.loads((tmp_path / "out/explanations.json").read_text())
    found = told["methods"]["vg"]["located"]
    assert found["n"] == 3
    assert found["pointing"][0] == pytest.approx(2 / 3)
    assert found["inside"][0] == pytest.approx(2 / 3)
    assert found["area"] == pytest.approx((64 + 144 + 64) / 3 / 1024)
    assert told["subject"] == "twin"
    assert {p["target"] for p in told["images"]} == {1}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--size", "32"], "how many classes"),
        (["--size", "32", "--classes", "2", "--mean", "0.5"], "images in"),
        (["--size", "32x40", "--classes", "2"], "square"),
        (["--size", "32", "--classes", "2", "--on", "twin"], "leave it out"),
        (["--size", "32", "--classes", "2", "--data", "signs"], "or two things"),
        (["--size", "32", "--classes", "2", "--boxes", "none.csv"], "cannot be read"),
        (["--size", "32", "--classes", "2", "--weights", "none.safetensors"], "cannot be read"),
    ],
)
def test_what_does_not_go_together(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    said: str,
) -> None:
    (tmp_path / "patchnet.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "a.png", (32, 32))
    assert main(["explain", "patchnet:make", "a.png", *options, "--method", "vg"]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "explained").exists()
