"""What the launchers stand on: events by file, the check of a shared folder, the order of what is sent out."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from launch_recipes import loaded

from edgexai.errors import EdgexaiError, MissingCapability, UserError
from edgexai.recipe.entry_lock import EntryLock
from edgexai.study.mailbox import Receiver, Sender
from edgexai.study.rounds import raise_failures, run_in_rounds
from edgexai.study.shared_folder import Shared, not_shared, sharing
from edgexai.study.task import Ended, Task, tasks_of


def test_mail_arrives_once_in_order_and_survives_a_cut_line(tmp_path: Path) -> None:
    path = tmp_path / "mail"
    receiver = Receiver(path)
    assert list(receiver.new()) == []
    with Sender(path) as send:
        send({"what": "a"})
        assert list(receiver.new()) == [{"what": "a"}]
        assert list(receiver.new()) == []
        send({"what": "b", "path": tmp_path})
    with path.open("a") as file:
        file.write('{"what": "cut of')  # a kill in the middle of a line
    assert list(receiver.new()) == [{"what": "b", "path": str(tmp_path)}]
    with Sender(path) as send:
        send({"what": "c"})
    assert list(receiver.new()) == [{"what": "c"}]


def _asked(shared: Shared) -> str:
    """The answer of another process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return str(pool.apply(not_shared, (shared,)))


def test_a_folder_that_is_shared(tmp_path: Path) -> None:
    (tmp_path / "data" / "gtsrb").mkdir(parents=True)
    with sharing(tmp_path / "home", data_root=tmp_path / "data") as shared:
        assert _asked(shared) == ""
        assert "data" in not_shared(replace(shared, data_root=tmp_path / "elsewhere"))
        assert "data" in not_shared(replace(shared, data_names=("gtsrb", "lisa")))
    assert not shared.folder.exists()
    assert "none" in not_shared(shared)


def test_another_folder_of_that_name_and_locks_that_do_not_reach(tmp_path: Path) -> None:
    """The second machine's view, made with plain files: nothing there, another launch's marker, no lock on it."""
    with sharing(tmp_path / "mine", data_root=None) as shared:
        there = replace(shared, folder=tmp_path / "theirs" / "launch" / shared.token)
        assert "No such file" in not_shared(there)
        there.folder.mkdir(parents=True)
        (there.folder / "marker").write_text("another")
        assert not_shared(there).endswith("theirs is another folder there")
        (there.folder / "marker").write_text(shared.token)
        assert not_shared(there).endswith("does not share locks")
        with EntryLock(there.folder / "marker.lock", shared=False):
            assert not_shared(there) == ""


def tasks(home: Path) -> list[Task]:
    """Two seeds, on each a plain training and one that prunes what it gave."""
    prune = {"method": "channel", "finetune_epochs": 1}
    recipes = [loaded("plain"), loaded("pruned", prune=prune)]
    other = [replace(r, recipe=r.recipe.model_copy(update={"seed": 1})) for r in recipes]
    return tasks_of([*recipes, *other], home=home, device="cpu", data_root=None)


def test_recipes_that_begin_alike_do_not_start_side_by_side(tmp_path: Path) -> None:
    sent: list[list[str]] = []

    def together(some: list[Task]) -> list[Ended]:
        sent.append([task.label for task in some])
        return [Ended(task.at, task.label, "complete") for task in some]

    def alone(some: list[Task]) -> list[Ended]:
        raise AssertionError("nothing here is timed")

    run_in_rounds(tasks(tmp_path), together=together, alone=alone)  # type: ignore[arg-type]
    assert sent == [["plain@0", "plain@1", "pruned@0", "pruned@1"]]


def test_timings_are_sent_out_alone_and_only_when_they_can_be_made(tmp_path: Path) -> None:
    """The store is filled by hand, one round's stages at a time; what is asked for next follows from it."""
    from edgexai.recipe.run import planned

    (task,) = tasks_of([loaded("m", measured=True)], home=tmp_path, device="cpu", data_root=None)
    nodes, keys = planned(task.loaded, home=tmp_path, device="cpu", data_root=None)
    said: list[str] = []

    def fill(*stages: str) -> None:
        for node in nodes:
            if node.stage in stages:
                (tmp_path / "store" / node.stage / keys[node.name]).mkdir(parents=True)

    def together(some: list[Task]) -> list[Ended]:
        said.append(f"together {some[0].share}")
        fill("compare") if len(said) > 1 else fill("data", "train", "export", "engine", "probe", "measure")
        return [Ended(1, task.label, "left" if len(said) == 1 else "complete")]

    def alone(some: list[Task]) -> list[Ended]:
        said.append(f"alone {some[0].share}")
        fill("latency")
        return [Ended(1, task.label, "left")]

    run_in_rounds([task], together=together, alone=alone)  # type: ignore[arg-type]
    assert said == ["together untimed", "alone timed", "together untimed"]
    run_in_rounds([task], together=together, alone=alone)  # type: ignore[arg-type]
    assert len(said) == 3  # complete: nobody is asked


def test_what_is_timed(tmp_path: Path) -> None:
    """Latencies always; pruning where it searches for a latency, and then only it."""
    from edgexai.recipe.run import planned

    def timed(prune: dict[str, Any]) -> set[str]:
        recipe = loaded("m", measured=True, prune={"method": "channel", **prune}, gate={"latency_ms": "<= 5"})
        nodes, _ = planned(recipe, home=tmp_path, device="cpu", data_root=None)
        return {node.name for node in nodes if node.timed}

    latencies = {"latency[natural]", "latency[pruned]"}
    assert timed({}) == latencies
    assert timed({"latency_ms": 5.0}) == latencies | {"prune"}


@pytest.mark.parametrize(
    ("codes", "kind"), [((2, 2), UserError), ((3,), MissingCapability), ((2, 3), EdgexaiError), ((1,), EdgexaiError)]
)
def test_the_error_says_all_failures_and_ends_as_they_would(codes: tuple[int, ...], kind: type[EdgexaiError]) -> None:
    failed = [Ended(at, f"r{at}@0", "failed", f"what{at}\n  more", code) for at, code in enumerate(codes, start=1)]
    with pytest.raises(EdgexaiError) as caught:
        raise_failures([*failed, Ended(9, "g@0", "gate", "clean_acc"), Ended(10, "c@0", "complete")])
    assert type(caught.value) is kind
    assert [problem.splitlines()[0] for problem in caught.value.problems] == [
        f"r{at}@0: what{at}" for at, _ in enumerate(codes, start=1)
    ]
    raise_failures([Ended(9, "g@0", "gate", "clean_acc"), Ended(10, "c@0", "complete")])  # a gate is a result


def test_a_task_is_plain_data(tmp_path: Path) -> None:
    """It travels to another machine; its ending travels back as JSON."""
    import pickle

    (task, *_) = tasks(tmp_path)
    assert pickle.loads(pickle.dumps(task)) == task
    ended = Ended(1, "a@0", "failed", "why", 2, 0.5)
    assert Ended(**json.loads(json.dumps(ended.__dict__))) == ended
