"""Reads GTSRB's ground-truth CSV: separator ``;``, one row an image.

``Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId``; the ROI is the sign's box in that image's pixels,
half-open (the official border of at least 5 px holds on all four sides only if X2 and Y2 are outside the box).
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass

from edgexai.data.faults import Faults
from edgexai.data.gtsrb_source import READ_ERRORS, Member

N_CLASSES = 43
HEADER = ("Filename", "Width", "Height", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2", "ClassId")


@dataclass(frozen=True)
class GtsrbRow:
    """One image's ground truth.

    Attributes:
        stem: file name without suffix.
        where: CSV and line, for messages.
        width, height: of the original image, pixels.
        box: x1, y1, x2, y2 in original pixels, half-open.
        label: 0..42.
    """

    stem: str
    where: str
    width: int
    height: int
    box: tuple[int, int, int, int]
    label: int


def read_rows(member: Member, *, stem: re.Pattern[str], label: int | None, faults: Faults) -> list[GtsrbRow]:
    """All sound rows, sorted by file stem.

    Args:
        member: the CSV.
        stem: what a file's stem must look like.
        label: the class every row must have, or None where rows may differ.
        faults: gets every other row, with its line.
    """
    try:
        text = member.read().decode("utf-8-sig")
    except READ_ERRORS as error:
        faults.add(member.where, f"unreadable: {error}")
        return []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";")
    rows: dict[str, GtsrbRow] = {}
    try:
        header = tuple(cell.strip() for cell in next(reader, []))
        if header != HEADER:
            faults.add(f"{member.where}:1", f"header is {';'.join(header)[:80]!r}, expected {';'.join(HEADER)!r}")
            return []
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            where = f"{member.where}:{reader.line_num}"
            row = _row(cells, where=where, stem=stem, label=label)
            if isinstance(row, str):
                faults.add(where, row)
            elif row.stem in rows:
                faults.add(where, f"{cells[0]} was already named in {rows[row.stem].where}")
            else:
                rows[row.stem] = row
    except csv.Error as error:
        faults.add(f"{member.where}:{reader.line_num}", f"not CSV: {error}")
    return [rows[key] for key in sorted(rows)]


def _row(cells: list[str], *, where: str, stem: re.Pattern[str], label: int | None) -> GtsrbRow | str:
    """The row, or what is wrong with it."""
    if len(cells) != len(HEADER):
        return f"{len(cells)} fields, expected {len(HEADER)}"
    name = cells[0].strip().rpartition(".")[0]
    if not stem.fullmatch(name):
        return f"file name {cells[0]!r} is not of the form {stem.pattern}.ppm"
    numbers: list[int] = []
    for title, cell in zip(HEADER[1:], cells[1:], strict=True):
        if not re.fullmatch(r"\s*-?[0-9]{1,9}\s*", cell):
            return f"{title} = {cell!r} is not a whole number"
        numbers.append(int(cell))
    width, height, x1, y1, x2, y2, own = numbers
    if not 0 <= own < N_CLASSES:
        return f"ClassId {own}, allowed 0..{N_CLASSES - 1}"
    if label is not None and own != label:
        return f"ClassId {own} in the folder of class {label}"
    if width < 1 or height < 1:
        return f"image of {width} x {height} pixels"
    if x2 <= x1 or y2 <= y1:
        return f"empty ROI {x1},{y1},{x2},{y2}"
    if x1 < 0 or y1 < 0 or x2 > width or y2 > height:
        return f"ROI {x1},{y1},{x2},{y2} reaches outside the image of {width} x {height}"
    return GtsrbRow(name, where, width, height, (x1, y1, x2, y2), own)
