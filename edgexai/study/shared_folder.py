"""Is a folder one and the same on every machine of a cluster, locks included? A marker file tells.

The one who asks writes a token into a file and keeps a lock on it; whoever is asked must read that token and must be
refused that lock. A file system that shares files but not locks would let two machines build one stage at one time.
"""

from __future__ import annotations

import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgexai.recipe.entry_lock import EntryLock
from edgexai.recipe.faults import explained

_MARKER = "marker"


@dataclass(frozen=True)
class Shared:
    """What is to be found elsewhere. Can be pickled.

    Attributes:
        folder: holds the marker; below the home folder.
        token: content of the marker.
        data_root: where data sets lie, or None.
        data_names: what lies in there, sorted.
    """

    folder: Path
    token: str
    data_root: Path | None
    data_names: tuple[str, ...]


@contextmanager
def sharing(home: Path, *, data_root: Path | None) -> Iterator[Shared]:
    """Inside the block the marker lies in ``home/launch/<token>/``; afterwards that folder is gone.

    Raises:
        UserError: ``home`` cannot be written.
    """
    token = secrets.token_hex(8)
    folder = home / "launch" / token
    with explained(home):
        folder.mkdir(parents=True)
        (folder / _MARKER).write_text(token, encoding="utf-8")
        lock = EntryLock(folder / f"{_MARKER}.lock", shared=False)
    try:
        yield Shared(folder, token, data_root, _names(data_root))
    finally:
        lock.close()
        shutil.rmtree(folder, ignore_errors=True)


def not_shared(shared: Shared) -> str:
    """What of it this machine does not see; "" if it sees all. Never called by the one who holds the marker."""
    host, home = socket.gethostname(), shared.folder.parent.parent
    try:
        seen = (shared.folder / _MARKER).read_text(encoding="utf-8")
        probe = EntryLock(shared.folder / f"{_MARKER}.lock", shared=False)
    except BlockingIOError:  # as it should be: the asker holds it
        if _names(shared.data_root) != shared.data_names:
            return f"{host}: {shared.data_root} does not hold the same data as on the machine that asks"
        return ""
    except OSError as error:
        return f"{host}: {home} is another folder there, or none: {error.strerror} ({error.filename})"
    probe.close()
    if seen != shared.token:
        return f"{host}: {home} is another folder there"
    return f"{host}: {home} is the same folder there, but its file system does not share locks"


def _names(folder: Path | None) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in folder.iterdir())) if folder is not None and folder.is_dir() else ()
