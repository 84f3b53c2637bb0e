"""The whole path on rendered signs with tiny numbers, in processes as a user starts them, killed ones included."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow

DATA = ["data.per_class=4", "train.epochs=2", "train.lr=0.1"]
REFINE = ["refine.rounds=2", "refine.epochs=1", "refine.n_images=43", "refine.n_samples=64", "refine.repeats=2"]
PRUNE = ["prune.finetune_epochs=1"]
REST = [
    "export.calibration_images=43",
    "export.min_agreement=0.0",
    "measure.n=43",
    "measure.clean_n=43",
    'measure.eps=["8/255"]',
    "measure.pgd_steps=2",
    "measure.square_queries=5",
    "measure.square_n=5",
    "measure.explain_n=6",
    "measure.lime_samples=64",
]
RUNS = {
    "natural_signs": [*DATA, *REST],
    "pruned_lime_signs": [*DATA, *REFINE, *PRUNE, *REST],
    "shortcut_lime_signs": [*DATA, *REFINE, *REST],
}
HEADLINE = ("clean_acc", "robust_acc", "agreement", "road_gap", "roi_share", "saliency_gini", "size_bytes")
TIMED = ("latency_ms", "throughput")


def environment(home: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("EDGEXAI_")}
    return {**kept, "EDGEXAI_HOME": str(home), "OMP_NUM_THREADS": "1"}


def command(name: str) -> list[str]:
    code = "import sys; from edgexai.cli.main import main; code = main(); "
    code += "sys.stderr.write('\\nheavy:' + ','.join(m for m in ('torch', 'onnxruntime') if m in sys.modules)); "
    return [sys.executable, "-c", code + "sys.exit(code)", "recipe", "run", name, *RUNS[name]]


def run(home: Path, name: str) -> tuple[str, float]:
    start = time.monotonic()
    done = subprocess.run(command(name), env=environment(home), capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stderr, time.monotonic() - start


def folder_of(home: Path, name: str) -> Path:
    return (home / "runs" / name / "latest").resolve()


def rows_of(home: Path, name: str, *, timed: bool = True) -> list[dict[str, Any]]:
    lines = (folder_of(home, name) / "measurements.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [row for row in rows if timed or row["metric"] not in TIMED]


def digests(home: Path) -> dict[str, str]:
    """Stage and key -> digest of the weights of every network in the store."""
    return {
        str(path.parent.relative_to(home)): json.loads(path.read_text())["files"]["weights.safetensors"]["sha256"]
        for path in home.glob("store/*/*/meta.json")
        if (path.parent / "weights.safetensors").is_file()
    }


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which nothing was ever interrupted."""
    home = tmp_path_factory.mktemp("calm")
    for name in RUNS:
        run(home, name)
    return home


@pytest.mark.parametrize("name", RUNS)
def test_the_run_folder_is_complete(calm: Path, name: str) -> None:
    folder = folder_of(calm, name)
    for wanted in ("recipe.lock.json", "measurements.jsonl", "measurements.csv", "report.html", "card.md", "log.jsonl"):
        assert (folder / wanted).stat().st_size > 0, wanted
    arms = {row["arm"] for row in rows_of(calm, name)}
    wanted_arms = {"natural"} if name == "natural_signs" else {"natural", "refined", "control"}
    assert arms == wanted_arms | ({"pruned"} if name.startswith("pruned") else set())
    for arm in arms:
        with np.load(folder / "pictures" / f"{arm}.npz", allow_pickle=False) as pictures:
            assert len(pictures["images"]) == len(pictures["labels"]) == len(pictures["pred_engine"]) > 0
    for arm in arms & {"refined", "control"}:
        with np.load(folder / "pictures" / f"refine_{arm}.npz", allow_pickle=False) as pictures:
            assert pictures["flagged"].shape[0] == pictures["class_frequency"].shape[0] == 2
    lock = json.loads((folder / "recipe.lock.json").read_text())
    assert {node["name"] for node in lock["nodes"]} >= {"data", "train", "compare", "measure[natural]"}


@pytest.mark.parametrize("name", RUNS)
def test_the_deployed_engine_lies_in_the_run_folder(calm: Path, name: str) -> None:
    folder = folder_of(calm, name) / "engine"
    assert {p.name for p in folder.iterdir()} == {"fp32.onnx", "int8-tensorrt.onnx", "int8-x86.onnx"}
    sizes = {row["artefact"]: row["value"] for row in rows_of(calm, name) if row["metric"] == "size_bytes"}
    assert (folder / "int8-tensorrt.onnx").stat().st_size == sizes["int8-tensorrt"]


def test_an_engine_is_measured_on_another_data_set(calm: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    code = "import sys; from edgexai.cli.main import main; sys.exit(main())"
    words = [sys.executable, "-c", code, "measure", "natural_signs", "--data", "signs", "--out", str(out)]
    done = subprocess.run(words, env=environment(calm), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    whole = next(row for row in rows if row["metric"] == "clean_acc")
    per_class = [row for row in rows if row["metric"] == "class_acc"]
    assert len(per_class) == 43
    assert sum(row["n"] for row in per_class) == whole["n"]
    assert sum(row["value"] * row["n"] for row in per_class) == pytest.approx(whole["value"] * whole["n"])
    assert whole["detail"]["trained_on"] == "signs"


@pytest.mark.parametrize("name", RUNS)
def test_every_headline_metric_has_a_row(calm: Path, name: str) -> None:
    rows = rows_of(calm, name)
    last = "natural" if name == "natural_signs" else "pruned" if name.startswith("pruned") else "refined"
    for metric in (*HEADLINE, *TIMED):
        found = [r for r in rows if (r["arm"], r["artefact"], r["metric"]) == (last, "int8-tensorrt", metric)]
        assert found, metric
        for row in found:
            assert (row["status"] == "measured") == (row["value"] is not None)
            assert row["status"] != "skipped" or row["reason"]
            assert row["subject"] == "engine"
            if row["unit"] == "fraction" and row["value"] is not None and metric != "road_gap":
                assert 0 <= row["low"] <= row["value"] <= row["high"] <= 1
    assert [r for r in rows if r["metric"] == "macs"]
    splits = {r["split"] for r in rows if r["metric"] == "clean_acc"}
    assert splits == ({"aligned", "conflicting", "absent"} if name.startswith("shortcut") else {"test"})


@pytest.mark.parametrize("name", RUNS)
def test_a_second_run_recomputes_nothing(calm: Path, name: str) -> None:
    before = (folder_of(calm, name) / "measurements.jsonl").read_bytes()
    said, seconds = run(calm, name)
    assert said.endswith("heavy:")  # neither torch nor a runtime was imported
    assert (folder_of(calm, name) / "measurements.jsonl").read_bytes() == before
    if os.getloadavg()[0] < (os.cpu_count() or 1):
        assert seconds <= 2.0


@pytest.mark.parametrize(
    ("node", "what"),
    [("train", "epoch"), ("refine", "explain"), ("refine", "epoch"), ("measure[natural]", "node-start")],
)
def test_killed_and_started_again(calm: Path, tmp_path: Path, node: str, what: str) -> None:
    """SIGKILL right after an event of a stage; the next run ends in the same weights and the same rows."""
    name = "pruned_lime_signs"
    process = subprocess.Popen(
        command(name), env=environment(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 600
    while not any(e.get("node") == node and e["what"] == what for e in events(tmp_path, name)):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    stage = node.partition("[")[0]
    assert not [p for p in tmp_path.glob(f"store/{stage}/*/meta.json") if json.loads(p.read_text())["arm"] == node]
    run(tmp_path, name)
    mine, theirs = digests(tmp_path), digests(calm)
    assert len(mine) == 4
    assert mine == {key: theirs[key] for key in mine}
    assert rows_of(tmp_path, name, timed=False) == rows_of(calm, name, timed=False)


def events(home: Path, name: str) -> list[dict[str, Any]]:
    found = []
    for path in home.glob(f"runs/{name}/*/log.jsonl"):
        for line in path.read_text().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue  # a line that is being written
    return found
