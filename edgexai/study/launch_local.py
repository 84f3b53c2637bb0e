"""Runs the recipes of a study on this machine: in this process, or in child processes that share its cores.

With one worker a bug in native code ends the study; with more it ends its recipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgexai.config.load import LoadedRecipe
from edgexai.errors import UserError
from edgexai.study.children import run_children
from edgexai.study.rounds import raise_failures, run_in_rounds
from edgexai.study.task import Ended, Task, end_event, run_task, start_event, tasks_of
from edgexai.types import Progress


def launch(
    recipes: Sequence[LoadedRecipe],
    *,
    home: Path,
    device: str,
    data_root: Path | None,
    workers: int,
    progress: Progress,
) -> None:
    """Brings the store to where every recipe is complete. One that fails does not stop the others.

    Args:
        recipes: run in this order; of those that begin with the same stage, one starts before the others.
        home: ``EDGEXAI_HOME``.
        device: "cpu" or "cuda", of all recipes.
        data_root: where data sets lie.
        workers: recipes at one time. 1 runs them in this process; more in a process each, with cores // workers
            cores, and timings at the end, one at a time.
        progress: takes the events of all recipes, each with "recipe".

    Raises:
        UserError: ``workers`` is less than 1, or recipes failed for the user's own faults. All failures are listed.
        EdgexaiError: recipes failed otherwise.
    """
    if workers < 1:
        raise UserError(f"workers = {workers}: at least one is needed", next_step="--workers 1 runs one by one")
    tasks = tasks_of(recipes, home=home, device=device, data_root=data_root)
    if workers == 1:
        raise_failures([_here(task, progress) for task in tasks])
        return
    run_in_rounds(
        tasks,
        together=lambda some: run_children(some, workers=workers, progress=progress),
        alone=lambda some: run_children(some, workers=1, progress=progress),
    )


def _here(task: Task, progress: Progress) -> Ended:
    progress(start_event(task))
    ended = run_task(task, progress=progress)
    progress(end_event(task, ended))
    return ended
