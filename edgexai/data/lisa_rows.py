"""Reads LISA's annotations: the official ``allAnnotations.csv``, and the list inside the packed crops.

Official: separator ``;``, one row a sign, 11 fields (the seventh holds two flags with a comma between), box in pixels
of the full frame. Boxes are half-open: a crop is x2 - x1 pixels wide.
Source: A. Mogelmose, M. M. Trivedi, T. B. Moeslund, IEEE Transactions on ITS 13(4), 2012, and the data set's own files.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from edgexai.data.faults import Faults

_OFFICIAL = (
    "Filename",
    "Annotation tag",
    "Upper left corner X",
    "Upper left corner Y",
    "Lower right corner X",
    "Lower right corner Y",
    "Occluded,On another road",
    "Origin file",
    "Origin frame number",
    "Origin track",
    "Origin track frame number",
)
_PACKED = ("file", "tag", "split_track", "w", "h", "track")


@dataclass(frozen=True)
class LisaRow:
    """One sign.

    Attributes:
        where: CSV and line, for messages.
        file: frame, or crop, relative to the CSV.
        tag: LISA's class name.
        box: x1, y1, x2, y2 in pixels of the file.
        clip: the piece of film; it may show several signs.
        side: "train" or "test" where the source says so, else "".
    """

    where: str
    file: str
    tag: str
    box: tuple[int, int, int, int]
    clip: str
    side: Literal["train", "test", ""]


def read_rows(text: str, *, where: str, packed: bool, tags: Collection[str], faults: Faults) -> list[LisaRow]:
    """All sound rows, in the file's order.

    Args:
        text: of the CSV.
        where: its name.
        packed: the list inside the packed crops, else the official one.
        tags: every tag that may occur.
        faults: gets every other row, with its line.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="," if packed else ";")
    header = tuple(cell.strip() for cell in next(reader, []))
    if packed and (lacking := [name for name in _PACKED if name not in header]):
        faults.add(f"{where}:1", f"no column {', no column '.join(lacking)}")
        return []
    if not packed and header != _OFFICIAL:
        faults.add(f"{where}:1", f"header is {';'.join(header)[:80]!r}, expected {';'.join(_OFFICIAL)[:80]!r}...")
        return []
    rows = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            place = f"{where}:{reader.line_num}"
            if len(cells) != len(header):
                faults.add(place, f"{len(cells)} fields, expected {len(header)}")
                continue
            named = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
            row = _packed_row(named, place, tags) if packed else _official_row(named, place, tags)
            if isinstance(row, str):
                faults.add(place, row)
            else:
                rows.append(row)
    except csv.Error as error:
        faults.add(f"{where}:{reader.line_num}", f"not CSV: {error}")
    return rows


def _official_row(cells: dict[str, str], where: str, tags: Collection[str]) -> LisaRow | str:
    numbers = [cells[name] for name in _OFFICIAL[2:6]]
    if odd := [text for text in numbers if not text.isdecimal() or len(text) > 6]:
        return f"box corner {odd[0]!r} is not a whole number"
    x1, y1, x2, y2 = map(int, numbers)
    return _row(where, cells["Filename"], cells["Annotation tag"], (x1, y1, x2, y2), cells["Origin track"], "", tags)


def _packed_row(cells: dict[str, str], where: str, tags: Collection[str]) -> LisaRow | str:
    numbers, side = [cells["w"], cells["h"]], cells["split_track"]
    if odd := [text for text in numbers if not text.isdecimal() or len(text) > 6]:
        return f"size {odd[0]!r} is not a whole number"
    width, height = map(int, numbers)
    if side not in ("train", "test"):
        return f"split_track = {side!r}, allowed train, test"
    known: Literal["train", "test"] = "train" if side == "train" else "test"
    return _row(where, cells["file"], cells["tag"], (0, 0, width, height), cells["track"], known, tags)


def _row(
    where: str,
    file: str,
    tag: str,
    box: tuple[int, int, int, int],
    clip: str,
    side: Literal["train", "test", ""],
    tags: Collection[str],
) -> LisaRow | str:
    if tag not in tags:
        return f"tag {tag!r} is none of LISA's {len(tags)}"
    if file.startswith("/") or ".." in file.split("/") or not file:
        return f"file {file!r} is not a path below the CSV"
    if box[2] <= box[0] or box[3] <= box[1]:
        return f"empty box {box[0]},{box[1]},{box[2]},{box[3]}"
    if not clip:
        return "no track named"
    return LisaRow(where, file, tag, box, clip, side)
