"""Export and parity with fp16, calibrations and saliency gates, on a network of a few channels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from recipes_for_tests import loaded
from test_evidence_stages import evidence, split

from edgexai.data import pack
from edgexai.data.dataset import Dataset
from edgexai.engine.twin import Twin
from edgexai.errors import GateFailed, UserError
from edgexai.export.lint import lint
from edgexai.models import store
from edgexai.models.arch import Arch
from edgexai.recipe import STAGES, stages_network
from edgexai.recipe.job import Job
from edgexai.recipe.keys import plan_keys
from edgexai.recipe.plan import Node, plan
from edgexai.recipe.stages_export import compared
from edgexai.types import Row

LENIENT = {"export.min_agreement": 0.0, "export.calibration_images": 32}


def nodes(changes: dict[str, Any], name: str = "natural") -> dict[str, Node]:
    found = plan(loaded(name, changes).recipe, data_digest="d", machine="m")
    return {node.name: node for node in found}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("inputs")
    folders = {"data": root / "data", "train": root / "train"}
    folders["data"].mkdir()
    splits = {"train": split("train", 1), "val": split("val", 2)}
    pack.write(Dataset("signs", tuple("abcde"), splits, (0.5,) * 3, (0.25,) * 3), folders["data"])
    store.save(store.build(Arch("signnet", (8,) * 8, 5, 32, (0.5,) * 3, (0.25,) * 3), seed=0), folders["train"])
    (folders["train"] / "meta.json").write_text(json.dumps({"files": {"weights.safetensors": {"sha256": "0"}}}))
    return folders


def ran(inputs: dict[str, Path], root: Path, changes: dict[str, Any]) -> tuple[Path, list[Row]]:
    """The folder of ``export`` and the rows of ``engine``."""
    folders = dict(inputs)
    for stage in ("export", "engine"):
        node = nodes({**LENIENT, **changes})[f"{stage}[natural]"]
        out, work = root / stage, root / f"{stage}-work"
        out.mkdir()
        work.mkdir()
        given = {role: folders[name] for role, name in node.inputs.items()}
        table = json.loads(json.dumps(node.table))
        STAGES[stage].load()(Job(node.name, stage, node.arm, table, given, out, work, 0, "cpu", None, lambda _: None))
        folders[node.name] = out
    return root / "export", [Row.from_json(line) for line in (root / "engine" / "rows.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_fp16_with_a_gradient_output(inputs: dict[str, Path], tmp_path: Path) -> None:
    folder, rows = ran(inputs, tmp_path, {"export.precision": "fp16", "export.saliency": "gradient"})
    assert sorted(p.name for p in folder.iterdir()) == ["fp16.onnx", "fp32.onnx"]
    for metric, least in (("agreement", 0.9), ("saliency_fidelity", 0.95), ("saliency_top20_overlap", 0.9)):
        found = {row.artefact: row for row in rows if row.metric == metric}
        assert set(found) == {"fp32", "fp16"}
        assert all(row.value is not None and row.value >= least and row.split == "val" for row in found.values())
    assert {row.detail["explainer"] for row in rows if row.metric == "saliency_fidelity"} == {"vg"}


def test_auto_keeps_every_score_and_takes_the_best(inputs: dict[str, Path], tmp_path: Path) -> None:
    folder, rows = ran(inputs, tmp_path, {"export.calibration": "auto"})
    summary = json.loads((folder / "summary.json").read_text())
    candidates = summary["candidates"]
    assert list(candidates) == ["max", "percentile", "entropy", "mse"]
    most = max(score["agreement"] for score in candidates.values())
    best = {m: s["map_correlation"] for m, s in candidates.items() if s["agreement"] == most}
    assert summary["calibration"] == max(best, key=lambda m: best[m])
    assert len({s["map_correlation"] for s in candidates.values()}) == 4  # four different files
    found = {row.detail["calibration"]: row for row in rows if row.metric == "calibration_agreement"}
    assert {m: row.value for m, row in found.items()} == {m: s["agreement"] for m, s in candidates.items()}
    assert [m for m, row in found.items() if row.detail["chosen"] == "yes"] == [summary["calibration"]]
    parity = next(row for row in rows if (row.artefact, row.metric) == ("int8-tensorrt", "agreement"))
    assert parity.value == pytest.approx(candidates[summary["calibration"]]["agreement"])


@pytest.mark.slow
def test_a_named_calibration_and_no_other_trace(inputs: dict[str, Path], tmp_path: Path) -> None:
    folder, rows = ran(inputs, tmp_path, {"export.calibration": "mse"})
    assert json.loads((folder / "summary.json").read_text())["calibration"] == "mse"
    assert {row.metric for row in rows} == {"agreement"}


def test_the_saliency_gate_stops_a_run_and_says_by_how_much(inputs: dict[str, Path], tmp_path: Path) -> None:
    changes = {"export.saliency": "gradient", "export.min_fidelity": 0.9999}
    with pytest.raises(GateFailed, match=r"int8-tensorrt: correlates by 0\.\d{4} .* asks for 0\.9999") as caught:
        ran(inputs, tmp_path, changes)
    assert "top 20 % shared" in str(caught.value)


@pytest.mark.slow
def test_cam_has_a_gate_where_one_is_asked_for(inputs: dict[str, Path], tmp_path: Path) -> None:
    _, rows = ran(inputs, tmp_path, {"export.precision": "fp32", "export.min_fidelity": 0.99})
    (row,) = [row for row in rows if row.metric == "saliency_fidelity"]
    assert row.detail["explainer"] == "cam"
    assert row.value == pytest.approx(1, abs=1e-3)


def test_images_decided_otherwise_are_left_out(inputs: dict[str, Path]) -> None:
    """The map of another class is another map: the parity gate counts those."""

    class Liar:
        def __init__(self) -> None:
            self.metadata = {"edgexai.saliency": "gradient"}

        def with_saliency(self, images: Any) -> tuple[Any, Any]:
            logits = twin(images)
            logits[::2] = -logits[::2]
            return logits, np.random.default_rng(0).random((len(images), 32, 32), dtype=np.float32)

    twin = Twin(store.load(inputs["train"]))
    rank, overlap = compared(twin, Liar(), split("val", 2))
    assert len(rank) == len(overlap) == 10
    assert np.abs(rank).max() < 0.3  # noise
    assert overlap.mean() == pytest.approx(0.2, abs=0.05)


def test_a_file_that_tensorrt_would_refuse_ends_the_stage(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[str] = []

    def watched(path: Path) -> None:
        held.append(path.name)
        assert lint(onnx.load(path)) == []
        raise UserError("stop")

    monkeypatch.setattr(stages_network, "refuse_unfit", watched)
    with pytest.raises(UserError, match="stop"):
        ran(inputs, tmp_path, {"export.precision": "fp16"})
    assert held == ["fp32.onnx"]


@pytest.mark.slow
def test_an_fp16_run_is_measured_and_gated_on_its_own_file(tmp_path: Path) -> None:
    changes = {"export.precision": "fp16", "export.saliency": "gradient", "gate.clean_acc": ">= 0.0"}
    folders = evidence(tmp_path, changes)
    rows = [Row.from_json(line) for line in (folders["compare"] / "rows.jsonl").read_text().splitlines()]
    assert {row.artefact for row in rows} == {"twin", "fp32", "fp16"}
    assert {row.artefact for row in rows if row.metric == "gate"} == {"fp16"}
    assert any(
        row.artefact == "fp16" and "against" in row.detail for row in rows if row.metric == "clean_acc_difference"
    )
    # The second output is the gradient: no row may call it CAM of the engine.
    assert not [r for r in rows if r.metric == "map_rank_correlation" and r.detail.get("explainer") == "cam"]


# The plan and the schema.


def test_new_keys_at_their_defaults_leave_old_tables_as_they_were() -> None:
    tables = {name: dict(node.table) for name, node in nodes({}, "pruned").items()}
    assert tables["export[pruned]"] == {
        "precision": "int8",
        "saliency": "cam",
        "opset": 18,
        "calibration_images": 512,
        "flavours": ["fp32", "int8-tensorrt", "int8-x86"],
    }
    assert tables["export[natural]"] == {"precision": "fp32", "saliency": "cam", "opset": 18, "flavours": ["fp32"]}
    assert set(tables["engine[pruned]"]) == {"runtime", "threads", "min_agreement"}


def test_what_changes_which_key() -> None:
    plain = plan_keys(list(nodes({}).values()))

    def changed(changes: dict[str, Any]) -> set[str]:
        keys = plan_keys(list(nodes(changes).values()))
        return {name.partition("[")[0] for name in keys if keys[name] != plain[name]}

    late = {"export", "engine", "measure", "latency", "compare"}
    assert changed({"export.calibration": "max"}) == set()
    assert changed({"export.calibration": "mse"}) == late
    assert changed({"export.min_fidelity": 0.9}) == {"engine", "compare"}
    assert changed({"export.saliency": "gradient"}) == late
    assert changed({"export.precision": "fp16"}) == late
    one, other = (plan_keys(list(nodes({"export.precision": "fp16", **c}).values())) for c in ({}, LENIENT))
    assert one["export[natural]"] == other["export[natural]"]  # fp16 is not calibrated


def test_qat_is_a_stage_of_the_deployed_arm_and_absent_by_default() -> None:
    plain, asked = nodes({}, "pruned_lime"), nodes({"export.qat_epochs": 2}, "pruned_lime")
    keys, new = plan_keys(list(plain.values())), plan_keys(list(asked.values()))
    assert plan_keys(list(nodes({"export.qat_epochs": 0}, "pruned_lime").values())) == keys
    assert set(asked) - set(plain) == {"qat"}
    assert asked["qat"].inputs == {"data": "data", "network": "prune"}
    assert asked["qat"].arm == "pruned"
    assert asked["qat"].table == {
        "qat_epochs": 2, "opset": 18, "calibration_images": 512, "calibration": "max",
        "batch_size": 64, "augment": "sign", "augment_strength": 1.0, "lr": 0.002,
    }  # fmt: skip
    after = {f"{stage}[pruned]" for stage in ("export", "engine", "probe", "measure", "latency")}
    assert {name for name in keys if keys[name] != new[name]} == after | {"compare"}
    assert all(asked[name].inputs["network"] == "qat" for name in after)
    assert all("qat_epochs" not in node.table for name, node in asked.items() if name != "qat")
    assert asked["compare"].inputs["pruned"] == "prune"  # which says what pruning took away
    assert list(asked).index("prune") < list(asked).index("qat") < list(asked).index("export[natural]")


@pytest.mark.slow
def test_qat_leaves_a_network_and_what_its_file_decides(inputs: dict[str, Path], tmp_path: Path) -> None:
    node = nodes({**LENIENT, "export.qat_epochs": 1})["qat"]
    out, work = tmp_path / "out", tmp_path / "work"
    out.mkdir()
    work.mkdir()
    given = {role: inputs[name] for role, name in node.inputs.items()}
    table = json.loads(json.dumps(node.table))
    STAGES["qat"].load()(Job(node.name, "qat", node.arm, table, given, out, work, 0, "cpu", None, lambda _: None))
    before, after = store.load(inputs["train"]).state_dict(), store.load(out).state_dict()
    assert any(not np.array_equal(before[key], after[key]) for key in before)
    statistics = [key for key in before if "running" in key]
    assert statistics
    assert all(np.array_equal(before[key], after[key]) for key in statistics)
    rows = [Row.from_json(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    found = {(row.metric, row.detail["qat"], row.detail["against"]): row for row in rows}
    assert len(found) == 6
    assert all((row.split, row.artefact, row.n) == ("val", "int8-tensorrt", len(split("val", 2))) for row in rows)
    imitation = found["qat_agreement", "after", "fake quantisation"].value
    assert imitation is not None
    assert imitation >= 0.9
    assert {"macs", "parameters", "calibration"} <= set(json.loads((out / "summary.json").read_text()))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"export.precision": "fp16", "export.calibration": "mse"}, 'only precision = "int8" is calibrated'),
        ({"export.saliency": "none", "export.min_fidelity": 0.9}, "gives no map"),
        ({"export.calibration": "kl"}, "export.calibration"),
        ({"export.precision": "fp16", "export.qat_epochs": 1}, 'only precision = "int8" rounds so'),
    ],
)
def test_what_makes_no_sense_is_said(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        loaded("natural", changes)
