"""The evidence stages on a network of a few channels: validation instead of test, corruptions, stability, verdicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recipes_for_tests import loaded

from edgexai.data import pack
from edgexai.data.dataset import Dataset
from edgexai.models import store
from edgexai.models.arch import Arch
from edgexai.recipe import STAGES
from edgexai.recipe.job import Job
from edgexai.recipe.plan import Node, plan
from edgexai.types import Row, Split

SIZES = {"train": 15, "val": 20, "test": 25}
SMALL: dict[str, Any] = {
    "export.precision": "fp32",
    "measure.n": 12,
    "measure.explain_n": 7,
    "measure.explainers": ["vg", "cam"],
    "measure.attacks": ["fgsm"],
    "measure.eps": ["8/255"],
}
ON_VAL = {
    "measure.split": "val",
    "measure.corruptions": ["fog", "pixelate"],
    "measure.corruption_severities": [2, 5],
    "measure.corruption_n": 9,
    "measure.stability_n": 4,
    "measure.attacks": ["fgsm", "patch", "sticker"],
    "measure.patch_n": 6,
    "measure.patch_steps": 2,
}


def split(name: str, seed: int) -> Split:
    rng, n = np.random.default_rng(seed), SIZES[name]
    boxes = np.tile(np.array([4, 4, 26, 24], np.float32), (n, 1))
    images = rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    return Split(name, images, np.arange(n, dtype=np.int64) % 5, boxes, np.arange(n, dtype=np.int64))


def evidence(root: Path, changes: dict[str, Any], *, test_seed: int = 3) -> dict[str, Path]:
    """Runs every stage from export on; node name -> what it left."""
    splits = {"train": split("train", 1), "val": split("val", 2), "test": split("test", test_seed)}
    folders = {"data": root / "data", "train": root / "train"}
    folders["data"].mkdir(parents=True)
    pack.write(Dataset("signs", tuple("abcde"), splits, (0.5,) * 3, (0.25,) * 3), folders["data"])
    store.save(store.build(Arch("signnet", (8,) * 8, 5, 32, (0.5,) * 3, (0.25,) * 3), seed=0), folders["train"])
    (folders["train"] / "meta.json").write_text(json.dumps({"files": {"weights.safetensors": {"sha256": "0"}}}))
    (folders["train"] / "summary.json").write_text(json.dumps({"macs": 1, "parameters": 1}))
    for node in nodes({**SMALL, **changes}):
        if node.name not in folders:
            out = root / node.name
            out.mkdir()
            inputs = {role: folders[name] for role, name in node.inputs.items()}
            table = json.loads(json.dumps(node.table))
            job = Job(node.name, node.stage, node.arm, table, inputs, out, root, 0, "cpu", None, lambda _: None)
            STAGES[node.stage].load()(job)
            folders[node.name] = out
    return folders


def nodes(changes: dict[str, Any]) -> list[Node]:
    return plan(loaded("natural", changes).recipe, data_digest="d", machine="m")


def rows_of(folders: dict[str, Path]) -> list[Row]:
    return [Row.from_json(line) for line in (folders["compare"] / "rows.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def on_val(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return evidence(tmp_path_factory.mktemp("val"), {**ON_VAL, "gate.clean_acc": ">= 0.0"})


@pytest.fixture(scope="module")
def on_test(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return evidence(tmp_path_factory.mktemp("test"), {"gate.clean_acc": ">= 0.0"})


@pytest.mark.slow
def test_every_row_is_of_the_split_asked_for(on_val: dict[str, Path], on_test: dict[str, Path]) -> None:
    assert {row.split for row in rows_of(on_val)} == {"val", "none"}
    measured = [row for row in rows_of(on_test) if row.metric != "agreement"]  # the parity gate's is of validation
    assert {row.split for row in measured} == {"test", "none"}
    clean = {row.n for row in rows_of(on_val) if row.metric == "clean_acc"}
    assert clean == {SIZES["val"]}
    assert {row.n for row in rows_of(on_test) if row.metric == "clean_acc"} == {SIZES["test"]}


@pytest.mark.slow
def test_the_test_images_decide_nothing_on_validation(on_val: dict[str, Path], tmp_path: Path) -> None:
    """With other test images all rows but timings stay."""
    other = evidence(tmp_path, {**ON_VAL, "gate.clean_acc": ">= 0.0"}, test_seed=9)
    timed = ("latency_ms", "throughput")
    one, two = ([r.to_json() for r in rows_of(f) if r.metric not in timed] for f in (on_val, other))
    assert one == two
    with np.load(on_val["measure[natural]"] / "pictures" / "natural.npz") as pictures:
        known = {image.tobytes() for image in split("val", 2).images}
        assert all(image.tobytes() in known for image in pictures["images"])


@pytest.mark.slow
def test_gates_are_decided_on_the_measured_split(on_val: dict[str, Path], on_test: dict[str, Path]) -> None:
    for folders, name in ((on_val, "val"), (on_test, "test")):
        (gate,) = json.loads((folders["compare"] / "gates.json").read_text())
        (clean,) = [r for r in rows_of(folders) if (r.metric, r.artefact, r.split) == ("clean_acc", "fp32", name)]
        assert gate["passed"]
        assert gate["value"] == clean.value
        assert gate["bound"] == clean.low


@pytest.mark.slow
def test_corruptions_and_stability_leave_rows_and_verdicts(on_val: dict[str, Path]) -> None:
    rows = rows_of(on_val)
    found = {(r.detail["corruption"], r.detail["severity"]): r for r in rows if r.metric == "corruption_acc"}
    assert set(found) == {("fog", 2), ("fog", 5), ("pixelate", 2), ("pixelate", 5), ("mean", "all")}
    assert {r.n for r in found.values()} == {9}
    each = [r.value for key, r in found.items() if key[0] != "mean" and r.value is not None]
    assert found["mean", "all"].value == pytest.approx(np.mean(each))
    stable = [r for r in rows if r.metric == "relative_input_stability"]
    assert {(r.detail["explainer"], r.subject, r.artefact, r.split) for r in stable} == {
        ("vg", "twin", "twin", "val"),
        ("cam", "twin", "twin", "val"),
    }
    with np.load(on_val["measure[natural]"] / "verdicts.npz") as verdicts:
        assert verdicts["fp32|corruption/fog_2"].shape == verdicts["fp32|corruption/mean"].shape == (9,)
        assert verdicts["twin|ris/vg"].shape == (4,)


@pytest.mark.slow
def test_prints_on_the_sign_are_measured_on_engine_and_differences(on_val: dict[str, Path]) -> None:
    rows = [row for row in rows_of(on_val) if row.detail.get("attack") in ("patch", "patch-random", "sticker")]
    of_engine = [row for row in rows if row.metric == "robust_acc" and row.artefact == "fp32"]
    assert {row.detail["attack"] for row in of_engine} == {"patch", "patch-random", "sticker"}
    for row in of_engine:
        assert (row.n, row.split, row.detail["area"], row.detail["region"]) == (6, "val", 0.1, "box")
        assert 0.05 < float(row.detail["area_of_region"]) < 0.15
        assert "eps" not in row.detail


@pytest.mark.slow
def test_values_per_image_are_kept(on_test: dict[str, Path]) -> None:
    rows = rows_of(on_test)
    with np.load(on_test["measure[natural]"] / "verdicts.npz") as file:
        verdicts = dict(file)
    confidence = verdicts["fp32|confidence"]
    assert confidence.shape == (12,)
    assert (confidence >= 1 / 5).all()  # the largest of five probabilities
    assert (confidence <= 1).all()
    for name, metric in (("deletion", "deletion_auc"), ("insertion", "insertion_auc"), ("pointing", "pointing_game")):
        for explainer in ("vg", "cam", "random"):
            (row,) = [r for r in rows if r.metric == metric and r.detail["explainer"] == explainer]
            values = verdicts[f"fp32|{name}/{explainer}"]
            assert values.shape == (7,)
            assert np.nanmean(values) == pytest.approx(row.value)
    assert not [name for name in verdicts if "corruption" in name or "ris/" in name]


def test_tables_say_nothing_of_what_is_off() -> None:
    """What came later is absent, so stored results keep their keys."""
    before = {"explainers", "attacks", "eps", "n", "clean_n", "pgd_steps", "square_queries", "square_n", "explain_n"}
    before |= {"lime_samples"}
    by = {node.stage: node.table for node in nodes({})}
    assert set(by["probe"]) == before
    assert set(by["measure"]) == before | {"engine"}
    assert set(by["latency"]) == {"runtime", "threads"}
    assert set(by["compare"]) == {"final_arm"}
    asked = {node.stage: node.table for node in nodes(ON_VAL)}
    assert set(asked["probe"]) == before | {"split", "stability_n", "patch_n", "patch_area", "patch_steps"}
    assert set(asked["latency"]) == {"runtime", "threads", "split"}
    assert set(asked["compare"]) == {"final_arm", "split"}
