"""The local launcher with real recipes: shared stages once, failures that stay alone, kills, Ctrl-C, timings alone."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from launch_recipes import absent, built, loaded, log, rows, stored, weights

from edgexai.config.load import LoadedRecipe
from edgexai.errors import EdgexaiError, MissingCapability, UserError
from edgexai.study import LAUNCHERS
from edgexai.study.children import run_children
from edgexai.study.launch_local import launch
from edgexai.study.task import Task

HERE = Path(__file__).parent
LONG = 60


def launched(
    home: Path, recipes: list[LoadedRecipe], *, workers: int, each: Callable[[Mapping[str, Any]], None] | None = None
) -> list[dict[str, Any]]:
    """The events of a launch; ``home/nothing`` is where it looks for photographs."""
    events: list[dict[str, Any]] = []
    (home / "nothing").mkdir(parents=True, exist_ok=True)

    def progress(event: Mapping[str, Any]) -> None:
        events.append(dict(event))
        if each is not None:
            each(event)

    launch(recipes, home=home, device="cpu", data_root=home / "nothing", workers=workers, progress=progress)
    return events


@pytest.mark.slow
def test_two_workers_share_stages_and_one_failure_stays_alone(tmp_path: Path) -> None:
    """Three recipes with one training between two of them, and one whose data are not here."""
    recipes = [loaded("one"), absent("missing"), loaded("same"), loaded("other", train={"epochs": 1})]
    with pytest.raises(MissingCapability) as caught:
        launched(tmp_path, recipes, workers=2)
    assert caught.value.what.startswith("1 of 4 recipes failed")
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["missing@0"]
    assert len(built(tmp_path)) == len(stored(tmp_path)) == 3  # data, and two trainings
    assert set(built(tmp_path)) == stored(tmp_path)
    again: list[Mapping[str, Any]] = []
    recipes.pop(1)
    launched(tmp_path, recipes, workers=2, each=again.append)
    assert again == []  # all is there: not even a process is started


@pytest.mark.slow
def test_a_killed_child_is_named_and_its_training_goes_on_later(tmp_path: Path) -> None:
    """SIGKILL in the middle of a training; the other recipe ends; the next launch repeats no finished epoch."""
    calm, home = tmp_path / "calm", tmp_path / "killed"
    victim, other = loaded("victim", train={"epochs": LONG}), loaded("other", train={"epochs": 1})
    launched(calm, [victim], workers=1)

    def kill(event: Mapping[str, Any]) -> None:
        if event["what"] == "epoch" and event["recipe"] == "victim@0":
            for child in multiprocessing.active_children():
                if "victim@0" in child.name and child.pid is not None:
                    os.kill(child.pid, signal.SIGKILL)

    with pytest.raises(EdgexaiError) as caught:
        launched(home, [victim, other], workers=2, each=kill)
    assert "SIGKILL" in str(caught.value)
    assert "victim@0" in str(caught.value)
    assert "other@0" not in str(caught.value)
    assert not isinstance(caught.value, UserError)
    assert len(stored(home)) == 2  # data and the other training
    before = [event["done"] for event in log(home) if event["what"] == "epoch" and event["recipe"] == "victim"]
    assert 0 < len(before) < LONG
    launched(home, [victim, other], workers=2)
    epochs = [event["done"] for event in log(home) if event["what"] == "epoch" and event["recipe"] == "victim"]
    # The kill may fall between an epoch's checkpoint and its event, or the reverse: one epoch may be told twice.
    assert set(epochs) == set(range(1, LONG + 1))
    assert len(epochs) <= LONG + 1
    assert sorted(built(home)) == sorted(stored(home))
    mine, theirs = weights(home), weights(calm)
    assert len(theirs) == 1
    assert mine.items() >= theirs.items()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_children_end_with_their_parent(tmp_path: Path, how: signal.Signals) -> None:
    """The signal reaches the parent alone; Ctrl-C also leaves no half-written entry."""
    code = (
        "from pathlib import Path\n"
        "from launch_recipes import loaded\n"
        "from edgexai.study.launch_local import launch\n"
        "import sys\n"
        "def tell(event):\n"
        "    sys.stdout.write(event['what'] + '\\n'); sys.stdout.flush()\n"
        "if __name__ == '__main__':\n"
        f"    recipes = [loaded('a', train={{'epochs': 5000}}), loaded('b', train={{'epochs': 5001}})]\n"
        f"    launch(recipes, home=Path({str(tmp_path)!r}), device='cpu', data_root=None, workers=2, progress=tell)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    env = {**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parents[1]}"}
    parent = subprocess.Popen(
        [sys.executable, str(script)], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert parent.stdout is not None
        while (line := parent.stdout.readline().strip()) != "epoch":
            assert line, parent.communicate()[1]
        children = children_of(parent.pid)
        assert len(children) >= 2
        parent.send_signal(how)
        _, said = parent.communicate(timeout=60)
        deadline = time.monotonic() + 30
        while any(alive(pid) for pid in children):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        parent.kill()
        parent.wait()
    assert parent.returncode == -how or (how == signal.SIGINT and "KeyboardInterrupt" in said)
    assert "edgexai a" not in said  # no traceback of a child
    if how == signal.SIGINT:
        assert said.count("Traceback") == 1  # the parent's own: this script does not catch it
        assert not list(tmp_path.glob("store/*/*.part-*"))
        assert list(tmp_path.glob("store/train/*.work/*"))


def children_of(pid: int) -> list[int]:
    return [int(word) for task in Path(f"/proc/{pid}/task").glob("*/children") for word in task.read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_bug_in_one_recipe_is_told_with_its_place(tmp_path: Path) -> None:
    """A file where the run folder should be made is nobody's UserError; the next recipe runs all the same."""
    recipes = [loaded("one", train={"epochs": 1}), loaded("two", train={"epochs": 1})]
    launched(tmp_path, [recipes[1]], workers=1)
    (tmp_path / "runs" / "one").write_text("in the way")
    with pytest.raises(EdgexaiError) as caught:
        launched(tmp_path, recipes, workers=1)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith("one@0: ")


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_no_workers_is_a_user_error(launcher: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="workers = 0"):
        LAUNCHERS[launcher].load()(
            [loaded("one")], home=tmp_path, device="cpu", data_root=None, workers=0, progress=lambda event: None
        )
    assert list(tmp_path.iterdir()) == []


def test_children_share_the_cores_and_end_in_the_order_asked(tmp_path: Path) -> None:
    """Every failure at once is the cheapest real run: each child starts, plans, and says what it lacks."""
    tasks = [Task(at, 3, absent(f"r{at}"), tmp_path, "cpu", tmp_path) for at in (1, 2, 3)]
    seen: list[int] = []

    def progress(event: Mapping[str, Any]) -> None:
        if event["what"] == "recipe-start":
            seen.append(len(multiprocessing.active_children()))

    ended = run_children(tasks, workers=2, progress=progress)
    assert [item.at for item in ended] == [1, 2, 3]
    assert {item.state for item in ended} == {"failed"}
    assert {item.exit_code for item in ended} == {MissingCapability.exit_code}
    assert len(seen) == 3
    assert max(seen) <= 2
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_rows_are_those_of_one_worker_and_timings_run_alone(tmp_path: Path) -> None:
    """Whole recipes, rows as in a run one by one; beside a timing nothing else runs."""
    measured = [
        loaded("dense", measured=True),
        loaded("gated", measured=True, gate={"clean_acc": ">= 0.99"}),
        loaded("pruned", measured=True, prune={"method": "channel", "finetune_epochs": 1, "round_to": 1}),
    ]
    launched(tmp_path / "calm", measured, workers=1)
    events = launched(tmp_path / "busy", measured, workers=2)
    for recipe in measured:
        mine, theirs = rows(tmp_path / "busy", recipe.name), rows(tmp_path / "calm", recipe.name)
        assert len(theirs) > 10
        assert mine == theirs
    assert sorted(built(tmp_path / "busy")) == sorted(stored(tmp_path / "busy"))
    assert [e["state"] for e in events if e["what"] == "recipe-end" and e["recipe"] == "gated@0"][-1] == "gate"
    looks = (tmp_path / "busy" / "test_evaluations.jsonl").read_text().splitlines()
    keys = [json.loads(line)["measurement"] for line in looks]
    assert len(keys) == len(set(keys))
    spans = list(stage_spans(log(tmp_path / "busy")))
    timed = [span for span in spans if span[0] == "latency"]
    assert len(timed) == 2  # of the dense network, which all three have, and of the pruned one
    for stage, start, end in timed:
        beside = [other for other in spans if other != (stage, start, end) and other[1] < end and start < other[2]]
        assert not beside
    assert any(a != b and a[1] < b[2] and b[1] < a[2] for a in spans for b in spans)  # others did run together


def stage_spans(events: list[dict[str, Any]]) -> Any:
    """(stage, start, end) of every stage that was built."""
    begun: dict[tuple[str, str], str] = {}
    for event in events:
        place = (event["recipe"], str(event.get("node")))
        if event["what"] == "node-start":
            begun[place] = event["time"]
        elif event["what"] == "node-end":
            yield event["stage"], begun[place], event["time"]
