"""Every shipped recipe, end to end on a small slice of its data; what it leaves is complete.

In one process, because nine tenths of a tiny run are imports; runs in processes of their own: ``test_end_to_end.py``.
"""

from __future__ import annotations

import csv
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from edgexai.config.load import load_recipe
from edgexai.config.source import shipped_recipes
from edgexai.recipe.plan import final_arm
from edgexai.recipe.run import run_recipe

pytestmark = pytest.mark.slow

TINY = {
    "train.epochs": "1",
    "refine.rounds": "1",
    "refine.epochs": "1",
    "refine.n_images": "43",
    "refine.n_samples": "64",
    "refine.repeats": "2",
    "prune.finetune_epochs": "1",
    "export.calibration_images": "43",
    "export.min_agreement": "0.0",
    "measure.n": "43",
    "measure.clean_n": "43",
    "measure.eps": '["8/255"]',
    "measure.pgd_steps": "2",
    "measure.square_queries": "5",
    "measure.square_n": "5",
    "measure.explain_n": "4",
    "measure.lime_samples": "64",
}
# Only of recipes that ask for more than the default of these.
FURTHER = {
    "corruption_n": 2,
    "corruption_severities": [5],
    "ledger_n": 2,
    "metrics_n": 2,
    "patch_n": 2,
    "patch_steps": 2,
    "stability_n": 2,
    "unknown_n": 20,
}
# Falls of a probability, or of a share below that of random removals: below 0 where removal helps.
SIGNED = ("comprehensiveness", "sufficiency", "mask_leak")
IMAGES_PER_CLASS = 3
HERE = {"gtsrb": "gtsrb", "lisa17": "lisa", "cifar10": "cifar10"}


def overrides(name: str) -> list[str]:
    """Small numbers, for the tables that the recipe has."""
    recipe = load_recipe(name).recipe
    tables = {key.partition(".")[0] for key in TINY} & {k for k, v in recipe if v is not None}
    chosen = [f"{key}={value}" for key, value in TINY.items() if key.partition(".")[0] in tables]
    size = "per_class" if recipe.data.name in ("signs", "signs_shortcut") else "limit_per_class"
    chosen.append(f"data.{size}={IMAGES_PER_CLASS}")
    asked = set() if recipe.measure is None else recipe.measure.model_fields_set
    chosen += [f"measure.{key}={value}" for key, value in FURTHER.items() if key in asked]
    if recipe.gate is not None:  # decided and told like any other, but a network of one epoch meets none
        gates = recipe.gate.model_dump(exclude_none=True)
        chosen += [
            f"gate.{name}={condition[:2]} {-1 if condition[0] == '>' else 1e12}" for name, condition in gates.items()
        ]
    return [*chosen, "data.rendered=1"] if recipe.data.rendered else chosen


def data_root(name: str) -> Path | None:
    """Where the data are that this recipe reads; skips the test where they are not."""
    folder = HERE.get(load_recipe(name).recipe.data.name)
    root = os.environ.get("EDGEXAI_DATA")
    if folder is not None and (not root or not (Path(root) / folder).is_dir()):
        pytest.skip(f"no {folder} under EDGEXAI_DATA")
    return Path(root) if root else None


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for all, and for all processes of a parallel run: what recipes share is then made once."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "slices"


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_slice_of_every_shipped_recipe(home: Path, name: str) -> None:
    root, loaded = data_root(name), load_recipe(name, overrides(name))
    recipe = loaded.recipe
    result = run_recipe(loaded, home=home, data_root=root, events=lambda event: None)
    folder = (home / "runs" / name / "latest").resolve()
    assert result.folder == folder
    assert not result.gate_failed
    ratio = 0.5 if recipe.prune is None or recipe.prune.macs_ratio is None else recipe.prune.macs_ratio
    check_rows(folder, final_arm(recipe), refined=recipe.refine is not None, ratio=ratio)
    asked = 0 if recipe.gate is None else len(recipe.gate.model_dump(exclude_none=True))
    assert len(json.loads((folder / "gates.json").read_text())) == asked
    for page in ("report.html", "card.md"):
        limit = f"only the first {IMAGES_PER_CLASS} images per class of the training split of {recipe.data.name}"
        assert (limit in (folder / page).read_text()) == (recipe.data.name in HERE), page
    engines = {path.name: path.stat().st_size for path in (folder / "engine").iterdir()}
    assert set(engines) == {"fp32.onnx", "int8-tensorrt.onnx", "int8-x86.onnx"}
    assert engines["int8-tensorrt.onnx"] < engines["fp32.onnx"]


def check_rows(folder: Path, last: str, *, refined: bool, ratio: float) -> None:
    """Every arm is measured, every number stands inside its limits, and JSON and CSV say the same."""
    rows: list[dict[str, Any]] = [json.loads(line) for line in (folder / "measurements.jsonl").read_text().splitlines()]
    arms = {"natural", last} | ({"refined", "control"} if refined else set())
    assert {row["arm"] for row in rows} == arms
    for arm in arms:
        have = {(row["artefact"], row["metric"]) for row in rows if row["arm"] == arm and row["status"] == "measured"}
        wanted = {("twin", "clean_acc"), ("twin", "macs"), ("fp32", "clean_acc"), ("fp32", "robust_acc")}
        wanted |= {("fp32", "agreement"), ("fp32", "latency_ms"), ("fp32", "saliency_gini"), ("fp32", "size_bytes")}
        assert wanted <= have, wanted - have
    for row in rows:
        assert (row["status"] == "measured") == (row["value"] is not None), row
        if row["value"] is None:
            assert row["reason"], row
            continue
        assert math.isfinite(row["value"]), row
        if row["low"] is not None:
            assert row["low"] <= row["value"] <= row["high"], row
        if (
            row["unit"] == "fraction"
            and not row["metric"].endswith(("_diff", "_gap"))
            and "against" not in row["detail"]
        ):
            assert (-1 if row["metric"] in SIGNED else 0) <= row["value"] <= 1, row
    macs = {row["arm"]: row["value"] for row in rows if row["metric"] == "macs"}
    assert (last != "pruned") or macs["pruned"] <= ratio * macs["natural"]
    with (folder / "measurements.csv").open(newline="") as stream:
        values = [row["value"] for row in csv.DictReader(stream)]
    assert [float(value) if value else None for value in values] == [row["value"] for row in rows]
