"""The folder a reader opens: ``runs/<recipe>/<12 hex>/`` gathers rows, gates and pictures of the stored entries.

Pictures and the deployed engine are copied, not linked: an edit there must not reach the store. Every file is written
aside and renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgexai import __version__
from edgexai.config.recipe import Recipe
from edgexai.recipe.entry_lock import EntryLock
from edgexai.recipe.lock import LOCK, Outcome, lock_contents
from edgexai.recipe.plan import final_arm
from edgexai.recipe.verify import file_digest
from edgexai.report.junit import junit
from edgexai.report.sarif import sarif
from edgexai.types import Row

ROWS, GATES, PAGE = "measurements.jsonl", "gates.json", "report.html"
SARIF, JUNIT = "results.sarif", "junit.xml"
ENGINES = "engine"


@dataclass(frozen=True)
class Gathered:
    """What the entries contribute to a run folder.

    Attributes:
        rows: number of measurement rows.
        gates: verdicts of the compare stage, each with name, condition, value, bound, passed.
        changed: False if the folder held exactly this already.
    """

    rows: int
    gates: tuple[dict[str, Any], ...]
    changed: bool


def run_folder(home: Path, name: str, digest: str) -> Path:
    """Where a run of the recipe ``name`` with ``run_digest`` lies."""
    return home / "runs" / (re.sub(r"[^\w.-]+", "_", name).strip(".") or "recipe") / digest[:12]


def gather(
    folder: Path,
    name: str,
    recipe: Recipe,
    outcomes: Sequence[Outcome],
    *,
    run: str,
    device: str,
    write_report: Callable[[Path], object],
    complete: bool,
) -> Gathered:
    """Fills ``folder`` from the entries and makes the report, unless all of it is there already.

    Args:
        folder: of the run; exists.
        name: of the recipe.
        recipe: resolved.
        outcomes: all nodes of the run, in order.
        run: ``run_digest``.
        device: that computed.
        write_report: called with ``folder`` when there is something to report.
        complete: every node of the plan has run, so ``runs/<recipe>/latest`` shall point here.
    """
    rows = _rows(outcomes)
    gates = _gates(outcomes)
    contents = {ROWS: rows, GATES: json.dumps(gates, indent=1).encode() + b"\n"}
    measured = [Row.from_json(line) for line in rows.decode("utf-8").splitlines()]
    if measured:
        contents[SARIF] = sarif(measured, gates, name=name).encode()
        contents[JUNIT] = junit(measured, gates, name=name).encode()
    pictures = {f"pictures/{p.name}": p for o in outcomes for p in sorted((o.folder / "pictures").glob("*.npz"))}
    copies = {**pictures, **_engines(outcomes, final_arm(recipe))}
    files = {rel: hashlib.sha256(data).hexdigest() for rel, data in contents.items()}
    files.update({rel: file_digest(path) for rel, path in copies.items()})
    count = len(rows.splitlines())
    reported = count > 0 or bool(pictures)
    with EntryLock(folder.parent / f"{folder.name}.lock", shared=False, on_wait=lambda: None):
        changed = not _is_current(folder, outcomes, files, reported=reported)
        if changed:
            # The old page goes first: a kill in between must not leave it beside newer numbers.
            (folder / PAGE).unlink(missing_ok=True)
            for old in (*(folder / "pictures").glob("*"), *(folder / ENGINES).glob("*")):
                if str(old.relative_to(folder)) not in copies:
                    old.unlink()
            for rel, data in contents.items():
                _write(folder / rel, data)
            for rel, path in copies.items():
                _write(folder / rel, path.read_bytes())
            lock = lock_contents(name, recipe, outcomes, run=run, device=device, files=files)
            _write(folder / LOCK, json.dumps(lock, indent=1, ensure_ascii=False).encode() + b"\n")
            if reported:
                write_report(folder)
        os.utime(folder)
        if complete:
            _point(folder.parent / "latest", folder.name)
    return Gathered(count, tuple(gates), changed)


def _engines(outcomes: Sequence[Outcome], arm: str) -> dict[str, Path]:
    """The files that are deployed: the final arm's ONNX in every flavour it was exported in."""
    return {
        f"{ENGINES}/{path.name}": path
        for outcome in outcomes
        if outcome.node.stage == "export" and outcome.node.arm == arm
        for path in sorted(outcome.folder.glob("*.onnx"))
    }


def _rows(outcomes: Sequence[Outcome]) -> bytes:
    """Rows of all entries; those of compare alone where it has any, since they are all rows with their flags set."""
    found = {o.node.name: o.folder / "rows.jsonl" for o in outcomes if (o.folder / "rows.jsonl").is_file()}
    paths = [found["compare"]] if "compare" in found else list(found.values())
    return b"".join(line + b"\n" for path in paths for line in path.read_bytes().splitlines() if line.strip())


def _gates(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    for outcome in outcomes:
        path = outcome.folder / GATES
        if outcome.node.stage == "compare" and path.is_file():
            verdicts: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
            return verdicts
    return []


def _is_current(folder: Path, outcomes: Sequence[Outcome], files: dict[str, str], *, reported: bool) -> bool:
    if reported and not (folder / PAGE).is_file():
        return False
    try:
        lock = json.loads((folder / LOCK).read_text(encoding="utf-8"))
        same = (
            lock["files"] == files
            and lock["environment"]["edgexai"] == __version__
            and [(n["name"], n["key"], n["digest"]) for n in lock["nodes"]]
            == [(o.node.name, o.key, o.digest) for o in outcomes]
        )
        return same and all(file_digest(folder / rel) == known for rel, known in files.items())
    except (OSError, ValueError, KeyError, TypeError):
        return False  # absent or damaged: written afresh


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        aside.write_bytes(data)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def _point(link: Path, target: str) -> None:
    """Moves the symbolic link in one step."""
    aside = link.with_name(f".latest.{secrets.token_hex(4)}")
    aside.symlink_to(target)
    aside.replace(link)
