"""TensorBoard scalars of a run, through TensorBoard's own writer: torch is not imported, nor is anything until used."""

from __future__ import annotations

import time
from importlib import import_module
from pathlib import Path
from typing import Any


class Scalars:
    """One event file per node under ``folder``; nothing is made before the first scalar.

    Args:
        folder: ``tensorboard/`` of the run folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[str, Any] = {}

    def add(self, node: str, values: dict[str, float], *, step: int) -> None:
        """Writes ``values`` (tag -> number) of a node at ``step``."""
        event = import_module("tensorboard.compat.proto.event_pb2").Event(wall_time=time.time(), step=step)
        for tag, number in values.items():
            event.summary.value.add(tag=tag, simple_value=float(number))
        if node not in self._writers:
            (self._folder / node).mkdir(parents=True, exist_ok=True)
            open_file = import_module("tensorboard.summary.writer.event_file_writer").EventFileWriter
            self._writers[node] = open_file(str(self._folder / node))
        self._writers[node].add_event(event)

    def close(self) -> None:
        """Flushes and closes all files."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()
