"""Says which data a run would read, without reading them twice and without torch.

Large files: SHA-256 of their bytes, remembered in the home folder by path, size and modification time. Folders: paths,
sizes and modification times of all files, and the CSVs' contents; 39,000 files are not read again for each run.
Rendered sets: the renderer's version. Every digest also covers the class names and the loader's version.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path

from edgexai.config.cards import read_card
from edgexai.config.home import default_home
from edgexai.config.recipe import DataTable
from edgexai.data import DATASETS, OWN
from edgexai.data.locate import GtsrbFiles, locate_gtsrb
from edgexai.data.place import Place, find_place

_MEMO = "file_digests.json"


def source_digest(table: DataTable, *, data_root: Path | None = None, home: Path | None = None) -> str:
    """SHA-256, hex, of what the loader would read; the recipe's own numbers (size, share) are not part of it.

    Args:
        table: the recipe's [data].
        data_root: as for ``load``.
        home: only keeps the remembered digests; the default home when absent.

    Raises:
        MissingCapability: the data are not on this machine.
        UserError: the folder that was named does not exist.
    """
    card, entry = read_card(table.name), DATASETS.get(table.name, OWN)
    parts = [table.name, entry.where, str(entry.version), *card.classes]
    if table.rendered:
        parts.append(f"signs {DATASETS['signs'].version}")
    # Searched exactly as the loader searches, wherever the memo is kept.
    memo = (home or default_home()) / _MEMO
    if table.name == "gtsrb":
        parts += _of_files(locate_gtsrb(data_root=data_root), memo=memo)
    elif (place := find_place(table.name, data_root=data_root)) is not None:
        parts += [*(f"{label} is {name}" for label, name in sorted(card.labels.items())), *_of_place(place, memo=memo)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _of_files(files: GtsrbFiles, *, memo: Path) -> list[str]:
    lines: list[str] = []
    for folder in (files.training, files.test):
        if folder is not None:
            lines += sorted(_tree(folder, prefix=folder.relative_to(files.base).as_posix()))
    if files.truth is not None:
        lines.append(f"truth {hashlib.sha256(files.truth.read_bytes()).hexdigest()}")
    return lines + sorted(_of_archives(files.archives, memo=memo))


def _of_place(place: Place, *, memo: Path) -> list[str]:
    """The same data elsewhere have the same lines, where they lie under one base."""
    base = place.base if place.base.is_dir() else place.base.parent
    lines: list[str] = []
    for folder in place.folders:
        lines += sorted(_tree(folder, prefix=os.path.relpath(folder, base)))
    for path in place.listed:
        about = path.stat()
        lines.append(f"{os.path.relpath(path, base)} {about.st_size} {about.st_mtime_ns}")
    return lines + sorted(_of_archives(place.files, memo=memo))


def _tree(folder: Path | str, *, prefix: str) -> list[str]:
    lines = []
    with os.scandir(folder) as entries:
        for entry in entries:
            path = f"{prefix}/{entry.name}"
            if entry.is_dir():
                lines += _tree(entry.path, prefix=path)
            elif entry.name.lower().endswith(".csv"):
                lines.append(f"{path} {hashlib.sha256(Path(entry.path).read_bytes()).hexdigest()}")
            else:
                about = entry.stat()
                lines.append(f"{path} {about.st_size} {about.st_mtime_ns}")
    return lines


def _of_archives(archives: tuple[Path, ...], *, memo: Path) -> list[str]:
    known = _read_memo(memo)
    digests, fresh = [], {}
    for path in archives:
        about = path.stat()
        key = f"{path.resolve()}|{about.st_size}|{about.st_mtime_ns}"
        if key not in known:
            with path.open("rb") as stream:
                fresh[key] = known[key] = _sha256(stream.fileno())
        digests.append(known[key])
    if fresh:
        _write_memo(memo, known)
    return digests


def _sha256(descriptor: int) -> str:
    digest = hashlib.sha256()
    while block := os.read(descriptor, 1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _read_memo(memo: Path) -> dict[str, str]:
    # The memo only saves time: a damaged one is the same as none.
    try:
        content = json.loads(memo.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in content.items()} if isinstance(content, dict) else {}


def _write_memo(memo: Path, known: dict[str, str]) -> None:
    # A home that cannot be written costs a second hashing, nothing else; the store complains where it matters.
    with contextlib.suppress(OSError):
        memo.parent.mkdir(parents=True, exist_ok=True)
        descriptor, aside = tempfile.mkstemp(dir=memo.parent, prefix=f"{_MEMO}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(known, stream)
        os.replace(aside, memo)
