"""``edgexai explain RUN``: the deployed file for the black-box kind, the twin from the store for gradients."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_explain_foreign import CLASSES, write

from edgexai.cli.explain_model import open_model
from edgexai.cli.main import main
from edgexai.engine.foreign import Preprocessing
from edgexai.models import store
from edgexai.models.arch import Arch

NAMES = ["stop", "yield", "limit", "other"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder as a recipe with precision = "fp16" leaves it, its twin in the store."""
    home = tmp_path / "home"
    monkeypatch.setenv("EDGEXAI_HOME", str(home))
    net = store.build(Arch("lisa_cnn", (8, 8, 8), CLASSES, 28, (0.5,) * 3, (0.25,) * 3), seed=0)
    store.save(net, home / "store" / "train" / "k1")
    folder = home / "runs" / "mine" / "0123456789ab"
    (folder / "engine").mkdir(parents=True)
    for name in ("fp16", "fp32"):
        write(folder / "engine" / f"{name}.onnx", sides=(28, 28), metadata={"edgexai.classes": json.dumps(NAMES)})
    nodes = [
        {"name": "train", "stage": "train", "arm": "natural", "key": "k1", "inputs": {}},
        {"name": "export", "stage": "export", "arm": "natural", "key": "k2", "inputs": {"network": "train"}},
    ]
    (folder / "recipe.lock.json").write_text(json.dumps({"nodes": nodes}))
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Two pictures, with names that would lead astray."""
    rng = np.random.default_rng(2)
    paths = [tmp_path / name for name in ("...png", "sheet.png.png")]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(path, format="PNG")
    return paths


def test_what_is_explained_is_the_file_that_is_deployed(run: Path) -> None:
    assert open_model("mine", Preprocessing(), labels=None).subject == "engine (fp16)"
    opened = open_model(str(run), Preprocessing(), labels=None, on="twin")
    assert opened.subject == "twin"
    (run / "engine" / "fp16.onnx").unlink()
    assert open_model("mine", Preprocessing(), labels=None).subject == "engine (fp32)"


@pytest.mark.parametrize("told", ["{", "5", '{"a": 1}', '["one"]'])
def test_class_names_that_make_no_sense_are_left_out(told: str, tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", metadata={"edgexai.classes": told})
    assert open_model(str(path), Preprocessing(), labels=None).classes == ()


def test_engine_and_twin_are_explained_side_by_side(
    run: Path, photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, files = tmp_path / "deep" / "out", [str(photo) for photo in photos]
    before = sorted(p.name for p in tmp_path.iterdir())
    words = ["explain", "mine", *files, "--method", "vg,occlusion,edges", "--sanity", "--out", str(out)]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    subjects = {name: method["subject"] for name, method in told["methods"].items()}
    assert subjects == {"vg": "twin", "occlusion": "engine (fp16)", "edges": "none"}
    assert told["images"][0]["target_name"] in NAMES
    assert told["methods"]["edges"]["sanity"]["passed"] is False
    assert told["methods"]["vg"]["backwards_per_image"] == 1
    assert sorted(p.name for p in out.iterdir()) == [
        "explanations.json", "image", "maps.npz", "sheet.png", "sheet_png"
    ]  # fmt: skip
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*before, "deep"])
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["out"]


def test_what_cannot_be_done_is_said_before_anything_is_written(
    run: Path, photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, one = tmp_path / "out", str(photos[0])
    assert main(["explain", "mine", one, "--sanity", "--out", str(out)]) == 2
    assert "one picture" in capsys.readouterr().err
    file = str(run / "engine" / "fp16.onnx")
    assert main(["explain", file, one, "--method", "rise,vg", "--out", str(out)]) == 3
    said = capsys.readouterr().err
    assert "vg needs gradients" in said
    assert "explain 1/" not in said  # rise was not run first
    assert main(["explain", "mine", one, "--mean", "0.5", "--out", str(out)]) == 2
    assert "own preprocessing" in capsys.readouterr().err
    assert not out.exists()


def test_a_mark_that_the_crop_leaves_out_costs_the_score_and_not_the_maps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = tmp_path / "wide.png"
    Image.fromarray(np.random.default_rng(3).integers(0, 256, (20, 60, 3), dtype=np.uint8)).save(wide)
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("path,x1,y1,x2,y2\nwide.png,0,0,5,20\n")
    words = ["explain", str(write(tmp_path / "m.onnx")), str(wide), "--method", "occlusion", "--boxes", str(boxes)]
    out = tmp_path / "out"
    assert main([*words, "--out", str(out)]) == 0
    assert json.loads((out / "explanations.json").read_text())["methods"]["occlusion"]["located"] is None
    assert (out / "wide" / "occlusion.png").is_file()
    assert "occlusion" in capsys.readouterr().out
