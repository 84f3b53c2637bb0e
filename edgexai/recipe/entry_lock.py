"""Locks between processes: one file per store entry, shared by readers, exclusive to the builder.

The kernel drops a lock with its process, so a killed run leaves none behind. Runs take entries in plan order, which is
the same for all recipes; so two runs never wait for each other in a circle. Lock files stay: removing one would race.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType


class EntryLock:
    """An advisory ``flock`` on ``path``; released by ``close`` or at the end of a ``with`` block.

    Args:
        path: lock file; made when absent.
        shared: many holders may share; else one holder alone.
        on_wait: called once if somebody else holds it, before waiting.
    """

    def __init__(self, path: Path, *, shared: bool, on_wait: Callable[[], None] | None = None) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            try:
                fcntl.flock(self._file, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                if on_wait is None:
                    raise
                on_wait()
                fcntl.flock(self._file, kind)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Releases the lock; more calls do nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> EntryLock:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
