"""Processes: killed in the middle, two at once, a disk that fills, Ctrl-C, no heavy import on reuse."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def start(home: Path, name: str, *more: str, before: Callable[[], None] | None = None, **wishes: Any) -> Any:
    env = {
        **os.environ,
        "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parents[1]}",
        "TINY": json.dumps({"calls": str(home.parent / "calls"), **wishes}),
    }
    command = [sys.executable, str(HERE / "run_one.py"), str(home), name, *more]
    return subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=before
    )


def finish(process: Any) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def calls(home: Path) -> list[str]:
    path = home.parent / "calls"
    return path.read_text().splitlines() if path.exists() else []


def test_kill_then_resume_gives_the_same_and_reuse_is_light(tmp_path: Path) -> None:
    home, calm = tmp_path / "a" / "home", tmp_path / "b" / "home"
    for folder in (home, calm):
        folder.parent.mkdir()
    code, out, err = finish(start(calm, "lime"))
    assert code == 0, err
    expected = json.loads(out)["nodes"]
    killed = start(home, "lime", sleep={"train": 0.2})
    wait_for(lambda: "step train 1" in calls(home))
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert list(home.glob("store/train/*.part-*"))  # the kill left a part behind ...
    before = len(calls(home))
    code, out, err = finish(start(home, "lime"))
    assert code == 0, err
    assert not list(home.glob("store/*/*.part-*"))  # ... which is gone
    assert "step train 0" not in calls(home)[before:]
    assert "step train 1" not in calls(home)[before:]
    assert {n: d for n, (d, _) in json.loads(out)["nodes"].items()} == {n: d for n, (d, _) in expected.items()}
    code, out, err = finish(start(home, "lime"))
    assert code == 0, err
    again = json.loads(out)
    assert not any(built for _, built in again["nodes"].values())
    assert again["heavy"] == []


def test_two_at_once_build_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    pair = [start(home, "natural", sleep={"train": 0.1}) for _ in range(2)]
    ended = [finish(process) for process in pair]
    assert [code for code, _, _ in ended] == [0, 0], [err for _, _, err in ended]
    started = [line for line in calls(home) if line.startswith("start")]
    assert len(started) == len(set(started)) == 8
    digests = [{n: d for n, (d, _) in json.loads(out)["nodes"].items()} for _, out, _ in ended]
    assert digests[0] == digests[1]
    assert any("waiting for another run" in err for _, _, err in ended)
    built = [json.loads(out)["nodes"]["train"][1] for _, out, _ in ended]
    assert sorted(built) == [False, True]


def test_who_waits_goes_on_when_the_entry_is_there_not_when_its_builders_run_ends(tmp_path: Path) -> None:
    home = tmp_path / "home"
    builder = start(home, "natural", sleep={"train": 2.0, "export": 60.0})
    wait_for(lambda: "step train 0" in calls(home))
    waiter = start(home, "bare")
    code, out, err = finish(waiter)
    assert builder.poll() is None  # still in its export, holding what it trained
    builder.kill()
    builder.communicate()
    assert code == 0, err
    assert "train: waiting for another run" in err
    assert not json.loads(out)["nodes"]["train"][1]
    assert calls(home).count("start train") == 1


def test_who_waits_takes_over_from_a_killed_builder(tmp_path: Path) -> None:
    """Three wait; one of them goes on at the checkpoint, the others reuse what it makes; no step is done twice."""
    home = tmp_path / "home"
    builder = start(home, "bare", sleep={"train": 3.0})
    wait_for(lambda: "step train 0" in calls(home))
    waiters = [start(home, "bare") for _ in range(3)]
    wait_for(lambda: log_of(home).count('"waiting"') == 3)
    builder.kill()
    builder.communicate()
    ended = [finish(process) for process in waiters]
    assert [code for code, _, _ in ended] == [0, 0, 0], [err for _, _, err in ended]
    assert sorted(json.loads(out)["nodes"]["train"][1] for _, out, _ in ended) == [False, False, True]
    steps = [line for line in calls(home) if line.startswith("step train")]
    assert steps == [f"step train {k}" for k in range(5)]


def log_of(home: Path) -> str:
    return "".join(path.read_text() for path in home.glob("runs/bare/*/log.jsonl"))


def test_disk_that_fills_leaves_nothing_half_written(tmp_path: Path) -> None:
    """A file-size limit stands in for the disk: the write itself fails, in the middle of a file."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    home = tmp_path / "home"
    code, _, err = finish(start(home, "bare", before=limit, bytes={"train": 1_000_000}))
    assert code == 2, err
    assert "disk full" in err
    assert "Traceback" not in err
    assert len(list(home.glob("store/data/*/meta.json"))) == 1
    assert not list(home.glob("store/train/*/meta.json"))
    assert not list(home.glob("store/*/*.part-*"))
    code, _, err = finish(start(home, "bare", bytes={"train": 1_000_000}))
    assert code == 0, err


def test_ctrl_c(tmp_path: Path) -> None:
    home = tmp_path / "home"
    process = start(home, "bare", sleep={"train": 0.2})
    wait_for(lambda: "step train 0" in calls(home))
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130
    assert "Traceback" not in err
    assert not list(home.glob("store/*/*.part-*"))
    assert list(home.glob("store/train/*.work/checkpoint.json"))


def test_recomputing_waits_for_readers(tmp_path: Path) -> None:
    home = tmp_path / "home"
    reader = start(home, "bare", sleep={"train": 1.0})
    wait_for(lambda: "step train 0" in calls(home))
    writer = start(home, "bare", "-", "data")  # wants to drop the data that the other trains on
    (code, _, err), (other, _, said) = finish(reader), finish(writer)
    assert (code, other) == (0, 0), err + said
    assert "data: waiting for another run" in said
    started = [line for line in calls(home) if line.startswith("start")]
    assert started == ["start data", "start train"] * 2
