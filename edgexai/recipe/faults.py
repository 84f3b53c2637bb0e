"""Turns a full disk or an unwritable folder into the error a user reads."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgexai.errors import EdgexaiError, UserError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_NOT_A_FOLDER = {errno.ENOTDIR, errno.EEXIST}
_TINY_BYTES = 1 << 16


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Inside, a fault of the disk under ``folder`` becomes a ``UserError``; everything else passes.

    Raises:
        UserError: the disk is full, or ``folder`` cannot be written.
    """
    try:
        yield
    except EdgexaiError:
        raise
    except Exception as error:
        if _is_full(error, folder):
            raise UserError(
                f"disk full while writing under {folder}",
                problems=("nothing half-written was kept; finished stages and checkpoints are",),
                next_step="free some space or set EDGEXAI_HOME to another disk, then run the same command again",
            ) from error
        if isinstance(error, OSError) and _is_forbidden(error, folder):
            raise UserError(
                f"cannot write under {folder}: {error.strerror}",
                next_step="make the folder writable or set EDGEXAI_HOME to one that is",
            ) from error
        raise


def _is_forbidden(error: OSError, folder: Path) -> bool:
    if error.errno in _NOT_A_FOLDER:
        return not _nearest(folder).is_dir()  # else a stage made a file twice: a bug, not the user's fault
    name = error.filename
    return (
        error.errno in _FORBIDDEN
        and isinstance(name, str | os.PathLike)
        and Path(os.fspath(name)).absolute().is_relative_to(folder.absolute())
    )


def _is_full(error: BaseException | None, folder: Path) -> bool:
    """Looks along the chain of causes: libraries written in C or Rust hide the code in their own text."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        if "No space left on device" in str(error) or "Disk quota exceeded" in str(error):
            return True
        if isinstance(error, OSError) and error.errno is None and _free_bytes(folder) < _TINY_BYTES:
            return True  # numpy: "1000 requested and 12 written", without a code
        error = error.__cause__ or error.__context__
    return False


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(_nearest(folder)).free


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder
