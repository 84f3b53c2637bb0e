"""Several processes on one recipe, started by torchrun: the first runs it as ever, the others only help to train.

Before a stage of ``TOGETHER`` begins, the first process sends the others what they need to run the same stage function;
their results go to a folder of their own and are dropped, for all come to the same network. Store, run folder, log and
report are the first one's alone, and a stage that is stored is never sent. Processes on several machines need one
``EDGEXAI_HOME`` that all can read.

The result is that of one process up to the order of float sums, so keys of stages do not depend on how many there were.
A process that dies closes its connections, which ends the others with one line; one that hangs does after ten minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgexai.config.recipe import Recipe
from edgexai.errors import EXIT_INTERRUPTED, EdgexaiError, MissingCapability, UserError
from edgexai.recipe.job import Job
from edgexai.registry import Entry
from edgexai.train import IN_PARALLEL

if TYPE_CHECKING:
    from edgexai.train.parallel import Team

TOGETHER = ("train", "refine")
"""Stages whose training loops are run by all processes; pruning and its fine-tuning run in the first."""

_STEP, _PATIENCE = timedelta(minutes=10), timedelta(days=30)
_SENT = ("name", "stage", "arm", "table", "seed", "device")


class Stopped(EdgexaiError):
    """The launcher ended this process, as it does when another one has ended."""

    exit_code = EXIT_INTERRUPTED


class Crew:
    """What one process knows of all.

    Args:
        team: handed to the training loops.

    Attributes:
        busy: a stage is being trained together; the others are not listening.
    """

    def __init__(self, team: Team) -> None:
        self.team, self.busy = team, False

    @contextmanager
    def lead(self, entry: Entry, job: Job) -> Iterator[Job]:
        """In the first process, around a stage function: the others begin the same stage, and help until it ends.

        Args:
            entry: the stage function.
            job: what it is given here; the others read its inputs and what lies in ``work``.
        """
        from edgexai.train.share import all_here

        order: dict[str, Any] = {name: getattr(job, name) for name in _SENT}
        order |= {"where": entry.where, "work": str(job.work), "inputs": {k: str(v) for k, v in job.inputs.items()}}
        order["data_root"] = None if job.data_root is None else str(job.data_root)
        self.busy = True
        self.team.first_bytes(json.dumps(order).encode())
        all_here()  # nobody may change ``work`` before everybody has read it
        yield replace(job, team=self.team)
        self.busy = False

    def follow(self) -> None:
        """In every other process: helps with one stage after another until the first process is done.

        Raises:
            ProcessLost: another process has gone.
        """
        from edgexai.train.share import all_here

        while order := json.loads(self.team.first_bytes(b"") or b"null"):
            self.busy = True
            with tempfile.TemporaryDirectory(prefix="edgexai-") as aside:
                out, work = Path(aside, "out"), Path(aside, "work")
                out.mkdir()
                shutil.copytree(order["work"], work)
                all_here()
                job = Job(
                    **{name: order[name] for name in _SENT},
                    inputs={role: Path(folder) for role, folder in order["inputs"].items()},
                    out=out,
                    work=work,
                    data_root=None if order["data_root"] is None else Path(order["data_root"]),
                    progress=lambda _: None,
                    team=self.team,
                )
                Entry(order["where"]).load()(job)
            self.busy = False

    def dismiss(self) -> None:
        """In the first process: lets the others go."""
        self.team.first_bytes(b"")


def processes() -> int:
    """How many processes torchrun has started for this command; 1 without it."""
    asked = os.environ.get("WORLD_SIZE", "")
    return int(asked) if asked.isdigit() and {"RANK", "MASTER_ADDR", "MASTER_PORT"} <= set(os.environ) else 1


@contextmanager
def crew(recipe: Recipe, *, device: str) -> Iterator[Crew | None]:
    """The processes torchrun has started, connected; None where there is only this one.

    Args:
        recipe: what they will run.
        device: "cpu" or "cuda"; on "cuda" every process takes the GPU of its local rank.

    Raises:
        UserError: the recipe's training cannot be split among them; before anything runs.
        MissingCapability: fewer GPUs than processes.
        ProcessLost: another process has gone.
    """
    size = processes()
    if size < 2:
        yield None
        return
    rank = int(os.environ["RANK"])
    if problems := _unsplittable(recipe, size):
        error = UserError(
            f"this recipe cannot run with {size} processes",
            problems=tuple(problems),
            next_step="run the same command without torchrun",
        )
        if rank:  # the first one says it
            raise SystemExit(error.exit_code)
        raise error
    gathered = Crew(_connected(rank, size, device))
    if not rank:
        signal.signal(signal.SIGTERM, _on_stop)
    try:
        yield gathered
    except BaseException:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # on the way out; the reason is still to be said
        raise
    finally:
        # In the middle of a stage nobody listens: this process ends, and so do its connections, and then the others.
        if not rank and not gathered.busy:
            with suppress(EdgexaiError):
                gathered.dismiss()
        if device == "cpu":
            _disconnect()


def _connected(rank: int, size: int, device: str) -> Team:
    import torch
    import torch.distributed as dist

    from edgexai.train.parallel import Team
    from edgexai.train.share import lost

    if device == "cuda":
        here = int(os.environ.get("LOCAL_RANK", rank))
        if here >= torch.cuda.device_count():
            raise MissingCapability(
                f"--device cuda: process {here} of this machine has no GPU; torch sees {torch.cuda.device_count()}",
                next_step="start as many processes as there are GPUs, or use --device cpu",
            )
        torch.cuda.set_device(here)
    try:
        dist.init_process_group("gloo" if device == "cpu" else "cpu:gloo,cuda:nccl", timeout=_STEP)
        patient = dist.new_group(backend="gloo", timeout=_PATIENCE)
    except RuntimeError as error:  # torch has no narrower type for a process that does not come
        raise lost() from error
    if not isinstance(patient, dist.ProcessGroup):
        raise RuntimeError("torch made a group without this process")
    return Team(rank, size, patient)


def _disconnect() -> None:
    import torch.distributed as dist

    dist.destroy_process_group()


def _on_stop(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stopped(
        "stopped by torchrun: another process of this run has ended, or somebody stopped it",
        next_step="run the same command again: it takes up after the last whole epoch",
    )


def _unsplittable(recipe: Recipe, size: int) -> list[str]:
    """What several processes cannot train, one line each."""
    faults = []
    if recipe.train.method not in IN_PARALLEL:
        faults.append(
            f'train.method = "{recipe.train.method}": one process only; several can train: {", ".join(IN_PARALLEL)}'
        )
    tables = {"train.batch_size": recipe.train.batch_size}
    if recipe.refine is not None:
        tables["refine.batch_size"] = recipe.refine.batch_size
    return faults + [f"{name} = {n}: fewer images than processes" for name, n in tables.items() if n < size]
