"""One batch of CIFAR images, in any of its three forms, as arrays.

Binary: a record is one label byte (CIFAR-100: coarse, then fine) and 3072 pixel bytes, the red plane, then green, then
blue, each row by row. Pickle: a dict with ``data`` uint8 (N,3072) in the same order and ``labels`` (CIFAR-100:
``fine_labels``). Packed: a zip with lossless mosaics of 32 x 32 tiles, row by row, and a CSV ``index,label,filename``.
Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009, and the data sets' own page.
"""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from edgexai.data.cifar_files import Form
from edgexai.data.gtsrb_source import READ_ERRORS
from edgexai.data.restricted_pickle import read_pickle
from edgexai.errors import UserError
from edgexai.types import Labels

SIDE = 32
_PIXELS = 3 * SIDE * SIDE
_MAX_MOSAIC = 4096
_AGAIN = "fetch the file again; was the download cut off?"


def read_batch(path: Path, *, form: Form, n_classes: int) -> tuple[NDArray[np.uint8], Labels]:
    """Reads one file.

    Args:
        path: the batch.
        form: how it is written.
        n_classes: 10, or 100 for records with coarse and fine label.

    Returns:
        Images uint8 (N,32,32,3), labels int64 (N,) (of CIFAR-100 the fine ones).

    Raises:
        UserError: damaged, or not of this form.
    """
    try:
        if form == "packed":
            images, labels = _packed(path)
        else:
            data = path.read_bytes()
            images, labels = (
                _binary(path, data, n_classes) if form == "binary" else _pickled(path, data, "fine_" * (n_classes > 10))
            )
    except READ_ERRORS as error:
        raise UserError(f"{path}: cannot be read: {error}", next_step=_AGAIN) from error
    if not len(labels):
        raise UserError(f"{path}: no images", next_step=_AGAIN)
    if labels.min() < 0 or labels.max() >= n_classes:
        raise UserError(f"{path}: labels {labels.min()}..{labels.max()}, allowed 0..{n_classes - 1}", next_step=_AGAIN)
    return images, labels


def _binary(path: Path, data: bytes, n_classes: int) -> tuple[NDArray[np.uint8], Labels]:
    n_labels = 2 if n_classes > 10 else 1
    record = n_labels + _PIXELS
    if len(data) % record:
        raise UserError(f"{path}: {len(data)} bytes are not whole records of {record}", next_step=_AGAIN)
    rows = np.frombuffer(data, dtype=np.uint8).reshape(-1, record)
    # The coarse label groups classes by five: one beyond 19 betrays another file.
    if n_labels == 2 and len(rows) and rows[:, 0].max() > 19:
        raise UserError(f"{path}: coarse label {rows[:, 0].max()}, allowed 0..19", next_step=_AGAIN)
    return _planes(rows[:, n_labels:]), rows[:, n_labels - 1].astype(np.int64)


def _pickled(path: Path, data: bytes, prefix: str) -> tuple[NDArray[np.uint8], Labels]:
    content = read_pickle(data, where=str(path))
    if isinstance(content, dict):
        content = {k.decode("latin1") if isinstance(k, bytes) else k: v for k, v in content.items()}
        pixels, labels = content.get("data"), content.get(f"{prefix}labels")
        if (
            isinstance(pixels, np.ndarray)
            and pixels.dtype == np.uint8
            and pixels.ndim == 2
            and pixels.shape[1] == _PIXELS
            and isinstance(labels, list)
            and len(labels) == len(pixels)
            and all(isinstance(label, int) for label in labels)
        ):
            return _planes(pixels), np.array(labels, dtype=np.int64)
    raise UserError(
        f"{path}: no CIFAR batch: expected a dict with data uint8 (N,{_PIXELS}) and {prefix}labels, N whole numbers",
        next_step=_AGAIN,
    )


def _planes(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(rows.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1))


def _packed(path: Path) -> tuple[NDArray[np.uint8], Labels]:
    with zipfile.ZipFile(path) as archive:
        names = sorted(archive.namelist())
        tables = [name for name in names if name.endswith(".csv")]
        mosaics = [name for name in names if name.lower().endswith((".webp", ".png"))]
        if len(tables) != 1 or not mosaics:
            raise UserError(f"{path}: expected one CSV and the mosaics, found {', '.join(names)[:100]}")
        rows = list(csv.DictReader(io.StringIO(archive.read(tables[0]).decode("utf-8-sig"), newline="")))
        where = f"{path}:{tables[0]}"
        for line, row in enumerate(rows, start=2):
            if not (row.get("label") or "").isdigit():
                raise UserError(f"{where}:{line}: label = {row.get('label')!r} is not a whole number", next_step=_AGAIN)
        images = np.concatenate([_tiles(archive.read(name), f"{path}:{name}") for name in mosaics])
    if len(images) != len(rows):
        raise UserError(f"{where}: {len(rows)} labels for {len(images)} images", next_step=_AGAIN)
    return images, np.array([int(row["label"]) for row in rows], dtype=np.int64)


def _tiles(data: bytes, where: str) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(data), formats=("WEBP", "PNG")) as image:
            width, height = image.size
            if width % SIDE or height % SIDE or max(width, height) > _MAX_MOSAIC:
                raise UserError(f"{where}: {width} x {height} pixels are no mosaic of {SIDE} x {SIDE}")
            pixels = np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, SyntaxError) as error:
        raise UserError(f"{where}: not an image", next_step=_AGAIN) from error
    tiles = pixels.reshape(height // SIDE, SIDE, width // SIDE, SIDE, 3).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(tiles.reshape(-1, SIDE, SIDE, 3))
