"""A whole study on rendered signs with tiny numbers, as a user starts it: tables, verdicts, nothing run twice."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

STUDY = """
title = "Tiny"
seeds = [0, 1]
baseline = "natural"
recipe = "natural_signs"

[base]
data = { per_class = 6 }
train = { epochs = 2, lr = 0.1 }
export = { precision = "fp32", saliency = "none" }

[base.measure]
explainers = ["vg", "ig"]
attacks = ["pgd"]
eps = ["8/255"]
n = 43
clean_n = 43
pgd_steps = 2
explain_n = 8

[arms.natural]
title = "Natural"

[arms.cut]
title = "Masked"
prune = { method = "masked", amount = 0.1, finetune_epochs = 0 }

[arms.all]
title = "Refined"
refine = { method = "lime", rounds = 1, epochs = 1, n_images = 43, n_samples = 64, repeats = 2 }

[arms.random]
title = "Random cells"
like = "all"
network = "control"

[[tables]]
title = "Numbers"
columns = [
  "clean_acc",
  "robust_acc attack=pgd eps=8/255",
  "saliency_gini explainer=ig",
  "road_gap explainer=ig",
  "masked_sparsity",
  "latency_ms statistic=median",
]

[[claims]]
source = "nobody"
says = "A tenth of the weights masked is a tenth of the weights masked"
arms = ["cut"]
against = "natural"
columns = ["masked_sparsity"]
direction = "higher"
margin = 0.05

[[correlations]]
x = "saliency_gini explainer=ig"
y = "saliency_gini explainer=vg"
"""


def run(folder: Path, home: Path, *more: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("EDGEXAI_")}
    return subprocess.run(
        [sys.executable, "-m", "edgexai", "study", str(folder / "tiny.toml"), *more],
        env={**kept, "EDGEXAI_HOME": str(home), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_a_study_end_to_end(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(STUDY)
    home = tmp_path / "home"
    done = run(tmp_path, home, "--out", str(tmp_path / "docs" / "tiny.md"))
    assert done.returncode == 0, done.stderr[-3000:]
    (folder,) = (home / "studies" / "tiny").iterdir()
    assert {p.name for p in folder.iterdir()} == {"study.md", "study.html", "cells.csv", "study.json", "rows.jsonl"}
    assert (tmp_path / "docs" / "tiny.md").read_text() == (folder / "study.md").read_text()

    with (folder / "cells.csv").open() as file:
        cells = {(line["arm"], line["column"]): line for line in csv.DictReader(file)}
    assert len(cells) == 4 * 6
    for (arm, column), cell in cells.items():
        if column.startswith("road_gap") and not cell["value"]:
            continue  # networks this small share no image that all get right
        own = [float(cell["seed 0"]), float(cell["seed 1"])]
        assert float(cell["value"]) == pytest.approx(sum(own) / 2), (arm, column)
        base = cells["natural", column]
        if arm != "natural":
            apart = [a - float(base[f"seed {k}"]) for k, a in enumerate(own)]
            assert float(cell["difference"]) == pytest.approx(sum(apart) / 2, abs=1e-9)
    # numbers are those of the arms' own rows
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    clean = [r for r in rows if r["arm"] == "cut" and r["metric"] == "clean_acc" and r["artefact"] == "fp32"]
    assert sorted(r["value"] for r in clean) == sorted(float(cells["cut", "clean_acc"][f"seed {k}"]) for k in (0, 1))
    assert 0.09 < float(cells["cut", "masked_sparsity"]["value"]) < 0.11
    found = json.loads((folder / "study.json").read_text())
    assert [claim["verdict"] for claim in found["claims"]] == ["reproduced"]
    assert "reproduced" in done.stdout

    trained = list((home / "store" / "train").glob("*/meta.json"))
    assert len(trained) == 2  # one per seed, although six recipes need it
    times = {p: p.stat().st_mtime_ns for p in home.glob("store/*/*/meta.json")}
    again = run(tmp_path, home)
    assert again.returncode == 0, again.stderr[-3000:]
    assert {p: p.stat().st_mtime_ns for p in home.glob("store/*/*/meta.json")} == times
    other = run(tmp_path, home, "seeds=[0]")  # one seed, and a number without values by image: no verdict
    assert other.returncode == 0, other.stderr[-3000:]
    assert "undecided" in other.stdout
    assert len(list((home / "studies" / "tiny").iterdir())) == 2


def test_bad_studies_are_refused_with_every_fault(tmp_path: Path) -> None:
    text = STUDY.replace("amount = 0.1", "amuont = 0.1").replace('network = "control"', 'network = "pruned"')
    (tmp_path / "tiny.toml").write_text(text)
    done = run(tmp_path, tmp_path / "home")
    assert done.returncode == 2
    assert "arm cut" in done.stderr
    assert "amuont" in done.stderr
    (tmp_path / "tiny.toml").write_text(STUDY.replace('network = "control"', 'network = "pruned"'))
    done = run(tmp_path, tmp_path / "home", "seeds=[0]")
    assert done.returncode == 2
    assert 'no "pruned" network' in done.stderr
    assert not (tmp_path / "home" / "store").exists()  # said before anything was trained
    (tmp_path / "tiny.toml").write_text("title = ")
    assert run(tmp_path, tmp_path / "home").returncode == 2
    (tmp_path / "tiny.toml").write_text(STUDY)
    assert run(tmp_path, tmp_path / "home", "seeds=[]").returncode == 2
    assert run(tmp_path, tmp_path / "home", "train.epochs=none").returncode == 2
