"""Opens a bundle without trusting it: every byte is compared with what ``canonical_tar`` would have written.

So there is nothing to interpret: absolute paths, "..", links, devices, duplicates, members beyond the manifest or
longer than it says cannot be expressed. Sizes are known, and held against the file's and the disk's, before anything
is written. Files go to a fresh folder aside, which gets its name only when every digest holds.
Standard library only: it runs on the board.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

from edgexai.board.canonical_tar import BLOCK_BYTES, END, header, mode_of, padding, size_in_tar
from edgexai.board.manifest import MOST_BYTES, NAME, read_manifest
from edgexai.errors import GateFailed, UserError

_CHUNK_BYTES = 1 << 20
_AGAIN = "get the bundle again from its source"


def unpack(bundle: Path, target: Path) -> dict[str, Any]:
    """Unpacks ``bundle`` as the new folder ``target``.

    Returns:
        The manifest.

    Raises:
        UserError: no such file, not a bundle, ``target`` exists, or the disk cannot hold it.
        GateFailed: a byte differs from what was written.
        MissingCapability: the bundle is newer than this reader.
    """
    if target.exists() or target.is_symlink():
        raise UserError(f"{target}: is there already", next_step="give the name of a new folder")
    if not target.parent.is_dir():
        raise UserError(f"{target.parent}: no such folder", next_step=f"mkdir -p {target.parent}")
    with _opened(bundle) as stream:
        data, manifest = _manifest(stream, bundle)
        files = sorted(manifest["files"].items())
        whole = size_in_tar(len(data)) + sum(size_in_tar(about["bytes"]) for _, about in files) + len(END)
        here = os.fstat(stream.fileno()).st_size
        if here != whole:
            raise GateFailed(f"{bundle}: {here} bytes, its manifest makes it {whole}", next_step=_AGAIN)
        free = shutil.disk_usage(target.parent).free
        if free < whole:
            raise _full(target, f"needs {whole} bytes, {free} are free")
        aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            (aside / NAME).write_bytes(data)
            for name, about in files:
                _extract(stream, aside, name, about, bundle)
            if stream.read(len(END) + 1) != END:
                raise GateFailed(f"{bundle}: does not end as it was written", next_step=_AGAIN)
            aside.chmod(0o755)
            aside.rename(target)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise _full(target, "the disk is full") from error
            raise
        finally:
            if aside.exists():
                shutil.rmtree(aside)
    return manifest


def check_unpacked(folder: Path) -> dict[str, Any]:
    """The manifest of an unpacked bundle, after every file was held against it.

    Raises:
        UserError: not an unpacked bundle.
        GateFailed: a file is missing, more, or differs.
        MissingCapability: the bundle is newer than this reader.
    """
    path = folder / NAME
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= MOST_BYTES else b""
    except OSError as error:
        raise UserError(f"{folder}: not an unpacked bundle: no {NAME}") from error
    manifest = read_manifest(data)
    found = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()}
    wrong = [f"{name} does not belong to the bundle" for name in sorted(found - {*manifest["files"], NAME})]
    for name, about in sorted(manifest["files"].items()):
        file = folder / name
        if name not in found or file.is_symlink() or not file.is_file():
            wrong.append(f"{name} is missing")
        elif file.stat().st_size != about["bytes"] or digest(file) != about["sha256"]:
            wrong.append(f"{name} differs from what was written")
    if wrong:
        raise GateFailed(f"{folder}: not the bundle that was made", problems=tuple(wrong), next_step=_AGAIN)
    return manifest


def _opened(bundle: Path) -> BinaryIO:
    try:
        if not bundle.is_file():
            raise UserError(f"{bundle}: no such file")
        return bundle.open("rb")
    except OSError as error:
        raise UserError(f"{bundle}: cannot be read: {error.strerror}") from error


def _manifest(stream: BinaryIO, bundle: Path) -> tuple[bytes, dict[str, Any]]:
    first = stream.read(BLOCK_BYTES)
    text = first[124:135]
    # int() would also take signs, blanks and underscores
    size = int(text, 8) if len(text) == 11 and all(b in b"01234567" for b in text) else -1
    if not 0 < size <= MOST_BYTES or first != header(NAME, size):
        raise UserError(f"{bundle}: not a bundle: it does not begin with {NAME}", next_step="edgexai bundle makes one")
    data = stream.read(size)
    if len(data) != size or stream.read(len(padding(size))) != padding(size):
        raise GateFailed(f"{bundle}: cut short, or changed after it was written", next_step=_AGAIN)
    return data, read_manifest(data)


def _extract(stream: BinaryIO, aside: Path, name: str, about: dict[str, Any], bundle: Path) -> None:
    size = about["bytes"]
    if stream.read(BLOCK_BYTES) != header(name, size):
        raise GateFailed(f"{bundle}: where {name} should begin is something else", next_step=_AGAIN)
    path = aside / name
    path.parent.mkdir(parents=True, exist_ok=True)
    hashed, left = hashlib.sha256(), size
    # exclusive: whatever a file system makes of two names, nothing is written over
    with path.open("xb") as out:
        while left:
            block = stream.read(min(left, _CHUNK_BYTES))
            if not block:
                raise GateFailed(f"{bundle}: ends within {name}", next_step=_AGAIN)
            hashed.update(block)
            out.write(block)
            left -= len(block)
    path.chmod(mode_of(name))
    if hashed.hexdigest() != about["sha256"] or stream.read(len(padding(size))) != padding(size):
        raise GateFailed(f"{bundle}: {name} differs from what was written", next_step=_AGAIN)


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    hashed = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_CHUNK_BYTES):
            hashed.update(block)
    return hashed.hexdigest()


def _full(target: Path, why: str) -> UserError:
    return UserError(f"{target}: {why}; nothing is kept", next_step="free some space, then give the same command")
