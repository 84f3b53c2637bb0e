"""``edgexai data`` and ``edgexai measure --data``: every card listed, own data added, corrupted data measured."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from edgexai.cli.main import main
from edgexai.config.cards import card_names
from edgexai.data.corruptions import CORRUPTIONS


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEXAI_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("EDGEXAI_DATA", raising=False)
    return tmp_path / "home"


def tree(root: Path) -> Path:
    for k, name in enumerate(("ant", "bee")):
        (root / name).mkdir(parents=True)
        for image in range(5):
            pixels = np.random.default_rng(k * 10 + image).integers(0, 256, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{image}.png")
    return root


def cifar(root: Path) -> Path:
    """Test images of one shade a class, so that a hand-made network knows them all."""
    inner = root / "cifar10" / "cifar-10-batches-py"
    inner.mkdir(parents=True)
    labels = np.arange(40) % 10
    noise = np.random.default_rng(0).integers(0, 3, (40, 3072))
    pixels = (20 + 20 * labels[:, None] + noise).astype(np.uint8)
    for name in (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"):
        content = {"data": pixels, "labels": labels.tolist()}
        (inner / name).write_bytes(pickle.dumps(content, protocol=2))
    return root


def engine(path: Path, *, classes: int = 10) -> Path:
    """Logit k = -(mean pixel - shade k)^2, as 2 mean shade - shade^2."""
    shades = (21 + 20 * np.arange(classes)).astype(np.float32) / 255
    weights = [
        numpy_helper.from_array((2 * shades[None] / 3).repeat(3, 0), "w"),
        numpy_helper.from_array(-(shades**2), "b"),
    ]
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "shades",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", classes])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return path


def test_ls_shows_every_card_and_survives_a_damaged_one(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "add", "mine", str(tree(tmp_path / "tree")), "--title", "my insects"]) == 0
    assert 'data.name = "mine"' in capsys.readouterr().out
    (home / "datasets" / "broken.toml").write_text("title = ")
    assert main(["data", "ls", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows) == set(card_names()) >= {"mine", "broken", "gtsrb", "lisa14", "cifar10c"}
    assert rows["mine"]["title"] == "my insects"
    assert rows["mine"]["classes"] == ["ant", "bee"]
    assert str(tmp_path / "tree") in rows["mine"]["here"]
    assert "not TOML" in rows["broken"]["fault"]
    for name, row in rows.items():
        if name != "broken":
            assert {"source", "licence", "citation", "classes", "traps", "digests"} <= set(row), name
    assert rows["cifar100"]["here"] is None
    assert main(["data", "ls"]) == 0
    text = capsys.readouterr().out
    assert "not here: edgexai data fetch cifar100" in text
    assert "not TOML" in text


def test_add_refuses_and_force_replaces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tree(tmp_path / "tree")
    assert main(["data", "add", "mine", str(root)]) == 0
    assert main(["data", "add", "mine", str(root)]) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["data", "add", "mine", str(root), "--force"]) == 0
    (root / "ant" / "0.png").write_text("x")
    assert main(["data", "add", "mine", str(root), "--force"]) == 2
    assert "ant/0.png: not an image" in capsys.readouterr().err


def test_check_says_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["data", "add", "mine", str(tree(tmp_path / "tree"))])
    capsys.readouterr()
    assert main(["data", "check", "mine"]) == 0
    text = capsys.readouterr().out
    assert "mine.train: 6 images, 2 of 2 classes" in text
    assert "beware: No tracks" in text
    root = cifar(tmp_path / "data")
    # Their digests are not those of the published batches: a file that only looks official is told.
    assert main(["data", "check", "cifar10", "--data-root", str(root)]) == 2
    assert "6 files are not the published ones" in capsys.readouterr().err


def test_fetch_says_where_to_ask_when_nobody_offers_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "fetch", "lisa17"]) == 2
    assert "LISA Traffic Sign Dataset" in capsys.readouterr().err
    assert main(["data", "fetch", "signs"]) == 0
    assert main(["data", "fetch", "gstrb"]) == 2
    assert 'did you mean "gtsrb"?' in capsys.readouterr().err


def test_fetch_of_cifar_without_network_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    (tmp_path / "data").mkdir()
    assert main(["data", "fetch", "cifar10", "--data-root", str(tmp_path / "data")]) == 3
    said = capsys.readouterr().err
    assert "cifar10 could not be downloaded" in said
    assert "unpack cifar-10-binary.tar.gz in" in said


def test_an_engine_is_measured_under_every_corruption(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = cifar(tmp_path / "data"), tmp_path / "rows.jsonl"
    words = ["measure", str(engine(tmp_path / "shades.onnx")), "--data", "cifar10c", "--data-root", str(root)]
    assert main([*words, "--n", "20", "--out", str(out)]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    clean = [row for row in rows if row["metric"] == "clean_acc"]
    assert [(row["value"], row["n"], row["split"]) for row in clean] == [(1.0, 20, "test")]
    bad = [row for row in rows if row["metric"] == "corruption_acc"]
    assert {(row["detail"]["corruption"], row["detail"]["severity"]) for row in bad} == {
        (name, s) for name in CORRUPTIONS for s in range(1, 6)
    }
    assert all(
        row["n"] == 20 and row["split"] == f"{row['detail']['corruption']}_{row['detail']['severity']}" for row in bad
    )
    value = {row["split"]: row["value"] for row in bad}
    # A network of mean shades: blur and contrast change no mean, brightness moves it by whole classes.
    assert value["contrast_5"] == value["gaussian_blur_5"] == 1.0
    assert value["brightness_5"] < 0.3
    text = capsys.readouterr().out
    assert "mean of 95 corruptions and severities" in text
    # Every look at a test split is in the log.
    assert len((home / "test_evaluations.jsonl").read_text().splitlines()) == 96


def test_measure_refuses_unknown_data_and_other_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(engine(tmp_path / "shades.onnx", classes=7))
    assert main(["measure", path, "--data", "cifar11"]) == 2
    assert 'did you mean "cifar10"?' in capsys.readouterr().err
    root = cifar(tmp_path / "data")
    assert main(["measure", path, "--data", "cifar10", "--data-root", str(root)]) == 2
    assert "7 classes, the data set 10" in capsys.readouterr().err
