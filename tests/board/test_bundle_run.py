"""From a recipe to its bundle and into the agent, with tiny numbers: the whole way, and the same bytes twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgexai.board.unpack import unpack
from edgexai.types import Row

pytestmark = pytest.mark.slow

TINY = [
    *("data.per_class=4", "train.epochs=2", "train.lr=0.1", "export.calibration_images=43", "export.min_agreement=0.0"),
    *("measure.n=43", "measure.clean_n=43", 'measure.eps=["8/255"]', "measure.pgd_steps=2", "measure.square_queries=5"),
    *("measure.square_n=5", "measure.explain_n=6", "measure.lime_samples=64"),
]


def edgexai(home: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    code = "import sys; from edgexai.cli.main import main; sys.exit(main())"
    kept = {k: v for k, v in os.environ.items() if not k.startswith("EDGEXAI_")}
    env = {**kept, "EDGEXAI_HOME": str(home), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, env=env, cwd=home, capture_output=True, text=True, timeout=900, check=False)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    done = edgexai(home, "recipe", "run", "natural_signs", *TINY)
    assert done.returncode == 0, done.stderr[-3000:]
    return home


def test_from_recipe_to_verified_bundle(home: Path, tmp_path: Path) -> None:
    words = ["bundle", "natural_signs", "--rebuilds", "4", "--out"]
    for name in ("a.tar", "b.tar"):
        done = edgexai(home, *words, tmp_path / name)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    done = edgexai(home, "verify", tmp_path / "a.tar", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"] is True
    manifest = unpack(tmp_path / "a.tar", tmp_path / "bundle")
    assert (manifest["arm"], manifest["artefact"], len(manifest["classes"])) == ("natural", "int8-tensorrt", 43)
    rows = [Row.from_json(line) for line in (tmp_path / "bundle" / "rows.jsonl").read_text().splitlines()]
    assert {(row.arm, row.artefact) for row in rows} == {("natural", "int8-tensorrt")}
    golden = json.loads((tmp_path / "bundle" / "golden.json").read_text())
    assert [r["kind"] for r in golden["rebuilds"]].count("recalibrated") == 4

    agent = [sys.executable, "-I", tmp_path / "bundle" / "agent.pyz", "measure", "--bundle", tmp_path / "bundle"]
    done = subprocess.run([*map(str, agent), "--state", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    measured = [Row.from_json(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]

    def of(found: list[Row], metric: str) -> dict[str, float | None]:
        return {json.dumps(r.detail, sort_keys=True): r.value for r in found if r.metric == metric}

    # the same code on the same images: the workstation's own figures
    for metric in ("robust_acc", "lime_r2", "roi_share", "pointing_game", "deletion_auc", "saliency_gini"):
        here, there = of(rows, metric), of(measured, metric)
        assert here, metric
        assert there == pytest.approx(here, rel=1e-6), metric


def test_a_damaged_store_is_said(home: Path, tmp_path: Path) -> None:
    done = edgexai(home, "bundle", "nothing")
    assert done.returncode == 2
    (export,) = (home / "store" / "export").glob("*/int8-tensorrt.onnx")
    before = export.read_bytes()
    export.write_bytes(before[:-1] + b"\0\0")
    done = edgexai(home, "bundle", "natural_signs", "--out", tmp_path / "c.tar")
    export.write_bytes(before)
    assert done.returncode == 2, done.stderr
    assert "its stored entry cannot be used" in done.stderr
    assert not (tmp_path / "c.tar").exists()
