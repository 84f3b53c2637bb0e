"""Image files as the network takes them: PNG, PPM and NPY by NumPy and the standard library, others by Pillow if here.

Sizes are brought to the network's by a triangle filter as wide as the larger of both pixels, as Pillow's bilinear
filter does; the workstation's data path uses that one, on whole levels, so the two may differ by a level.
"""

from __future__ import annotations

import struct
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import MissingCapability, UserError

_MOST_PIXELS = 64 << 20
_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
"""PNG's colour types without a palette."""


def read_picture(path: Path, *, size: int) -> NDArray[np.float32]:
    """(3,size,size) in [0,1].

    Raises:
        UserError: no such file, or not a picture.
        MissingCapability: a format that needs Pillow, which is not here.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    try:
        picture = _decoded(data, path)
    except (ValueError, IndexError, KeyError, zlib.error, struct.error, EOFError) as error:
        raise UserError(f"{path}: not a picture that can be read: {error}") from error
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise UserError(f"{path}: holds {picture.dtype} {picture.shape}; wanted uint8 (H,W,3)")
    planes: NDArray[np.float64] = picture.transpose(2, 0, 1).astype(np.float64) / 255
    for axis in (1, 2):
        weights = _weights(planes.shape[axis], size)
        planes = np.moveaxis(np.moveaxis(planes, axis, -1) @ weights.T, -1, axis)
    return np.clip(planes, 0, 1).astype(np.float32)


def _decoded(data: bytes, path: Path) -> NDArray[Any]:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(data)
    if data.startswith(b"P6"):
        return _ppm(data)
    if data.startswith(b"\x93NUMPY"):
        array: NDArray[Any] = np.load(path, allow_pickle=False)
        return array
    if find_spec("PIL") is None:
        raise MissingCapability(
            f"{path}: PNG, PPM (P6) and NPY are read here; other formats need Pillow",
            next_step="sudo apt-get install python3-pil",
        )
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            return np.asarray(opened.convert("RGB"))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError) as error:
        raise UserError(f"{path}: not a picture: {error}") from error


def _ppm(data: bytes) -> NDArray[np.uint8]:
    fields: list[int] = []
    at = 2
    while len(fields) < 3:
        while data[at : at + 1].isspace():
            at += 1
        if data[at : at + 1] == b"#":
            at = data.index(b"\n", at)
            continue
        start = at
        while data[at : at + 1].isdigit():
            at += 1
        fields.append(int(data[start:at]))
    width, height, most = fields
    if most != 255:
        raise ValueError(f"{most} levels; 255 are read")
    _bounded(width, height)
    pixels = np.frombuffer(data, np.uint8, count=width * height * 3, offset=at + 1)
    return pixels.reshape(height, width, 3)


def _png(data: bytes) -> NDArray[np.uint8]:
    """8-bit, not interlaced; grey, RGB or palette, any transparency dropped."""
    at, packed, palette = 8, b"", np.zeros((0, 3), np.uint8)
    width = height = depth = colour = interlaced = 0
    while True:
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", body)
        elif kind == b"PLTE":
            palette = np.frombuffer(body, np.uint8).reshape(-1, 3)
        elif kind == b"IDAT":
            packed += body
        elif kind == b"IEND":
            break
        at += 12 + length
    if depth != 8 or interlaced or colour not in (*_CHANNELS, 3):
        raise ValueError(f"PNG of {depth} bits, colour type {colour}, interlaced {interlaced}: 8 bits, plain, are read")
    _bounded(width, height)
    channels = _CHANNELS.get(colour, 1)
    unpacker, row = zlib.decompressobj(), 1 + width * channels
    raw = unpacker.decompress(packed, height * row)
    lines = np.frombuffer(raw, np.uint8, count=height * row).reshape(height, row)
    pixels = _unfiltered(lines, channels).reshape(height, width, channels)
    if colour == 3:
        return palette[pixels[:, :, 0]]
    return pixels[:, :, :3] if channels >= 3 else np.repeat(pixels[:, :, :1], 3, axis=2)


def _unfiltered(lines: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Undoes PNG's filters, line by line."""
    out = np.zeros((len(lines), lines.shape[1] - 1), np.uint8)
    above = np.zeros(lines.shape[1] - 1, np.int64)
    for k, line in enumerate(lines):
        kind, given = int(line[0]), line[1:].astype(np.int64)
        if kind == 0:
            here = given
        elif kind == 2:
            here = (given + above) & 255
        elif kind in (1, 3, 4):
            here = np.zeros_like(given)
            for x in range(len(given)):
                left = int(here[x - channels]) if x >= channels else 0
                up, corner = int(above[x]), int(above[x - channels]) if x >= channels else 0
                here[x] = (int(given[x]) + _predicted(kind, left, up, corner)) & 255
        else:
            raise ValueError(f"PNG filter {kind}")
        out[k], above = here, here
    return out


def _predicted(kind: int, left: int, up: int, corner: int) -> int:
    if kind == 1:
        return left
    if kind == 3:
        return (left + up) // 2
    guess = left + up - corner
    near = abs(guess - left), abs(guess - up), abs(guess - corner)
    return (left, up, corner)[near.index(min(near))]


def _weights(given: int, wanted: int) -> NDArray[np.float64]:
    """(wanted, given): a triangle over each target pixel, as wide as the larger of both pixels; rows add up to 1."""
    scale = given / wanted
    centre = (np.arange(wanted) + 0.5) * scale
    reach = max(scale, 1.0)
    weights = np.maximum(0.0, 1 - np.abs(np.arange(given) + 0.5 - centre[:, None]) / reach)
    total: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return total


def _bounded(width: int, height: int) -> None:
    if not 0 < width * height <= _MOST_PIXELS:
        raise ValueError(f"{width} x {height} pixels")
