"""``torchrun`` as a user calls it: one run folder, keys that one process finds again, and a killed process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from edgexai.config.load import load_recipe
from edgexai.errors import EXIT_USER, UserError
from edgexai.recipe.crew import crew, processes

TINY = ["data.per_class=4", "train.lr=0.05", "train.batch_size=32", "export.calibration_images=43"]
TINY += ["export.min_agreement=0.0", "measure.n=43", "measure.clean_n=43", 'measure.eps=["8/255"]']
TINY += ["measure.pgd_steps=2", "measure.square_queries=5", "measure.square_n=5", "measure.explain_n=6"]
TINY += ["measure.lime_samples=64"]
REFINE = ["refine.rounds=1", "refine.epochs=1", "refine.n_images=43", "refine.n_samples=64", "refine.repeats=2"]
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "edgexai"]
PLAIN = [sys.executable, "-m", "edgexai"]


def environment(home: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("EDGEXAI_")}
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**kept, "EDGEXAI_HOME": str(home), "OMP_NUM_THREADS": "1", "PYTHONPATH": path}


def run(start: list[str], home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*start, "recipe", "run", *words], env=environment(home), capture_output=True, text=True, timeout=500
    )


def weights(home: Path, stage: str) -> list[Path]:
    return sorted(home.glob(f"store/{stage}/*/weights.safetensors"))


@pytest.mark.slow
def test_torchrun_leaves_one_run_that_one_process_reuses(tmp_path: Path) -> None:
    words = ["lime_signs", "train.epochs=1", *REFINE, *TINY]
    done = run(LAUNCH, tmp_path / "two", *words)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert done.stderr.count("run-end") + done.stderr.count("report:") == 1, done.stderr
    runs = [p for p in (tmp_path / "two/runs/lime_signs").iterdir() if p.is_dir() and not p.is_symlink()]
    assert len(runs) == 1
    rows = [json.loads(line) for line in (runs[0] / "measurements.jsonl").read_text().splitlines()]
    assert {"clean_acc", "robust_acc", "latency_ms"} <= {row["metric"] for row in rows}

    again = run(PLAIN, tmp_path / "two", *words)
    assert again.returncode == 0, again.stderr[-4000:]
    assert ": done in" not in again.stderr
    assert "train: stored, reused" in again.stderr

    alone = run(PLAIN, tmp_path / "one", *words, "--until", "refine")
    assert alone.returncode == 0, alone.stderr[-4000:]
    for stage in ("train", "refine"):
        one, two = weights(tmp_path / "one", stage), weights(tmp_path / "two", stage)
        assert [p.parent.name for p in one] == [p.parent.name for p in two], "keys differ"
    # rounding differs, so both did take part; five steps enlarge it (tests/train/test_train_parallel.py is exact)
    first, second = load_file(weights(tmp_path / "one", "train")[0]), load_file(weights(tmp_path / "two", "train")[0])
    apart = sum(float(((first[k] - second[k]) ** 2).sum()) for k in first) / sum(
        float((v**2).sum()) for v in first.values()
    )
    assert 0 < apart < 0.01**2


def children(parent: int) -> dict[int, int]:
    """RANK -> process of the processes that ``parent`` started."""
    found = {}
    for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        found |= {int(w[5:]): int(pid) for w in words if w.startswith(b"RANK=")}
    return found


@pytest.mark.slow
@pytest.mark.parametrize("rank", [1, 0])
def test_a_killed_process_ends_the_run_and_a_plain_one_completes_it(rank: int, tmp_path: Path) -> None:
    words = ["natural_signs", "train.epochs=12", *TINY, "--until", "train"]
    with subprocess.Popen(
        [*LAUNCH, "recipe", "run", *words],
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            end = time.monotonic() + 300
            while not list(tmp_path.glob("store/train/*.work/checkpoint.safetensors")):
                assert running.poll() is None, running.communicate()
                assert time.monotonic() < end
                time.sleep(0.05)
            os.kill(children(running.pid)[rank], signal.SIGKILL)
            _, told = running.communicate(timeout=60)
        finally:
            running.kill()
    assert running.returncode != 0
    assert "edgexai/" not in told.partition("into ")[2].partition("\n")[2], "a traceback of ours"
    assert sum(line.startswith("error:") for line in told.splitlines()) == 1, told
    assert "run the same command again" in told
    assert not weights(tmp_path, "train")
    if rank:  # a killed first process sweeps nothing
        assert not list(tmp_path.glob("store/train/*.part-*"))

    done = run(PLAIN, tmp_path, *words)
    assert done.returncode == 0, done.stderr[-4000:]
    assert len(weights(tmp_path, "train")) == 1
    log = next(tmp_path.glob("runs/natural_signs/*/log.jsonl")).read_text().splitlines()
    epochs = [e["done"] for e in map(json.loads, log) if e["what"] == "epoch"]
    assert epochs.count(1) == 1, "it began anew"
    assert epochs[-1] == 12


def test_processes_are_those_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert processes() == 1
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert processes() == 1, "a cluster may set WORLD_SIZE for purposes of its own"
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "0")
    assert processes() == 4


@pytest.mark.parametrize("rank", [0, 1])
def test_what_cannot_be_split_is_refused_before_anything_runs(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "9", "RANK": str(rank), "MASTER_ADDR": "x", "MASTER_PORT": "0"}.items():
        monkeypatch.setenv(name, value)
    recipe = load_recipe("lime_signs", ["train.batch_size=8", "refine.batch_size=8"]).recipe
    with pytest.raises(UserError if rank == 0 else SystemExit) as error, crew(recipe, device="cpu"):
        pass
    if rank:
        assert error.value.code == EXIT_USER
    else:
        assert "train.batch_size = 8" in str(error.value)
        assert "refine.batch_size = 8" in str(error.value)


def test_a_method_of_one_process_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "x", "MASTER_PORT": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("edgexai.recipe.crew.IN_PARALLEL", ("natural", "lime"))
    recipe = load_recipe("adversarial_signs", []).recipe
    with (
        pytest.raises(UserError, match=r'"adversarial": one process only; several can train: natural, lime'),
        crew(recipe, device="cpu"),
    ):
        pass
