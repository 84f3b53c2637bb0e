"""Brings the recipes of a study to their end in rounds: all together without timings, then the timings one by one.

Stages that follow a timing (a comparison reads latencies) come in the next round. A recipe that fails, or whose network
fails a gate, leaves the rounds; the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from edgexai.errors import EXIT_MISSING, EXIT_USER, EdgexaiError, MissingCapability, UserError
from edgexai.recipe.plan import Node
from edgexai.recipe.run import planned
from edgexai.recipe.store import Store
from edgexai.study.task import BUILDS, Ended, Share, Task

Runner = Callable[[Sequence[Task]], list[Ended]]
_MAX_ROUNDS = 3
"""Up to a latency target, from there to the latency of its result, and what reads that: no recipe needs more."""


def run_in_rounds(tasks: Sequence[Task], *, together: Runner, alone: Runner) -> None:
    """Runs every task's recipe to its end.

    Args:
        tasks: one per recipe, in the order of the study; their ``share`` is set here.
        together: runs tasks beside each other.
        alone: runs them one after the other on this machine, with nothing beside.

    Raises:
        EdgexaiError: see ``raise_failures``.
    """
    ended: dict[int, Ended] = {}
    left = list(tasks)
    for _ in range(_MAX_ROUNDS):
        left = _round(left, together, "untimed", ended)
        left = _round(left, alone, "timed", ended)
    # Only where the workers' machines differ from this one: to them, what was timed here is still to be timed.
    _round(left, alone, "all", ended)
    raise_failures([ended[task.at] for task in tasks])


def raise_failures(ended: Sequence[Ended]) -> None:
    """Ends a study some of whose recipes failed; a failed gate is a result, not a failure.

    Raises:
        UserError: all failures are the user's to mend.
        MissingCapability: all are for want of something on this machine.
        EdgexaiError: any other mixture.
    """
    failed = [item for item in ended if item.state == "failed"]
    if not failed:
        return
    codes = {item.exit_code for item in failed}
    kind = UserError if codes == {EXIT_USER} else MissingCapability if codes == {EXIT_MISSING} else EdgexaiError
    raise kind(
        f"{len(failed)} of {len(ended)} recipes failed"
        + ("; the others have run to their end" if len(failed) < len(ended) else ""),
        problems=tuple(f"{item.label}: {item.message}".replace("\n", "\n  ") for item in failed),
        next_step="mend these, then run the same command again: every finished stage is kept",
    )


def _round(tasks: Sequence[Task], runner: Runner, share: Share, ended: dict[int, Ended]) -> list[Task]:
    """Sends out the tasks that have something to build in this share; returns those that are not at their end."""
    sent: list[Task] = []
    begins: dict[int, str] = {}
    left: set[int] = set()
    for task in tasks:
        try:
            missing, begin = _to_build(task, share)
        except EdgexaiError:
            missing, begin = True, f"{task.at}"  # the run itself says what it lacks
        if not missing:
            ended[task.at] = Ended(task.at, task.label, "complete")
        elif begin is None:
            left.add(task.at)
        else:
            sent.append(replace(task, share=share))
            begins[task.at] = begin
    if sent:
        for item in runner(_spread(sent, begins)):
            ended[item.at] = item
            if item.state == "left":
                left.add(item.at)
    return [task for task in tasks if task.at in left]


def _to_build(task: Task, share: Share) -> tuple[bool, str | None]:
    """Whether anything is missing, and the key of the first stage after ``data`` that this share would build.

    Looks for folders only: their content is checked by the run that uses them.
    """
    nodes, keys = planned(task.loaded, home=task.home, device=task.device, data_root=task.data_root)
    store, may_build = Store(task.home / "store", progress=lambda event: None), BUILDS[share]
    there: set[str] = set()
    built: list[Node] = []
    missing = False
    for node in nodes:
        if store.path(node, keys[node.name]).is_dir():
            there.add(node.name)
            continue
        missing = True
        if (may_build is None or may_build(node)) and there.issuperset(node.inputs.values()):
            there.add(node.name)
            built.append(node)
    begin = next((node for node in built if node.stage != "data"), built[0] if built else None)
    return missing, None if begin is None else keys[begin.name]


def _spread(tasks: Sequence[Task], begins: dict[int, str]) -> list[Task]:
    """Recipes that begin with different stages first, else in order: those that begin alike wait for each other."""
    seen: set[str] = set()
    first: list[Task] = []
    later: list[Task] = []
    for task in tasks:
        (later if begins[task.at] in seen else first).append(task)
        seen.add(begins[task.at])
    return first + later
