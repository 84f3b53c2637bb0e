"""Where a board's rows go when a flash is over: a folder per board and release, and the report of their run."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from edgexai.board.flash import Flashed
from edgexai.report.beside import beside
from edgexai.report.folder import write_whole
from edgexai.report.html import write_report
from edgexai.types import Row


@dataclass(frozen=True)
class Kept:
    """Files that were written.

    Attributes:
        rows: the board's rows, JSON lines.
        beside: Markdown: the board's rows beside the workstation's.
        report: of the run the bundle was made from; None where that run is not here.
    """

    rows: Path
    beside: Path
    report: Path | None


def keep(flashed: Flashed, *, host: str, home: Path) -> Kept:
    """Writes ``home/boards/<host>/<bundle>-<release>/`` and, where the bundle's run is here, its report again.

    Args:
        flashed: what came of the flash.
        host: as the user named the board.
        home: EDGEXAI_HOME.
    """
    name = _plain(host)
    folder = home / "boards" / name / f"{_plain(flashed.name)}-{flashed.release}"
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "rows.jsonl", _lines(flashed.rows))
    write_whole(folder / "workstation.jsonl", _lines(flashed.workstation_rows))
    write_whole(folder / "facts.json", json.dumps(flashed.facts, indent=1, sort_keys=True) + "\n")
    write_whole(folder / "beside.md", beside(flashed.workstation_rows, flashed.rows, board_name=host))
    report = None
    if (run := _run_of(flashed.lock, home)) is not None:
        (run / "boards").mkdir(exist_ok=True)
        write_whole(run / "boards" / f"{name}.jsonl", _lines(flashed.rows))
        report = write_report(run)
    return Kept(folder / "rows.jsonl", folder / "beside.md", report)


def _run_of(lock: str, home: Path) -> Path | None:
    """The newest run folder whose lock file is the bundle's own."""
    if not lock:
        return None
    found = [path for path in home.glob("runs/*/*/recipe.lock.json") if path.read_text() == lock]
    return max(found, key=lambda path: path.stat().st_mtime_ns).parent if found else None


def _plain(text: str) -> str:
    """One part of a path, whatever a bundle or a host calls itself: it can name no folder elsewhere."""
    return re.sub(r"[^A-Za-z0-9_.@-]", "_", text).lstrip(".")[:100] or "_"


def _lines(rows: tuple[Row, ...]) -> str:
    return "".join(f"{row.to_json()}\n" for row in rows)
