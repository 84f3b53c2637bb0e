"""The ledger stage on networks of a few channels: every step, its floors from a real rebuild, pictures, gates, keys."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from recipes_for_tests import loaded
from test_evidence_stages import SMALL

from edgexai.data import pack
from edgexai.data.dataset import Dataset
from edgexai.models import store
from edgexai.models.arch import Arch
from edgexai.models.base import Network
from edgexai.recipe import STAGES
from edgexai.recipe.job import Job
from edgexai.recipe.plan import Node, plan
from edgexai.types import Row, Split

pytestmark = pytest.mark.slow

PRUNED: dict[str, Any] = {
    **SMALL,
    "export.precision": "int8",
    "export.calibration_images": 32,
    "export.min_agreement": 0.0,
    "prune.finetune_epochs": 1,
    "prune.lr": 0.0005,
    "prune.round_to": 8,
    "measure.explainers": ["vg", "smoothgrad", "cam", "lime"],
    "measure.lime_samples": 64,
    "measure.ledger_n": 6,
    "gate.map_drift explainer=lime": "<= 5",
    "gate.map_drift explainer=cam step=int8-tensorrt": "<= 0.0",
}


def split(name: str, seed: int) -> Split:
    """Enough training images that two draws of calibration differ."""
    rng, n = np.random.default_rng(seed), {"train": 150, "val": 20, "test": 25}[name]
    boxes = np.tile(np.array([4, 4, 26, 24], np.float32), (n, 1))
    images = rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    return Split(name, images, np.arange(n, dtype=np.int64) % 5, boxes, np.arange(n, dtype=np.int64))


def network() -> Network:
    """Drawn, not trained, but with a head that tells images apart."""
    net = store.build(Arch("signnet", (16,) * 8, 5, 32, (0.5,) * 3, (0.25,) * 3), seed=0)
    with torch.no_grad():
        net.head.weight *= 20
    return net


def nodes(changes: dict[str, Any]) -> list[Node]:
    return plan(loaded("pruned", changes).recipe, data_digest="d", machine="m")


def run(root: Path) -> dict[str, Path]:
    """Every stage but training and timing; node name -> what it left."""
    splits = {"train": split("train", 1), "val": split("val", 2), "test": split("test", 3)}
    folders = {"data": root / "data", "train": root / "train"}
    folders["data"].mkdir(parents=True)
    pack.write(Dataset("signs", tuple("abcde"), splits, (0.5,) * 3, (0.25,) * 3), folders["data"])
    store.save(network(), folders["train"])
    (folders["train"] / "summary.json").write_text(json.dumps({"macs": 1, "parameters": 1}))
    for node in nodes(PRUNED):
        if node.name not in folders and node.stage != "latency":
            folders[node.name] = build(node, folders, root)
        if node.stage in ("train", "prune"):
            weights = {"files": {"weights.safetensors": {"sha256": "0"}}}
            (folders[node.name] / "meta.json").write_text(json.dumps(weights))
    return folders


def build(node: Node, folders: dict[str, Path], root: Path) -> Path:
    out, work = root / node.name, root / f"{node.name}.work"
    out.mkdir()
    work.mkdir()
    inputs = {role: folders[name] for role, name in node.inputs.items() if name in folders}
    table = json.loads(json.dumps(node.table))
    job = Job(node.name, node.stage, node.arm, table, inputs, out, work, 0, "cpu", None, lambda _: None)
    STAGES[node.stage].load()(job)
    return out


def shift_logits(path: Path, by: float, *, label: int) -> None:
    """Adds ``by`` to the logit of one class: the damage that the ledger must show."""
    model = onnx.load(path)
    for node in model.graph.node:
        node.output[:] = ["logits_before" if name == "logits" else name for name in node.output]
        node.input[:] = ["logits_before" if name == "logits" else name for name in node.input]
    shift = np.zeros((1, 5), np.float32)
    shift[0, label] = by
    model.graph.initializer.append(numpy_helper.from_array(shift, "logits_shift"))
    model.graph.node.append(onnx.helper.make_node("Add", ["logits_before", "logits_shift"], ["logits"]))
    onnx.save(model, path)


def rows_of(folder: Path) -> list[Row]:
    return [Row.from_json(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def value(rows: list[Row], metric: str, step: str, **about: str) -> float:
    (row,) = [
        r for r in rows if r.metric == metric and r.detail.get("step") == step and about.items() <= {**r.detail}.items()
    ]
    assert row.value is not None
    return row.value


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return run(tmp_path_factory.mktemp("ledger"))


def test_every_step_is_in_the_table(calm: dict[str, Path]) -> None:
    rows = rows_of(calm["ledger"])
    steps = list(dict.fromkeys(str(row.detail["step"]) for row in rows))
    path = ["natural", "pruned", "fine-tuned", "fp32", "int8-tensorrt", "int8-x86"]
    assert steps == [*path, "rebuilt 1", "rebuilt 2", "own seed (twin)", "own seed"]
    twins = {"natural", "pruned", "fine-tuned", "own seed (twin)"}
    for row in rows:
        assert (row.subject == "twin") == (row.detail["step"] in twins)
        assert row.subject == "engine" or row.artefact == "twin"
        assert row.status == "measured" or row.reason
        explainer = row.detail.get("explainer")
        if explainer is not None and row.subject == "engine":
            assert explainer in ("lime", "cam")  # gradients live in the twin alone
    for explainer in ("vg", "smoothgrad", "cam", "lime"):
        assert [r for r in rows if r.metric == "map_drift" and r.detail.get("explainer") == explainer]
    against = {(r.detail["step"], r.detail.get("against")) for r in rows if r.metric == "agreement"}
    assert {("fp32", "fine-tuned"), ("int8-tensorrt", "fp32"), ("int8-tensorrt", "fine-tuned")} <= against
    assert {("rebuilt 1", "int8-tensorrt"), ("pruned", "natural")} <= against
    assert {("fine-tuned", "pruned"), ("fine-tuned", "natural")} <= against  # what the cut undid, and what is left


def test_the_export_changes_nothing_and_deterministic_explainers_have_no_seed(calm: dict[str, Path]) -> None:
    rows = rows_of(calm["ledger"])
    assert value(rows, "agreement", "fp32", against="fine-tuned") == 1
    assert value(rows, "logit_drift", "fp32", against="fine-tuned") < 1e-4
    assert value(rows, "map_drift", "fp32", explainer="cam", against="fine-tuned") < 1e-3
    for explainer in ("vg", "cam"):
        assert value(rows, "map_drift", "own seed (twin)", explainer=explainer) == pytest.approx(0, abs=1e-9)
    assert value(rows, "map_drift", "own seed (twin)", explainer="smoothgrad") > 1e-3
    assert value(rows, "map_drift", "own seed", explainer="lime") > 1e-3


def test_rebuilding_is_a_real_rebuild(calm: dict[str, Path]) -> None:
    """Another calibration draw gives another file, so its drift is above 0; two draws differ from each other."""
    rows = rows_of(calm["ledger"])
    drifts = [value(rows, "logit_drift", f"rebuilt {k}") for k in (1, 2)]
    assert min(drifts) > 0
    assert drifts[0] != drifts[1]
    (beside,) = [
        r
        for r in rows
        if r.metric == "logit_drift" and r.detail == {**r.detail, "step": "int8-tensorrt", "against": "fp32"}
    ]
    assert beside.detail["floor_rebuilt"] == pytest.approx(np.mean(drifts))


def test_a_shifted_engine_is_seen(calm: dict[str, Path], tmp_path: Path) -> None:
    (node,) = [node for node in nodes(PRUNED) if node.stage == "ledger"]
    shutil.copytree(calm["export[pruned]"], tmp_path / "export")
    decided = np.load(calm["probe[pruned]"] / "logits.npy").argmax(1)
    rarest = int(np.bincount(decided, minlength=5).argmin())
    shift_logits(tmp_path / "export" / "int8-tensorrt.onnx", 50.0, label=rarest)
    spoilt = rows_of(build(node, {**calm, "export[pruned]": tmp_path / "export"}, tmp_path))
    before = rows_of(calm["ledger"])
    moved = value(spoilt, "logit_drift", "int8-tensorrt", against="fp32")
    assert moved == pytest.approx(50.0 / 5, abs=value(before, "logit_drift", "int8-tensorrt", against="fp32") + 1e-3)
    (row,) = [
        r
        for r in spoilt
        if r.metric == "agreement" and (r.detail["step"], r.detail.get("against")) == ("int8-tensorrt", "fp32")
    ]
    assert row.value is not None
    assert row.value < 0.9


def test_pictures_follow_the_contract(calm: dict[str, Path]) -> None:
    with np.load(calm["ledger"] / "pictures" / "drift_pruned.npz", allow_pickle=False) as found:
        arrays = dict(found)
    k = len(arrays["images"])
    assert k >= 3
    assert arrays["images"].dtype == np.uint8
    assert arrays["images"].shape[1:] == (32, 32, 3)
    assert arrays["map_before"].shape == arrays["map_after"].shape == (k, 32, 32)
    assert (np.diff(arrays["drift"]) <= 0).all()
    known = {image.tobytes() for image in split("test", 3).images}
    assert all(image.tobytes() in known for image in arrays["images"])
    for name in ("labels", "pred_before", "pred_after", "step", "explainer"):
        assert arrays[name].shape == (k,)


def test_the_ledger_reaches_the_rows_and_the_gates(calm: dict[str, Path]) -> None:
    rows = rows_of(calm["compare"])
    assert [r for r in rows if r.metric == "map_drift"]
    gates = {g["name"]: g for g in json.loads((calm["compare"] / "gates.json").read_text())}
    assert gates["map_drift explainer=lime"]["passed"]
    strict = gates["map_drift explainer=cam step=int8-tensorrt"]
    assert not strict["passed"]
    assert "is above 0" in strict["reason"]
    assert strict["row"]["artefact"] == "int8-tensorrt"


def test_without_the_key_nothing_changes() -> None:
    """The ledger is a node of its own: switching it on moves no other key but compare's."""
    off = {node.name: node for node in nodes({**PRUNED, "measure.ledger_n": 0})}
    on = {node.name: node for node in nodes(PRUNED)}
    assert set(on) - set(off) == {"ledger"}
    for name, node in off.items():
        if name != "compare":
            assert on[name] == node
    assert on["compare"].table == off["compare"].table
    assert set(on["compare"].inputs) - set(off["compare"].inputs) == {"ledger"}
