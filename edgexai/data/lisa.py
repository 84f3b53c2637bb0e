"""LISA: signs of US roads, cut out of film at their annotated boxes. Three cards differ in which classes they keep.

Source: A. Mogelmose, M. M. Trivedi, T. B. Moeslund, IEEE Transactions on ITS 13(4), 2012. A track number stands for a
clip, in which several signs may be seen; a clip lies wholly in train, val or test. The box is the crop, so it tells no
sign from background and is not given (NaN). The packed crops say which clips test; for the official frames a fifth of
the clips of every class do, drawn once and for all, the same for all three cards.
"""

from __future__ import annotations

import zipfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgexai.config.cards import read_card
from edgexai.config.recipe import DataTable
from edgexai.data.decode import decode
from edgexai.data.faults import Faults
from edgexai.data.gtsrb_source import READ_ERRORS, Member
from edgexai.data.lisa_files import LisaFiles, find_lisa
from edgexai.data.lisa_rows import LisaRow, read_rows
from edgexai.data.split_groups import split_groups
from edgexai.errors import UserError
from edgexai.types import Progress, Split

_LIST = "lisa_crops.csv"
_TEST_SHARE, _TEST_SEED = 0.2, 0
_NEXT = "restore the named files from the source (the data set's card says where)"


def load_lisa(table: DataTable, *, seed: int, data_root: Path | None, progress: Progress | None) -> dict[str, Split]:
    """Reads the annotations, cuts and decodes every sign whose class counts, and holds out validation clips.

    Args:
        table: name, size in pixels and share of clips held out.
        seed: of the validation split.
        data_root: where to look; else ``EDGEXAI_DATA``, else the home folder.
        progress: told how many images are decoded.

    Returns:
        "train", "val" and "test", in the order of the annotations.

    Raises:
        MissingCapability: the data are not on this machine.
        UserError: files are damaged or missing.
    """
    files = find_lisa(data_root=data_root)
    faults = Faults(f"{table.name} in {files.base}")
    class_of = read_card(table.name).class_of()
    with ExitStack() as stack:
        rows, archive = _rows(files, stack, faults)
        tests = _tests(rows)
        clips = {clip: k for k, clip in enumerate(sorted({row.clip for row in rows}))}
        kept = [k for k, row in enumerate(rows) if row.tag in class_of]
        members = [_member(files.base, archive, rows[k], faults) for k in kept]
        faults.raise_if_any(next_step=_NEXT)
        images = decode(members, size=table.size, faults=faults, progress=progress, crops=[rows[k].box for k in kept])
    faults.raise_if_any(next_step=_NEXT)
    everything = Split(
        "train",
        images,
        np.array([class_of[rows[k].tag] for k in kept], dtype=np.int64),
        np.full((len(kept), 4), np.nan, np.float32),
        np.array([clips[rows[k].clip] for k in kept], dtype=np.int64),
    )
    test = np.array([tests[k] for k in kept], dtype=np.bool_)
    learn = np.flatnonzero(~test)
    held = split_groups(everything.labels[learn], everything.tracks[learn], share=table.validation, seed=seed)
    parts = {"train": learn[~held], "val": learn[held], "test": np.flatnonzero(test)}
    if empty := [name for name, index in parts.items() if not len(index)]:
        raise UserError(f"{table.name} in {files.base}: too few clips: no image is left for {', '.join(empty)}")
    return {name: _named(name, everything.take(index)) for name, index in parts.items()}


def _named(name: str, split: Split) -> Split:
    return Split(name, split.images, split.labels, split.boxes, split.tracks)


def _rows(
    files: LisaFiles, stack: ExitStack, faults: Faults
) -> tuple[list[LisaRow], dict[str, tuple[zipfile.ZipFile, zipfile.ZipInfo]]]:
    """The annotations, and the archive's members by name (none for official frames)."""
    tags = frozenset(read_card("lisa").classes)
    where = str(files.annotations or files.crops)
    members: dict[str, tuple[zipfile.ZipFile, zipfile.ZipInfo]] = {}
    rows: list[LisaRow] = []
    try:
        if files.crops is not None:
            opened = stack.enter_context(zipfile.ZipFile(files.crops))
            members = {info.filename: (opened, info) for info in opened.infolist()}
            text = opened.read(_LIST).decode("utf-8-sig")
            where = f"{where}:{_LIST}"
        else:
            text = Path(where).read_text(encoding="utf-8-sig")
        rows = read_rows(text, where=where, packed=files.crops is not None, tags=tags, faults=faults)
        if not rows:
            faults.add(where, "no usable row")
    except KeyError:
        faults.add(where, f"no {_LIST} in it")
    except READ_ERRORS as error:
        faults.add(where, f"unreadable: {error}")
    faults.raise_if_any(next_step=_NEXT)
    return rows, members


def _member(
    base: Path, archive: dict[str, tuple[zipfile.ZipFile, zipfile.ZipInfo]], row: LisaRow, faults: Faults
) -> Member:
    if not archive:
        path = base / row.file
        if not path.is_file():
            faults.add(row.where, f"{row.file} is missing")
        return Member(str(path), path.read_bytes)
    if row.file not in archive:
        faults.add(row.where, f"{row.file} is missing")
        return Member(row.file, bytes)
    opened, info = archive[row.file]
    return Member(f"{opened.filename}:{row.file}", partial(opened.read, info))


def _tests(rows: list[LisaRow]) -> NDArray[np.bool_]:
    """True where a row is of the test split."""
    if all(row.side for row in rows):
        return np.array([row.side == "test" for row in rows])
    tags = {tag: k for k, tag in enumerate(sorted(read_card("lisa").classes))}
    clips = {clip: k for k, clip in enumerate(sorted({row.clip for row in rows}))}
    return split_groups(
        np.array([tags[row.tag] for row in rows], dtype=np.int64),
        np.array([clips[row.clip] for row in rows], dtype=np.int64),
        share=_TEST_SHARE,
        seed=_TEST_SEED,
    )
