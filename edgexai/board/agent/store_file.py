"""A file of the state folder, whole or not at all: written aside, then renamed."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def store_file(path: Path, data: bytes) -> None:
    """Writes ``path``, its folders too; the bytes are on the disk when it returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with aside.open("xb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
