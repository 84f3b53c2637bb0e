"""What a person sees of a run: Rich bars on a terminal, plain lines elsewhere, at most one per 10 s inside a stage.

Events are mappings with "what": run-start, node-start, node-reused, node-planned, node-end, waiting, damaged, report,
gate, run-end, or whatever a stage says of itself ("epoch", ...), with "done" and "total" where it counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

from edgexai.types import Progress

_QUIET_S = 10.0
_OWN = ("what", "node", "stage", "done", "total", "scalars", "step", "at", "of")


@contextmanager
def show(stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> Iterator[Progress]:
    """A ``Progress`` that writes to ``stream``; bars are taken down at the end of the block.

    Args:
        stream: usually standard error; a terminal gets bars.
        clock: seconds, for the pace of plain lines.
    """
    if not stream.isatty():
        yield _Plain(stream, clock)
        return
    bars = _Bars(stream)
    try:
        yield bars
    finally:
        bars.close()


def line_of(event: Mapping[str, Any]) -> str:
    """One line for the events of the run itself; "" for those a stage reports about its inside."""
    node = event.get("node", "")
    of = f"[{event['at']}/{event['of']}] " if "at" in event else ""
    lines = {
        "run-start": lambda: f"{event['recipe']}: {event['nodes']} stages, into {event['folder']}",
        "node-start": lambda: f"{of}{node} ...",
        "node-reused": lambda: f"{of}{node}: stored, reused",
        "node-planned": lambda: f"{of}{node}: {event['state']} ({event['key']})",
        "node-end": lambda: f"{of}{node}: done in {event['seconds']:.1f} s",
        "waiting": lambda: f"{node}: waiting for {event['for']}",
        "damaged": lambda: f"{node}: stored result is damaged and not used: {event['problem']} ({event['path']})",
        "gate": lambda: f"gate {event['name']} {event['condition']}: {'passed' if event['passed'] else 'FAILED'}",
        "report": lambda: f"report: {event['path']}",
        "recipe-start": lambda: f"{of}{event['recipe']} ...",
        "recipe-end": lambda: f"{of}{event['recipe']}: {event['says']} ({event['seconds']:.1f} s)",
        "launcher": lambda: str(event["says"]),
    }
    make = lines.get(str(event.get("what", "")))
    return make() if make else ""


def _inside(event: Mapping[str, Any]) -> str:
    """What a stage says, e.g. ``train: epoch 3/12 loss 0.1``."""
    count = f" {event['done']}/{event['total']}" if "done" in event and "total" in event else ""
    numbers = {**event, **event.get("scalars", {})}
    rest = [f"{key} {_short(value)}" for key, value in numbers.items() if key not in _OWN]
    return " ".join([f"{event.get('node', '')}: {event.get('what', '')}{count}", *rest])


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class _Plain:
    def __init__(self, stream: TextIO, clock: Callable[[], float]) -> None:
        self._stream, self._clock, self._last = stream, clock, clock()

    def __call__(self, event: Mapping[str, Any]) -> None:
        line = line_of(event)
        if not line:
            if event.get("what") == "run-end" or self._clock() - self._last < _QUIET_S:
                return
            line = f"  {_inside(event)}"
        self._last = self._clock()
        self._stream.write(f"{line}\n")
        self._stream.flush()


class _Bars:
    """Rich is imported at the first event that needs it: a run that reuses everything never pays for it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._progress: Any = None
        self._task: Any = None

    def __call__(self, event: Mapping[str, Any]) -> None:
        what = event.get("what")
        if what == "node-start":
            self._start(f"{event['node']}")
            return
        line = line_of(event)
        if line and what in ("node-end", "report", "run-start"):
            self._stop()
        if line:
            self._print(line)
        elif self._progress is not None and what != "run-end":
            total, done = event.get("total"), event.get("done")
            self._progress.update(self._task, description=_inside(event), total=total, completed=done)

    def close(self) -> None:
        self._stop()

    def _print(self, line: str) -> None:
        if self._progress is not None:
            self._progress.console.print(line, highlight=False, markup=False)
        else:
            self._stream.write(f"{line}\n")
            self._stream.flush()

    def _start(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._stop()
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=Console(file=self._stream), transient=True)
        self._task = self._progress.add_task(title, total=None)
        self._progress.start()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
