"""The stage `train` under every method: it reads the training and validation splits, never the test split."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loops import nothing
from planted import CLASSES, bars
from safetensors.torch import load_file

from edgexai.config.recipe import Recipe
from edgexai.data import pack
from edgexai.data.dataset import Dataset
from edgexai.errors import MissingCapability
from edgexai.models import store
from edgexai.recipe.job import Job
from edgexai.recipe.plan import plan
from edgexai.recipe.stages_network import _train_settings, refine, train

TABLES: dict[str, dict[str, Any]] = {
    "natural": {"method": "natural"},
    "fgsm": {"method": "adversarial", "patience": 2},
    "pgd": {"method": "adversarial", "attack": "pgd", "attack_steps": 2, "norm": "l2", "eps": "1/2"},
    "trades": {"method": "adversarial", "attack": "trades", "attack_steps": 2, "adversarial_weight": 6.0},
    "advprop": {"method": "advprop", "eps": "4/255"},
}


def table_of(name: str, **more: Any) -> Mapping[str, Any]:
    """What the plan gives to the stage."""
    given = {"epochs": 2, "batch_size": 8, "lr": 0.05, **TABLES[name], **more}
    recipe = {"title": "t", "data": {"name": "signs"}, "model": {"name": "signnet", "widths": [4] * 8}, "train": given}
    nodes = plan(Recipe.model_validate(recipe), data_digest="d", machine="m")
    return json.loads(json.dumps(next(n.table for n in nodes if n.name == "train")))  # type: ignore[no-any-return]


def job_of(name: str, folder: Path, *, test_seed: int, val_seed: int = 2, **more: Any) -> Job:
    splits = {
        "train": bars(26, 1),
        "val": bars(16, val_seed, name="val"),
        "test": replace(bars(16, test_seed, name="test"), labels=np.arange(16) * test_seed % CLASSES),
    }
    classes = tuple(str(k) for k in range(CLASSES))
    pack.write(Dataset.of("bars", classes, splits), folder / "data")
    (folder / "out").mkdir()
    return Job(
        "train", "train", "natural", table_of(name, **more), {"data": folder / "data"}, folder / "out", folder / "work",
        7, "cpu", None, nothing,
    )  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_the_test_split_decides_nothing(tmp_path: Path, name: str) -> None:
    """Other test images and labels, equal weights; and the same stage twice, equal weights."""
    found = []
    for k, seed in enumerate((3, 5)):
        folder = tmp_path / str(k)
        job = job_of(name, folder, test_seed=seed)
        train(job)
        found.append(load_file(folder / "out" / "weights.safetensors"))
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(v, found[1][k]) for k, v in found[0].items())
    net = store.load(tmp_path / "0" / "out")
    assert net.arch.name == "signnet"
    summary = json.loads((tmp_path / "0" / "out" / "summary.json").read_text())
    assert {"val_acc", "macs", "parameters"} <= set(summary)
    assert ("best_val_robust_acc" in summary) == (table_of(name)["method"] == "adversarial")


@pytest.mark.slow
def test_the_methods_give_different_networks(tmp_path: Path) -> None:
    weights = []
    for name in TABLES:
        train(job_of(name, tmp_path / name, test_seed=3))
        weights.append((tmp_path / name / "out" / "weights.safetensors").read_bytes())
    assert len(set(weights)) == len(TABLES)


def test_settings_follow_the_table() -> None:
    fgsm: Any = _train_settings(table_of("fgsm", adversarial_weight=2.5, clean_weight=0.5), 9)
    assert (fgsm.plain.epochs, fgsm.plain.batch_size, fgsm.plain.lr) == (9, 8, 0.05)
    assert (fgsm.adversary.steps, fgsm.adversary.norm, fgsm.trades, fgsm.patience) == (1, "linf", False, 2)
    assert fgsm.adversary.eps == pytest.approx(8 / 255)
    assert fgsm.adversary.step_length == pytest.approx(10 / 255)
    assert (fgsm.clean_weight, fgsm.adversarial_weight) == (0.5, 2.5)
    pgd: Any = _train_settings(table_of("pgd", attack_step="1/8"), 2)
    assert (pgd.adversary.steps, pgd.adversary.norm, pgd.adversary.eps, pgd.adversary.step_length) == (
        2,
        "l2",
        0.5,
        0.125,
    )
    trades: Any = _train_settings(table_of("trades"), 2)
    assert (trades.trades, trades.adversary.steps, trades.clean_weight, trades.adversarial_weight) == (
        True,
        2,
        1.0,
        6.0,
    )
    advprop: Any = _train_settings(table_of("advprop", precision="amp"), 2)
    assert (type(advprop).__name__, advprop.plain.precision) == ("AdvPropSettings", "amp")
    assert advprop.adversary.eps == pytest.approx(4 / 255)


@pytest.mark.parametrize("cells", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_refinement_without_terms_that_read_cells_has_no_flags(tmp_path: Path, cells: bool) -> None:
    job = job_of("natural", tmp_path, test_seed=3)
    train(job)
    terms = {"mask_probability": 0.7 if cells else 0.0, "sensitivity_weight": 0.0, "control": "none"}
    small = {"rounds": 1, "epochs": 1, "batch_size": 8, "n_images": 8, "n_samples": 64, "repeats": 2}
    given = {"title": "t", "data": {"name": "signs"}, "model": {"name": "signnet"}, "train": TABLES["natural"]}
    recipe = Recipe.model_validate({**given, "refine": {"method": "lime", **small, **terms}})
    table = next(n.table for n in plan(recipe, data_digest="d", machine="m") if n.name == "refine")
    out = tmp_path / "refined"
    out.mkdir()
    inputs = {**job.inputs, "network": tmp_path / "out"}
    refine(replace(job, table=table, arm="refined", inputs=inputs, out=out, work=tmp_path / "refining"))
    names = {path.name for path in out.iterdir()}
    assert names >= {"weights.safetensors", "arch.json", "summary.json"}
    assert ("flags_0.npz" in names) == ("pictures" in names) == cells


def test_mixed_precision_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(MissingCapability, match="amp"):
        train(job_of("fgsm", tmp_path, test_seed=3, precision="amp"))
    assert not list((tmp_path / "out").iterdir())
