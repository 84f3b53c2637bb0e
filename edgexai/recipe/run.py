"""Runs a recipe: plans, reuses what is stored, builds the rest in order, gathers the run folder, decides the gates.

A second run of a finished recipe checks digests and ends; it imports neither torch nor a runtime.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgexai.config.load import LoadedRecipe
from edgexai.errors import GateFailed, UserError
from edgexai.recipe import REPORT, SOURCE_DIGEST, STAGES
from edgexai.recipe.crew import TOGETHER, Crew
from edgexai.recipe.environment import machine
from edgexai.recipe.evaluations import log_evaluation
from edgexai.recipe.events import show
from edgexai.recipe.faults import explained
from edgexai.recipe.job import Job
from edgexai.recipe.keys import plan_keys
from edgexai.recipe.lock import Outcome, run_digest
from edgexai.recipe.plan import Node, data_read, plan
from edgexai.recipe.run_folder import PAGE, gather, run_folder
from edgexai.recipe.scalars import Scalars
from edgexai.recipe.store import Store
from edgexai.registry import Entry
from edgexai.types import Progress


@dataclass(frozen=True)
class RunResult:
    """What a run left.

    Attributes:
        folder: run folder; of a dry run, where it would lie.
        rows: number of measurement rows in it.
        gate_failed: a gate was decided against the engine.
        nodes: every node with its key, whether it was built, and how long that took.
        left: nodes that ``may_build`` kept from being built, and those that need them; with any, nothing is gathered.
    """

    folder: Path
    rows: int
    gate_failed: bool
    nodes: tuple[Outcome, ...]
    left: tuple[str, ...] = ()


class RecipeGateFailed(GateFailed):
    """A gate failed; the report is written. ``result`` is what the run would have returned."""

    def __init__(self, what: str, *, problems: tuple[str, ...], next_step: str, result: RunResult) -> None:
        super().__init__(what, problems=problems, next_step=next_step)
        self.result = result


def run_recipe(
    loaded: LoadedRecipe,
    *,
    home: Path,
    device: str = "cpu",
    data_root: Path | None = None,
    until: str | None = None,
    from_: str | None = None,
    dry_run: bool = False,
    may_build: Callable[[Node], bool] | None = None,
    crew: Crew | None = None,
    events: Progress | None = None,
    stages: Mapping[str, Entry] = STAGES,
    source_digest: Entry = SOURCE_DIGEST,
    report: Entry = REPORT,
) -> RunResult:
    """Runs a recipe.

    Args:
        loaded: the recipe and its name.
        home: ``EDGEXAI_HOME``; store and runs lie below.
        device: "cpu" or "cuda", handed to the stages.
        data_root: where data sets lie.
        until: last stage to run.
        from_: first stage to compute again, with everything after it.
        dry_run: report what would run; write nothing.
        may_build: which nodes may be computed here; the others are used where they are stored, else left for another
            run, with all that needs them. None: all.
        crew: further processes that help to train; nothing else, no key either, depends on them.
        events: takes what happens; None shows it on standard error.
        stages: registry of stage functions.
        source_digest: registry entry of the data's digest.
        report: registry entry of the report writer.

    Raises:
        UserError: an unknown stage name, a full disk, an unwritable home.
        RecipeGateFailed: after the report is written.
    """
    if events is None:
        with show(sys.stderr) as shown:
            return run_recipe(
                loaded,
                home=home,
                device=device,
                data_root=data_root,
                until=until,
                from_=from_,
                dry_run=dry_run,
                may_build=may_build,
                crew=crew,
                events=shown,
                stages=stages,
                source_digest=source_digest,
                report=report,
            )
    whole, keys = planned(
        loaded,
        home=home,
        device=device,
        data_root=data_root,
        stages=stages,
        source_digest=source_digest,
        write=not dry_run,
    )
    nodes, again = _chosen(whole, until=until, from_=from_)
    digest = run_digest(loaded.name, loaded.recipe, {node.name: keys[node.name] for node in nodes})
    folder = run_folder(home, loaded.name, digest)
    if dry_run:
        return _dry_run(nodes, keys, again, folder, Store(home / "store", progress=events), events)
    with explained(home):
        folder.mkdir(parents=True, exist_ok=True)
        with closing(_Recorder(folder, events)) as emit, closing(Store(home / "store", progress=emit)) as store:
            emit({"what": "run-start", "recipe": loaded.name, "nodes": len(nodes), "folder": str(folder)})
            store.clean()
            try:
                outcomes = _execute(
                    nodes,
                    keys,
                    again,
                    store,
                    emit,
                    stages,
                    home=home,
                    recipe=loaded.name,
                    device=device,
                    data_root=data_root,
                    may_build=may_build,
                    crew=crew,
                )
                done = {outcome.node.name for outcome in outcomes}
                if left := tuple(node.name for node in nodes if node.name not in done):
                    emit({"what": "run-left", "recipe": loaded.name, "left": len(left)})
                    return RunResult(folder, 0, False, tuple(outcomes), left)
                gathered = gather(
                    folder,
                    loaded.name,
                    loaded.recipe,
                    outcomes,
                    run=digest,
                    device=device,
                    write_report=lambda path: report.load()(path),
                    complete=len(nodes) == len(whole),
                )
            except BaseException as error:
                with suppress(OSError):  # the log may lie on the very disk that is full
                    emit.log({"what": "stopped", "error": f"{type(error).__name__}: {error}"})
                raise
            if (folder / PAGE).is_file():
                emit({"what": "report", "path": str(folder / PAGE)})
            for gate in gathered.gates:
                emit({"what": "gate", **gate})
            failed = [gate for gate in gathered.gates if not gate["passed"]]
            result = RunResult(folder, gathered.rows, bool(failed), tuple(outcomes))
            emit({"what": "run-end", "folder": str(folder), "rows": gathered.rows, "gate_failed": bool(failed)})
    if failed:
        raise RecipeGateFailed(
            f"{loaded.name}: {len(failed)} of {len(gathered.gates)} gates failed",
            problems=tuple(
                f"{g['name']} {g['condition']}: " + (g.get("reason") or f"value {g['value']}, bound {g['bound']}")
                for g in failed
            ),
            next_step=f"read {folder / PAGE}",
            result=result,
        )
    return result


def planned(
    loaded: LoadedRecipe,
    *,
    home: Path,
    device: str,
    data_root: Path | None,
    stages: Mapping[str, Entry] = STAGES,
    source_digest: Entry = SOURCE_DIGEST,
    write: bool = True,
) -> tuple[list[Node], dict[str, str]]:
    """The recipe's nodes in order, and node name -> key.

    Args:
        loaded: the recipe.
        home: where the memo of file digests may be kept.
        device: part of the key of timings.
        data_root: where data sets lie.
        stages: registry of stage functions.
        source_digest: registry entry of the data's digest.
        write: False keeps everything under ``home`` untouched.

    Raises:
        MissingCapability: the data, or the engine's runtime, are not on this machine.
    """
    here, engine = f"{machine()}, {device}", loaded.recipe.engine
    if engine is not None and engine.runtime == "tensorrt":
        from edgexai.engine.tensorrt_start import tensorrt_here

        here += f", {tensorrt_here()}"  # asked before hours of training, not after
    with tempfile.TemporaryDirectory() as aside:
        memo, digest = home if write else Path(aside), source_digest.load()
        digests = [digest(table, data_root=data_root, home=memo) for table in data_read(loaded.recipe)]
    nodes = plan(loaded.recipe, data_digest=digests[0], machine=here, unknown_digests=digests[1:], stages=stages)
    return nodes, plan_keys(nodes)


def _chosen(nodes: Sequence[Node], *, until: str | None, from_: str | None) -> tuple[list[Node], frozenset[str]]:
    """The nodes to run, and the names of those to compute again."""
    order = list(dict.fromkeys(node.stage for node in nodes))
    for option, stage in (("--until", until), ("--from", from_)):
        if stage is not None and stage not in order:
            raise UserError(
                f"{option} {stage}: this recipe has no such stage", next_step=f"choose one of: {', '.join(order)}"
            )
    last = len(order) - 1 if until is None else order.index(until)
    first = len(order) if from_ is None else order.index(from_)
    if from_ is not None and first > last:
        raise UserError(
            f"--from {from_} comes after --until {until}", next_step=f"stages run in this order: {', '.join(order)}"
        )
    chosen = [node for node in nodes if order.index(node.stage) <= last]
    return chosen, frozenset(node.name for node in chosen if order.index(node.stage) >= first)


def _execute(
    nodes: Sequence[Node],
    keys: Mapping[str, str],
    again: frozenset[str],
    store: Store,
    emit: Progress,
    stages: Mapping[str, Entry],
    *,
    home: Path,
    recipe: str,
    device: str,
    data_root: Path | None,
    may_build: Callable[[Node], bool] | None,
    crew: Crew | None,
) -> list[Outcome]:
    outcomes: list[Outcome] = []
    folders: dict[str, Path] = {}
    for at, node in enumerate(nodes, start=1):
        key, place = keys[node.name], {"node": node.name, "stage": node.stage, "at": at, "of": len(nodes)}
        folder = None if node.name in again else store.hold(node, key)
        built = False
        if folder is None and not (
            (may_build is None or may_build(node)) and all(name in folders for name in node.inputs.values())
        ):
            continue
        if folder is None:
            emit({"what": "node-start", **place, "key": key})

            def fill(out: Path, work: Path, node: Node = node, key: str = key) -> None:
                # In here, since a run that waits for another's result does not look at the test split itself.
                if node.stage == "measure" and node.table.get("split") != "val":
                    log_evaluation(home, recipe=recipe, arm=node.arm, data_key=keys["data"], key=key)
                inputs = {role: folders[name] for role, name in node.inputs.items()}
                job = Job(
                    name=node.name,
                    stage=node.stage,
                    arm=node.arm,
                    table=json.loads(json.dumps(node.table)),
                    inputs=inputs,
                    out=out,
                    work=work,
                    seed=node.seed,
                    device=device,
                    data_root=data_root,
                    progress=lambda event: emit({**event, "node": node.name, "stage": node.stage}),
                )
                entry = stages[node.stage]
                helped = nullcontext(job) if crew is None or node.stage not in TOGETHER else crew.lead(entry, job)
                with helped as given:
                    entry.load()(given)

            folder, built = store.build(node, key, fill, again=node.name in again, device=device)
        meta = store.meta(node, key)
        emit({"what": "node-end" if built else "node-reused", **place, "key": key, "seconds": meta["seconds"]})
        folders[node.name] = folder
        outcomes.append(Outcome(node, key, folder, meta["digest"], meta["seconds"], built))
    return outcomes


def _dry_run(
    nodes: Sequence[Node], keys: Mapping[str, str], again: frozenset[str], folder: Path, store: Store, events: Progress
) -> RunResult:
    outcomes = []
    for at, node in enumerate(nodes, start=1):
        key = keys[node.name]
        found = None if node.name in again else store.find(node, key)
        meta: dict[str, Any] = {"digest": "", "seconds": 0.0} if found is None else store.meta(node, key)
        state = "would be computed" if found is None else "stored, would be reused"
        events(
            {"what": "node-planned", "node": node.name, "stage": node.stage, "at": at, "of": len(nodes)}
            | {"key": key[:12], "state": state}
        )
        outcomes.append(Outcome(node, key, store.path(node, key), meta["digest"], meta["seconds"], found is None))
    return RunResult(folder, 0, False, tuple(outcomes))


class _Recorder:
    """Hands every event to the person and to ``log.jsonl``, and scalars to TensorBoard; stages may use threads."""

    def __init__(self, folder: Path, events: Progress) -> None:
        self._file = (folder / "log.jsonl").open("a", encoding="utf-8")
        self._scalars, self._events, self._lock = Scalars(folder / "tensorboard"), events, threading.Lock()

    def __call__(self, event: Mapping[str, Any]) -> None:
        with self._lock:
            self.log(event)  # first: whoever is told of an event may kill this process over it
            self._events(event)
            if event.get("scalars"):
                step = int(event.get("step", event.get("done", 0)))
                self._scalars.add(str(event.get("node", "run")), dict(event["scalars"]), step=step)

    def log(self, event: Mapping[str, Any]) -> None:
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        self._file.write(json.dumps({"time": now, **event}, default=_plain) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._scalars.close()
        self._file.close()


def _plain(value: Any) -> Any:
    """A NumPy or torch number as Python's own; anything else as text."""
    return value.item() if hasattr(value, "item") else str(value)
