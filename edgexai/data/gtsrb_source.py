"""Opens GTSRB's files as one table of members, whether they lie in folders or in zip archives.

Members are known by what they are (class and frame, or test number), not by their path or suffix, so that folder and
archive, .ppm and .webp give the same table. The official CSV says ``.ppm`` whatever the image's own suffix is.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from edgexai.data.faults import Faults
from edgexai.data.locate import TRAINING_FOLDERS, TRUTH_NAME, GtsrbFiles

MAX_BYTES = 50_000_000
"""Of one member. The largest official image has 0.2 MB: more is a bomb or not ours."""

_Key = TypeVar("_Key", int, str, tuple[int, str])
_FRAME = re.compile(r"(?:.*/)?GTSRB/(Training|Final_Training/Images)/(\d{5})/(\d{5}_\d{5}|GT-\d{5})\.([A-Za-z0-9]+)")
_TEST = re.compile(r"(?:.*/)?GTSRB/Final_Test/Images/(\d{5})\.([A-Za-z0-9]+)")


# RuntimeError: zipfile's word for an encrypted member; a subclass of it is its word for an unknown compression.
READ_ERRORS = (OSError, ValueError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile)


@dataclass(frozen=True)
class Member:
    """One file. ``read`` may raise one of ``READ_ERRORS``."""

    where: str
    read: Callable[[], bytes]


@dataclass
class Source:
    """Every member that matters.

    Attributes:
        tables: class folder number -> its CSV.
        frames: (class folder number, file stem) -> training image.
        truth: CSV of the test labels.
        tests: file stem -> test image.
    """

    tables: dict[int, Member] = field(default_factory=dict)
    frames: dict[tuple[int, str], Member] = field(default_factory=dict)
    truth: Member | None = None
    tests: dict[str, Member] = field(default_factory=dict)


@contextmanager
def open_source(files: GtsrbFiles, *, faults: Faults) -> Iterator[Source]:
    """Lists all members; archives stay open inside the ``with`` block. Reading is safe from several threads.

    Args:
        files: where to look.
        faults: gets unreadable archives, and members that are there twice.
    """
    source = Source()
    collect = _Collector(source, faults)
    with ExitStack() as stack:
        if files.training is not None:
            for path in sorted(files.training.glob("*/*")):
                collect.offer(f"{TRAINING_FOLDERS[0]}/{path.parent.name}/{path.name}", _file(path), "frame")
        if files.test is not None:
            for path in sorted(files.test.iterdir()):
                collect.offer(f"GTSRB/Final_Test/Images/{path.name}", _file(path), "test")
        if files.truth is not None:
            collect.offer(TRUTH_NAME, _file(files.truth), "truth")
        parts = {"frame": files.training, "test": files.test, "truth": files.truth}
        wanted = {part for part, place in parts.items() if place is None}
        for archive in files.archives:
            try:
                opened = stack.enter_context(zipfile.ZipFile(archive))
            except (OSError, zipfile.BadZipFile, RuntimeError, ValueError) as error:
                faults.add(str(archive), f"not a whole zip archive ({error}); was the download cut off?")
                continue
            for info in opened.infolist():
                member = Member(f"{archive}:{info.filename}", partial(_read_zipped, opened, info))
                for part in wanted:
                    collect.offer(info.filename, member, part)
        yield source


class _Collector:
    """Sorts members into a source by their name inside the tree."""

    def __init__(self, source: Source, faults: Faults) -> None:
        self._source, self._faults = source, faults
        self._training = ""

    def offer(self, name: str, member: Member, part: str) -> None:
        if part == "frame" and (match := _FRAME.fullmatch(name)):
            tree, label, stem, suffix = match.groups()
            if self._training not in ("", tree):
                return self._twice(member, f"a second training set; {self._training} was found before")
            self._training = tree
            if suffix.lower() == "csv":
                self._put(self._source.tables, int(label), member)
            elif not stem.startswith("GT-"):
                self._put(self._source.frames, (int(label), stem), member)
        elif part == "test" and (match := _TEST.fullmatch(name)):
            self._put(self._source.tests, match.group(1), member)
        elif part == "truth" and (name == TRUTH_NAME or name.endswith(f"/{TRUTH_NAME}")):
            if self._source.truth is not None:
                return self._twice(member, f"also at {self._source.truth.where}; keep one")
            self._source.truth = member
        return None

    def _put(self, table: dict[_Key, Member], key: _Key, member: Member) -> None:
        if key in table:
            self._twice(member, f"also at {table[key].where}; keep one")
        else:
            table[key] = member

    def _twice(self, member: Member, problem: str) -> None:
        self._faults.add(member.where, problem)


def _file(path: Path) -> Member:
    return Member(str(path), partial(_read_file, path))


def _read_file(path: Path) -> bytes:
    with path.open("rb") as stream:
        data = stream.read(MAX_BYTES + 1)
    return _within(data, len(data))


def _read_zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    _within(b"", info.file_size)
    return archive.read(info)


def _within(data: bytes, size: int) -> bytes:
    if size > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES // 1_000_000} MB unpacked")
    return data
