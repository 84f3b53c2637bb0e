"""Reads a user's CSV: one row an image. Separator ``,`` or ``;``, whichever the header has more of.

Columns ``path`` (relative to the CSV, or absolute) and ``label``; where they are there, ``x1,y1,x2,y2`` (box, pixels,
half-open), ``track`` (any text) and ``split`` (train, val or test). Other columns are passed over.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path

from edgexai.data.faults import Faults
from edgexai.data.own_image import SIDES, OwnImage

_BOX = ("x1", "y1", "x2", "y2")


def list_csv(path: Path, *, faults: Faults) -> list[OwnImage]:
    """Every sound row, in the file's order.

    Args:
        path: the CSV.
        faults: gets every other row with its line, and missing columns.
    """
    images: list[OwnImage] = []
    seen: dict[Path, str] = {}
    for line, row in _rows(path, faults):
        where = f"{path}:{line}"
        found = _image(row, where, path.parent)
        if isinstance(found, str):
            faults.add(where, found)
        elif found.path in seen:
            faults.add(where, f"{row['path']} was already named in {seen[found.path]}")
        else:
            seen[found.path] = where
            images.append(found)
    return images


def image_paths(path: Path) -> list[Path]:
    """The images that a CSV names and that exist, in its order; faults are left to ``list_csv``."""
    named = (path.parent / row.get("path", "") for _, row in _rows(path, Faults("")))
    return [image for image in named if image.is_file()]


def _rows(path: Path, faults: Faults) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        faults.add(str(path), f"cannot be read as UTF-8 text: {error}")
        return
    lines = text.splitlines()
    first = lines[0] if lines else ""
    reader = csv.reader(lines, delimiter=";" if first.count(";") > first.count(",") else ",")
    try:
        header = [cell.strip().lower() for cell in next(reader, [])]
        lacking = [name for name in ("path", "label") if name not in header]
        boxes = [name for name in _BOX if name in header]
        if lacking:
            faults.add(f"{path}:1", f"no column {', no column '.join(lacking)}; the header is {first[:80]!r}")
        if boxes and len(boxes) < len(_BOX):
            faults.add(f"{path}:1", f"only {', '.join(boxes)}; a box needs x1, y1, x2 and y2")
        if twice := sorted({name for name in header if name and header.count(name) > 1}):
            faults.add(f"{path}:1", f"column {', '.join(twice)} is there twice")
        if lacking or 0 < len(boxes) < len(_BOX) or twice:
            return
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                faults.add(f"{path}:{reader.line_num}", f"{len(cells)} fields, expected {len(header)}")
                continue
            yield reader.line_num, {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
    except csv.Error as error:
        faults.add(f"{path}:{reader.line_num}", f"not CSV: {error}")


def _image(row: dict[str, str], where: str, base: Path) -> OwnImage | str:
    """The image, or what is wrong with its row."""
    if not row["path"] or not row["label"]:
        return "no path" if not row["path"] else "no label"
    path = base / row["path"]
    if not path.is_file():
        return f"image {row['path']} is missing"
    side = row.get("split", "")
    if side and side.lower() not in SIDES:
        return f"split = {side!r}, allowed train, val, test"
    box: tuple[float, float, float, float] | None = None
    texts = [row.get(name, "") for name in _BOX]
    if any(texts):
        try:
            x1, y1, x2, y2 = map(float, texts)
        except ValueError:
            return f"box {','.join(texts)}: four numbers, or none"
        if not all(map(math.isfinite, (x1, y1, x2, y2))):
            return f"box {','.join(texts)}: not finite"
        if x2 <= x1 or y2 <= y1 or x1 < 0 or y1 < 0:
            return f"box {','.join(texts)} is empty or reaches outside"
        box = (x1, y1, x2, y2)
    return OwnImage(where, path, row["label"], SIDES[side.lower()] if side else "", box, row.get("track", ""))
