"""Events of a worker elsewhere, as lines of JSON in a file on the shared file system.

A worker that was killed and started again goes on in the same file; a line it did not finish is skipped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class Sender:
    """A ``Progress`` that appends to ``path``; closed at the end of a ``with`` block."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._file.write("\n")  # ends what a killed predecessor may have left unfinished

    def __call__(self, event: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(dict(event), default=_plain) + "\n")
        self._file.flush()

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


class Receiver:
    """Reads what has come since the last call, whole lines only."""

    def __init__(self, path: Path) -> None:
        self._path, self._at = path, 0

    def new(self) -> Iterator[dict[str, Any]]:
        """Events in order; none before the file exists."""
        if not self._path.is_file():
            return
        with self._path.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._at += len(whole)
        for line in whole.splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                yield event


def _plain(value: Any) -> Any:
    """A NumPy or torch number as Python's own; anything else as text."""
    return value.item() if hasattr(value, "item") else str(value)
