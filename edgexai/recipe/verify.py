"""Digests of the files of a store entry: made when it is stored, checked before it is used.

``meta.json`` lists every file with its size and SHA-256 and carries a digest of itself, so any changed byte is found.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from edgexai.recipe.keys import digest

META = "meta.json"
_BLOCK_BYTES = 1 << 20
_THREADED_BYTES = 4 << 20


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    h, block = hashlib.sha256(), memoryview(bytearray(_BLOCK_BYTES))
    with path.open("rb", buffering=0) as stream:
        while size := stream.readinto(block):
            h.update(block[:size])
    return h.hexdigest()


def list_files(folder: Path) -> list[str]:
    """Relative POSIX paths of all files below ``folder``, sorted, without ``meta.json`` at its top."""
    found = (Path(top, name).relative_to(folder).as_posix() for top, _, names in os.walk(folder) for name in names)
    return sorted(name for name in found if name != META)


def describe(folder: Path) -> dict[str, dict[str, Any]]:
    """Relative path -> ``{"bytes", "sha256"}`` of every file."""
    return {n: {"bytes": (folder / n).stat().st_size, "sha256": file_digest(folder / n)} for n in list_files(folder)}


def sealed(meta: dict[str, Any]) -> dict[str, Any]:
    """``meta`` with the digest of its files and of itself."""
    body = {**meta, "digest": digest(meta["files"])}
    return {**body, "seal": digest(body)}


class Verifier:
    """Checks entries in full, each file once as long as its inode, size and time of change stay the same."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int, int], str] = {}

    def meta(self, folder: Path) -> dict[str, Any]:
        """The entry's ``meta.json``.

        Raises:
            ValueError: it is missing, unreadable, or not what was written; the text says which.
        """
        try:
            meta = json.loads((folder / META).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(f"{META} cannot be read") from error
        if not isinstance(meta, dict) or not isinstance(meta.get("files"), dict):
            raise ValueError(f"{META} is not a description of an entry")
        if digest({name: value for name, value in meta.items() if name != "seal"}) != meta.get("seal"):
            raise ValueError(f"{META} was changed after it was written")
        return meta

    def check(self, folder: Path, *, key: str) -> dict[str, Any]:
        """Checks every file of an entry against its ``meta.json`` and returns that.

        Raises:
            ValueError: names the first file that is missing or differs.
        """
        meta = self.meta(folder)
        if meta.get("key") != key:
            raise ValueError(f"{META} belongs to another key")
        large = [name for name, file in meta["files"].items() if file["bytes"] >= _THREADED_BYTES]
        if len(large) > 1:
            # hashlib frees the interpreter, so large files are read side by side; results stay in the memo.
            with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
                problems: Iterable[str] = list(pool.map(lambda name: self._problem(folder, name, meta), large))
            for problem in filter(None, problems):
                raise ValueError(problem)
        for name in meta["files"]:
            if problem := self._problem(folder, name, meta):
                raise ValueError(problem)
        return meta

    def _problem(self, folder: Path, name: str, meta: dict[str, Any]) -> str:
        path, expected = folder / name, meta["files"][name]
        try:
            info = path.stat()
            if info.st_size != expected["bytes"]:
                return f"{name} has {info.st_size} bytes instead of {expected['bytes']}"
            mark = (str(path), info.st_ino, info.st_size, info.st_mtime_ns)
            if mark not in self._known:
                self._known[mark] = file_digest(path)
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
        return "" if self._known[mark] == expected["sha256"] else f"{name} differs from what was written"
