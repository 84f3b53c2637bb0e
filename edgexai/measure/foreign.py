"""Measures any classifier file on a data set that need not fit in memory: planned, in batches, resumable, shareable.

What is finished lies in ``HOME/measure/<key of the plan>/``: a process that was killed goes on there, and several may
work at one time, each on its share.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgexai.config.cards import read_card
from edgexai.config.recipe import DataTable
from edgexai.data.digest import source_digest
from edgexai.data.stream import Stream, open_streams
from edgexai.engine.foreign import ForeignOnnx, Preprocessing
from edgexai.engine.open import open_engine
from edgexai.errors import MissingCapability, UserError
from edgexai.measure.class_order import output_of
from edgexai.measure.twinless import Asked, Batch, Plan, batches
from edgexai.measure.twinless_batch import measure_batch
from edgexai.measure.twinless_store import BatchStore
from edgexai.types import Predict, Progress

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Request:
    """A measurement as it is asked for. Can be pickled.

    Attributes:
        engine: ``.onnx``, ``.engine`` or ``.plan``, absolute.
        data: name of a card.
        asked: what is measured.
        prepare: how images become the input, of a foreign file.
        classes: what each output stands for, see ``class_order``; None = look at the file.
        device: "cpu" or "cuda", of an engine that edgexai made.
        data_root: where data lie, absolute, or None.
        threads: of one operator; 0 = one per core.
    """

    engine: Path
    data: str
    asked: Asked
    prepare: Preprocessing = field(default_factory=Preprocessing)
    classes: tuple[str, ...] | None = None
    device: str = "cpu"
    data_root: Path | None = None
    threads: int = 0


@dataclass(frozen=True)
class Opened:
    """A request, ready to be worked on.

    Attributes:
        plan: what decides the numbers.
        predict: the engine.
        streams: test splits, by name.
        work: every batch.
    """

    plan: Plan
    predict: Predict
    streams: Mapping[str, Stream]
    work: tuple[Batch, ...]


def is_foreign(path: Path) -> bool:
    """The file was not written by edgexai: nothing is known of it but itself.

    Raises:
        MissingCapability, UserError: as ``ForeignOnnx``.
    """
    if path.suffix in (".engine", ".plan"):
        return False
    return "edgexai.arch" not in ForeignOnnx(path, threads=1).metadata


@contextmanager
def opened(request: Request) -> Iterator[Opened]:
    """Starts the engine and lists the images; nothing is decoded yet.

    Raises:
        MissingCapability: a runtime or the data are not here.
        UserError: the file is no classifier, the classes do not fit, or what is asked for cannot be measured.
    """
    request.asked.check()
    card = read_card(request.data)
    predict, size, outputs, metadata, prepared = _engine(request)
    told = tuple(json.loads(metadata.get("edgexai.classes", "[]")))
    with open_streams(request.data, size=size, data_root=request.data_root) as streams:
        table = DataTable.model_validate({"name": request.data, "size": 32})
        ours = "edgexai.arch" in metadata or request.engine.suffix != ".onnx"
        plan = Plan(
            engine=request.engine.name,
            engine_digest=_digest(request.engine),
            engine_bytes=request.engine.stat().st_size,
            prepared=prepared,
            arm="natural" if ours else "foreign",
            artefact=metadata.get("edgexai.artefact", "fp32") if ours else "onnx",
            runtime=str(getattr(predict, "runtime", "")),
            trained_on=metadata.get("edgexai.data", "unknown"),
            data=request.data,
            data_digest=source_digest(table, data_root=request.data_root),
            classes=card.classes,
            outputs=outputs,
            output_of=output_of(card.classes, outputs, lines=request.classes, told=told),
            size=size,
            splits={name: len(stream) for name, stream in streams.items()},
            asked=request.asked,
        )
        work = batches(plan, {name: stream.labels for name, stream in streams.items()})
        yield Opened(plan, predict, streams, tuple(work))


def work_folder(home: Path, plan: Plan) -> Path:
    """Where a plan's finished batches lie."""
    return home / "measure" / plan.key


def measure_share(
    ready: Opened, *, home: Path, shard: int = 1, shards: int = 1, timed: bool = True, progress: Progress
) -> tuple[BatchStore, list[Batch]]:
    """Does one share of the work, as far as it is not done.

    Args:
        ready: of ``opened``.
        home: ``EDGEXAI_HOME``.
        shard: from 1 to ``shards``: this process does every ``shards``-th batch.
        shards: how many share the work.
        timed: also make the timings, in the first share: nothing else should run beside it.
        progress: told about finished batches.

    Returns:
        The store, which may still lack what others do, and the batches of this share.

    Raises:
        ShapeError, UserError: as ``measure_batch``.
    """
    if not 1 <= shard <= shards:
        raise UserError(f"shard {shard} of {shards}: from 1 to {shards}", next_step="e.g. --shards 1/3")
    store = BatchStore(work_folder(home, ready.plan), ready.plan, ready.work)
    mine = [batch for batch in ready.work if batch.kind != "latency"][shard - 1 :: shards]
    if timed and shard == 1:
        mine += [batch for batch in ready.work if batch.kind == "latency"]
    for done, batch in enumerate(mine):
        if not store.has(batch):
            store.put(batch, measure_batch(ready.predict, ready.streams[batch.split], batch, ready.plan))
        progress({"what": f"{batch.split} {batch.kind}", "done": done + 1, "total": len(mine)})
    return store, mine


def tests_looked_at(plan: Plan) -> list[str]:
    """Names of the test splits that a plan looks at, corrupted ones too."""
    return [*plan.splits, *(f"{name}_{s}" for name in plan.asked.corruptions for s in plan.asked.severities)]


def _engine(request: Request) -> tuple[Predict, tuple[int, int], int, dict[str, str], dict[str, Any]]:
    path = request.engine
    if path.suffix == ".onnx" and request.device == "cpu":
        engine = ForeignOnnx(path, prepare=request.prepare, threads=request.threads)
        p = engine.prepare
        prepared = {
            "mean": p.mean and list(p.mean), "std": p.std and list(p.std), "layout": p.layout,
            "answer": engine.answer, "output": p.output,
        }  # fmt: skip
        return engine, engine.size, engine.classes, engine.metadata, prepared
    if request.prepare != Preprocessing():
        raise UserError(f"{path}: preprocessing is given for a foreign ONNX file on the processor only")
    run = open_engine(path, device=request.device, threads=request.threads)
    arch = json.loads(run.metadata.get("edgexai.arch", "{}"))
    if "size" not in arch or "classes" not in arch:
        raise MissingCapability(
            f"{path}: is not of edgexai, and foreign files are run on the processor", next_step="--device cpu"
        )
    side = int(arch["size"])
    return run, (side, side), int(arch["classes"]), run.metadata, {}


def _digest(path: Path) -> str:
    """Of the file, and of the weights that lie beside it."""
    found = hashlib.sha256()
    for file in (path, path.with_name(path.name + ".data")):
        if file.is_file():
            with file.open("rb") as stream:
                while block := stream.read(_BLOCK):
                    found.update(block)
    return found.hexdigest()
