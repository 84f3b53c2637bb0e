"""The Ray launcher on a local cluster of two workers, as a user's process starts it; one is killed in a training."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from launch_recipes import absent, built, loaded, log, rows, stored, weights

from edgexai.errors import MissingCapability
from edgexai.study.launch_local import launch as launch_local
from edgexai.study.launch_ray import _gone, launch

HERE = Path(__file__).parent
LONG = 80
EVEN = {"RAY_worker_niceness": "0"}  # Ray's workers yield to everything else, other tests for one
TRAIN = f"measured=True, train={{'epochs': {LONG}}}"
RECIPES = (
    f"[loaded('victim', {TRAIN}), absent('missing'), loaded('other', measured=True),"
    f" loaded('pruned', {TRAIN}, prune={{'method': 'channel', 'finetune_epochs': 1, 'round_to': 1}})]"
)


def script(home: Path, *, before: str = "") -> str:
    return (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from launch_recipes import absent, loaded\n"
        "from edgexai.errors import EdgexaiError\n"
        "from edgexai.study.launch_ray import launch\n"
        "def tell(event):\n"
        "    sys.stdout.write(json.dumps(event, default=str) + '\\n'); sys.stdout.flush()\n"
        f"{before}\n"
        "try:\n"
        f"    launch({RECIPES}, home=Path({str(home)!r}), device='cpu', data_root=Path({str(home / 'nothing')!r}),\n"
        "           workers=2, progress=tell)\n"
        "except EdgexaiError as error:\n"
        "    tell({'what': 'error', 'kind': type(error).__name__, 'problems': error.problems})\n"
    )


def run(home: Path, *, kill: str = "") -> tuple[list[dict[str, Any]], str]:
    """Events of a launch in a process of its own, and what it wrote to standard error.

    ``kill``: the worker that sends the first epoch of this recipe's training is killed.
    """
    (home / "nothing").mkdir(parents=True, exist_ok=True)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("EDGEXAI_", "RAY_"))}
    env = {**kept, **EVEN, "EDGEXAI_HOME": str(home), "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parents[1]}"}
    process = subprocess.Popen(
        [sys.executable, "-c", script(home)], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    events, worker = [], 0
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        events.append(event)
        if kill and event.get("recipe") == kill:
            if event["what"] == "recipe-start" and "pid" in event:
                worker = event["pid"]
            elif event["what"] == "epoch" and worker:
                os.kill(worker, signal.SIGKILL)
                kill = ""
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said
    return events, said


@pytest.mark.slow
def test_a_killed_worker_is_tried_again_and_nothing_runs_twice(tmp_path: Path) -> None:
    """Stages shared, one recipe that cannot run, one worker killed: rows and weights of a quiet run, one by one."""
    pytest.importorskip("ray")
    calm, home = tmp_path / "calm", tmp_path / "home"
    (calm / "nothing").mkdir(parents=True)
    recipes = [r for r in eval(RECIPES, {"loaded": loaded, "absent": absent}) if r.name != "missing"]
    launch_local(recipes, home=calm, device="cpu", data_root=calm / "nothing", workers=1, progress=lambda event: None)
    events, said = run(home, kill="victim@0")
    assert "Traceback" not in said
    assert len(said.splitlines()) <= 2, said  # Ray's own log does not drown the events
    errors = [event for event in events if event["what"] == "error"]
    assert [error["kind"] for error in errors] == ["MissingCapability"]
    assert [problem.partition(":")[0] for problem in errors[0]["problems"]] == ["missing@0"]
    told = [event["says"] for event in events if event["what"] == "launcher"]
    assert any("started one here with 2 workers" in text for text in told)
    assert any("victim@0: its worker was lost, run again" in text for text in told)
    ended = {event["recipe"]: event["state"] for event in events if event["what"] == "recipe-end"}
    assert ended == {"victim@0": "complete", "missing@0": "failed", "pruned@0": "complete", "other@0": "complete"}
    assert sorted(built(home)) == sorted(stored(home))  # every stage was finished once
    epochs = [e["done"] for e in log(home) if e["what"] == "epoch" and e["node"] == "train" and e["total"] == LONG]
    assert set(epochs) == set(range(1, LONG + 1))
    assert len(epochs) <= LONG + 1  # the kill may fall between an epoch's event and its checkpoint
    assert weights(home) == weights(calm)
    for recipe in recipes:
        assert rows(home, recipe.name) == rows(calm, recipe.name)
    assert not list((home / "launch").iterdir())


@pytest.mark.slow
def test_ctrl_c_ends_the_workers(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("EDGEXAI_", "RAY_"))}
    env = {**env, **EVEN, "EDGEXAI_HOME": str(tmp_path), "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parents[1]}"}
    code = script(tmp_path).replace(f"'epochs': {LONG}", "'epochs': 5000")
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    workers = []
    for line in process.stdout:
        event = json.loads(line)
        workers += [event["pid"]] if "pid" in event else []
        if event["what"] == "epoch" and event["total"] == 5000:
            process.send_signal(signal.SIGINT)
            break
    _, said = process.communicate(timeout=120)
    assert "KeyboardInterrupt" in said
    assert workers
    until = time.monotonic() + 10  # the last of them goes a moment after the command that ended it
    while (left := [pid for pid in workers if Path(f"/proc/{pid}").exists()]) and time.monotonic() < until:
        time.sleep(0.05)
    assert not left
    assert not list(tmp_path.glob("store/*/*.part-*"))
    assert list(tmp_path.glob("store/train/*.work/*"))
    assert not list((tmp_path / "launch").iterdir())


def test_an_old_note_of_a_cluster_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert _gone() == ""  # no note at all
    (tmp_path / "ray").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        (tmp_path / "ray" / "ray_current_cluster").write_text(f"{address}\n")
        assert _gone() == ""  # somebody answers
    assert _gone() == address
    (tmp_path / "ray" / "ray_current_cluster").write_text("nonsense")
    assert _gone() == "nonsense"


def test_without_ray_the_error_says_what_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # what an import of an absent package meets
    with pytest.raises(MissingCapability, match="ray") as caught:
        launch([loaded("a")], home=tmp_path, device="cpu", data_root=None, workers=2, progress=lambda event: None)
    assert "edgexai[distributed]" in caught.value.next_step
    assert not list(tmp_path.iterdir())
