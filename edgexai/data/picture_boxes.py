"""Where the object is on pictures, read from a file of boxes and brought to a network's input as the picture is.

Two forms: CSV with the columns ``path,x1,y1,x2,y2``, a line for every box; or JSON, a list of ``{"file": ..., "boxes":
[[x1, y1, x2, y2], ...]}``. Boxes are half-open, in pixels of the picture as it stands upright. A picture's path in the
file is looked up as it is written and from the file's own folder.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from edgexai.data.picture import Fit
from edgexai.errors import UserError

_COLUMNS = ("path", "x1", "y1", "x2", "y2")
Box = tuple[float, float, float, float]


def picture_boxes(
    file: Path, pictures: Sequence[Path], size: tuple[int, int], *, fit: Fit = "crop"
) -> NDArray[np.bool_]:
    """The pixels of the input that lie in a picture's boxes.

    Args:
        file: of boxes; may tell of more pictures than are given.
        pictures: files, as ``read_picture`` reads them.
        size: (height, width) of the input, pixels.
        fit: as in ``read_picture``.

    Returns:
        bool (N,H,W): True where a pixel's centre is in a box. All False where a box fell outside the crop.

    Raises:
        UserError: the file cannot be read, or has no box for one of the pictures.
    """
    known: dict[Path, list[Box]] = {}
    for name, box in _lines(file):
        if not name or "\0" in name:
            raise UserError(f"--boxes {file}: a line names no picture")
        for place in (Path(name), file.parent / name):
            known.setdefault(place.resolve(), []).append(box)
    inside = np.zeros((len(pictures), *size), dtype=np.bool_)
    for k, picture in enumerate(pictures):
        boxes = known.get(picture.resolve())
        if boxes is None:
            raise UserError(
                f"--boxes {file}: no box for {picture}",
                next_step="add a line for it, or leave the picture out",
            )
        with Image.open(picture) as opened:
            shown = ImageOps.exif_transpose(opened).size
        for box in set(boxes):
            inside[k] |= _placed(box, shown, size, fit)
    return inside


def _placed(box: Box, shown: tuple[int, int], size: tuple[int, int], fit: Fit) -> NDArray[np.bool_]:
    """bool (H,W); the crop is the middle part of the largest possible size with the input's proportions."""
    (width, height), (rows, columns) = shown, size
    crop_width, crop_height = float(width), float(height)
    if fit == "crop":
        crop_width, crop_height = min(width, height * columns / rows), min(height, width * rows / columns)
    left, top = (width - crop_width) / 2, (height - crop_height) / 2
    x = left + (np.arange(columns) + 0.5) * crop_width / columns
    y = top + (np.arange(rows) + 0.5) * crop_height / rows
    x1, y1, x2, y2 = box
    found: NDArray[np.bool_] = ((y >= y1) & (y < y2))[:, None] & ((x >= x1) & (x < x2))
    return found


def _lines(file: Path) -> Iterator[tuple[str, Box]]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--boxes {file}: cannot be read: {error}") from error
    if file.suffix == ".json":
        yield from _from_json(file, text)
        return
    reader = csv.DictReader(text.splitlines())
    try:
        columns, rows = reader.fieldnames or (), [(reader.line_num, line) for line in reader]
    except csv.Error as error:
        raise UserError(f"--boxes {file}, line {reader.line_num}: {error}") from error
    if missing := [name for name in _COLUMNS if name not in columns]:
        raise UserError(
            f"--boxes {file}: no column {', '.join(missing)}", next_step=f"first line: {','.join(_COLUMNS)}"
        )
    for number, line in rows:
        values = [line[name] for name in _COLUMNS[1:]]
        yield line["path"] or "", _box(values, f"--boxes {file}, line {number}")


def _from_json(file: Path, text: str) -> Iterator[tuple[str, Box]]:
    try:
        pictures = json.loads(text)
        pairs = [(str(picture["file"]), picture["boxes"]) for picture in pictures]
        boxes = [(name, box) for name, several in pairs for box in several]
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(
            f"--boxes {file}: wanted a JSON list of objects with file and boxes",
            next_step='for example [{"file": "a.jpg", "boxes": [[10, 20, 110, 140]]}]',
        ) from error
    for name, box in boxes:
        yield name, _box(box, f"--boxes {file}, {name}")


def _box(values: object, where: str) -> Box:
    try:
        x1, y1, x2, y2 = (float(value) for value in values)  # type: ignore[attr-defined]
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{where}: {values} is not a box", next_step="four numbers: x1, y1, x2, y2 in pixels"
        ) from error
    if not (x1 < x2 and y1 < y2):
        raise UserError(f"{where}: box {values} is empty", next_step="x1 < x2 and y1 < y2, in pixels")
    return x1, y1, x2, y2
