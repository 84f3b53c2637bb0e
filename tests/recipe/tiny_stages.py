"""Real, tiny stages: files made from seed, table and inputs. What a test wants to go wrong is said in ``TINY``.

``TINY`` (environment) is JSON: {"sleep": {stage: seconds per step}, "bytes": {stage: size}, "fail": {node: text},
"calls": file that gets one line per call}.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from edgexai.recipe import STAGES
from edgexai.recipe.job import Job
from edgexai.registry import Entry
from edgexai.types import Row

REGISTRY = {stage: Entry(f"tiny_stages:{stage}", 1) for stage in STAGES}
SOURCE = Entry("tiny_stages:source_digest")
REPORT = Entry("tiny_stages:write_report")


def source_digest(table: Any, *, data_root: Path | None, home: Path) -> str:
    return os.environ.get("TINY_DATA", "data-1")


def write_report(folder: Path) -> Path:
    _call(f"report {folder.name}")
    page = folder / "report.html"
    page.write_text((folder / "measurements.jsonl").read_text())
    return page


def _wish(kind: str, name: str, default: Any) -> Any:
    return json.loads(os.environ.get("TINY", "{}")).get(kind, {}).get(name, default)


def _call(text: str) -> None:
    if path := json.loads(os.environ.get("TINY", "{}")).get("calls"):
        with open(path, "a") as stream:
            stream.write(f"{text}\n")


def _state(job: Job) -> str:
    h = hashlib.sha256(f"{job.stage} {job.seed} {json.dumps(job.table, sort_keys=True)}".encode())
    for role in sorted(job.inputs):
        h.update(role.encode() + (job.inputs[role] / "state").read_bytes())
    return h.hexdigest()


def _steps(job: Job, total: int) -> None:
    """A chain of digests with a checkpoint after each link, as training has epochs."""
    _call(f"start {job.name}")
    checkpoint = job.work / "checkpoint.json"
    done, state = json.loads(checkpoint.read_text()) if checkpoint.exists() else (0, _state(job))
    for step in range(done, total):
        time.sleep(_wish("sleep", job.stage, 0.0))
        state = hashlib.sha256(state.encode()).hexdigest()
        (job.work / "aside").write_text(json.dumps([step + 1, state]))
        (job.work / "aside").replace(checkpoint)
        _call(f"step {job.name} {step}")
        job.progress({"what": "epoch", "done": step + 1, "total": total, "scalars": {"loss": 1 / (step + 1)}})
    if message := _wish("fail", job.name, ""):
        raise OSError(errno.ENOSPC, message) if message == "full" else RuntimeError(message)
    (job.out / "state").write_text(state)
    if size := _wish("bytes", job.stage, 0):
        (job.out / "large.bin").write_bytes(bytes(size))


def data(job: Job) -> None:
    _steps(job, 1)
    (job.out / "pack.json").write_text(json.dumps({"classes": ["stop", "yield"]}))


def train(job: Job) -> None:
    _steps(job, 5)


def refine(job: Job) -> None:
    _steps(job, 3)
    (job.out / "pictures").mkdir()
    (job.out / "pictures" / f"refine_{job.arm}.npz").write_bytes(b"picture of " + job.arm.encode())


def prune(job: Job) -> None:
    _steps(job, 2)


def export(job: Job) -> None:
    _steps(job, 1)


def engine(job: Job) -> None:
    _steps(job, 1)
    _rows(job, "agreement", "unitless")


def probe(job: Job) -> None:
    _steps(job, 1)


def measure(job: Job) -> None:
    _steps(job, 1)
    _rows(job, "clean_acc", "fraction")


def latency(job: Job) -> None:
    _steps(job, 1)
    _rows(job, "latency_ms", "ms")


def compare(job: Job) -> None:
    _steps(job, 1)
    lines = [(job.inputs[role] / "rows.jsonl").read_text() for role in job.inputs if role not in ("data", "pruned")]
    rows = [json.loads(line) for text in lines for line in text.splitlines()]
    flagged = [Row.from_json(json.dumps({**row, "flags": ["seen"]})).to_json() for row in rows]
    (job.out / "rows.jsonl").write_text("\n".join(flagged) + "\n")
    bound = float(job.table["clean_acc"].split()[1]) if job.table.get("clean_acc") else None
    gate = {"name": "clean_acc", "condition": job.table.get("clean_acc"), "value": 0.5, "bound": 0.5}
    gates = [] if bound is None else [{**gate, "passed": bound <= 0.5}]
    (job.out / "gates.json").write_text(json.dumps(gates))


def _rows(job: Job, metric: str, unit: str) -> None:
    (job.out / "rows.jsonl").write_text(Row(job.arm, "fp32", "engine", metric, 0.5, unit, 10).to_json() + "\n")
