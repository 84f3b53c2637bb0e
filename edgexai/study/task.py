"""One recipe as a worker runs it: what it may build, how many threads it takes, and how it ended, as plain data.

Convention: a worker beside others builds no timings (``share="untimed"``): a latency measured next to a training is the
training's too. Those are made when nothing else runs (``share="timed"``).
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgexai.config.load import LoadedRecipe
from edgexai.errors import EXIT_BUG, EXIT_DONE, EdgexaiError, GateFailed
from edgexai.recipe.plan import Node
from edgexai.recipe.run import run_recipe
from edgexai.types import Progress

Share = Literal["all", "untimed", "timed"]


@dataclass(frozen=True)
class Task:
    """A recipe of a study, with all that a process elsewhere needs to run it. Can be pickled.

    Attributes:
        at: position in the study, from 1.
        of: recipes in the study.
        loaded: the recipe.
        home: ``EDGEXAI_HOME``, absolute.
        device: "cpu" or "cuda".
        data_root: where data sets lie, absolute, or None.
        share: which of its stages this run may build.
        threads: for the arithmetic of one process; 0 leaves them as they are.
    """

    at: int
    of: int
    loaded: LoadedRecipe
    home: Path
    device: str
    data_root: Path | None
    share: Share = "all"
    threads: int = 0

    @property
    def label(self) -> str:
        """``natural_signs@0``: recipe and seed."""
        return f"{self.loaded.name}@{self.loaded.recipe.seed}"


@dataclass(frozen=True)
class Ended:
    """How a task ended. Can be pickled and written as JSON.

    Attributes:
        at: the task's.
        label: the task's.
        state: "complete"; "left": stages of another share are still to be built; "gate": a gate was decided against the
            network; "failed".
        message: of a failure or a gate, possibly of several lines.
        exit_code: that the failure alone would end with.
        seconds: that it took.
    """

    at: int
    label: str
    state: Literal["complete", "left", "gate", "failed"]
    message: str = ""
    exit_code: int = EXIT_DONE
    seconds: float = 0.0


def tasks_of(recipes: Sequence[LoadedRecipe], *, home: Path, device: str, data_root: Path | None) -> list[Task]:
    """One task per recipe, with absolute paths."""
    root = None if data_root is None else data_root.absolute()
    return [Task(at, len(recipes), loaded, home.absolute(), device, root) for at, loaded in enumerate(recipes, start=1)]


def start_event(task: Task) -> dict[str, Any]:
    """The event that tells that a task starts."""
    return {"what": "recipe-start", "recipe": task.label, "at": task.at, "of": task.of, "share": task.share}


def end_event(task: Task, ended: Ended) -> dict[str, Any]:
    """The event that tells how a task ended."""
    says = {
        "complete": "complete",
        "left": "done, but for timings and what reads them",
        "gate": "ended by a gate",
        "failed": f"FAILED: {ended.message.partition(chr(10))[0]}",
    }[ended.state]
    return {**start_event(task), "what": "recipe-end", "state": ended.state, "seconds": ended.seconds, "says": says}


def run_task(task: Task, *, progress: Progress) -> Ended:
    """Runs the task's share of its recipe in this process. Only an interruption gets out as an exception.

    Args:
        task: what to run.
        progress: takes the run's events, each with the task's label as "recipe" and before the node's name.
    """
    _limit_threads(task.threads)
    start = time.monotonic()

    def ended(state: Literal["complete", "left", "gate", "failed"], message: str = "", code: int = EXIT_DONE) -> Ended:
        return Ended(task.at, task.label, state, message, code, round(time.monotonic() - start, 3))

    try:
        result = run_recipe(
            task.loaded,
            home=task.home,
            device=task.device,
            data_root=task.data_root,
            may_build=BUILDS[task.share],
            events=labelled(task.label, progress),
        )
    except GateFailed as error:
        return ended("gate", str(error), error.exit_code)
    except EdgexaiError as error:
        return ended("failed", str(error), error.exit_code)
    except Exception as error:  # noqa: BLE001 - a bug in one recipe must not end a night's study; it is reported
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__}: {error} ({last.filename}:{last.lineno} in {last.name})"
        return ended("failed", where, EXIT_BUG)
    return ended("left" if result.left else "complete")


def labelled(label: str, progress: Progress) -> Progress:
    """A ``Progress`` that names the recipe in every event, since events of several arrive mixed."""

    def tell(event: Mapping[str, Any]) -> None:
        named = {"node": f"{label} {event['node']}"} if event.get("node") else {}
        progress({**event, **named, "recipe": label})

    return tell


def _untimed(node: Node) -> bool:
    return not node.timed


def _timed(node: Node) -> bool:
    return node.timed


BUILDS: dict[Share, Callable[[Node], bool] | None] = {"all": None, "untimed": _untimed, "timed": _timed}
"""Share -> which nodes a run of it may build; None = all."""


def _limit_threads(threads: int) -> None:
    """Few threads per process, and never more than the user's own OMP_NUM_THREADS."""
    if threads < 1:
        return
    wished = os.environ.get("OMP_NUM_THREADS", "")
    count = min(threads, int(wished)) if wished.isdigit() and int(wished) > 0 else threads
    os.environ["OMP_NUM_THREADS"] = str(count)  # read when torch is imported, which is later
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)
