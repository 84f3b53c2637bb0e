"""The metadata properties of an ONNX file, read without the package onnx: a board does not have it.

Source: the protocol-buffer wire format; in onnx.proto a ModelProto's field 14 is metadata_props, whose field 1 is the
key and field 2 the value. The graph is skipped, not parsed. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgexai.errors import UserError

_METADATA, _KEY, _VALUE = 14, 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def onnx_metadata(path: Path) -> dict[str, str]:
    """Key -> value; empty where the file has none.

    Raises:
        UserError: no such file, or not a protocol buffer.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        entries = [part for number, part in _fields(memoryview(path.read_bytes())) if number == _METADATA]
        pairs = [dict(_fields(entry)) for entry in entries]
        return {_text(pair.get(_KEY)): _text(pair.get(_VALUE)) for pair in pairs}
    except (IndexError, ValueError) as error:
        raise UserError(f"{path}: not an ONNX file") from error


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """(number, content) of every length-delimited field of one message."""
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        kind = tag & 7
        if kind == _VARINT:
            _, place = _varint(data, place)
        elif kind in (_FIXED64, _FIXED32):
            place += 8 if kind == _FIXED64 else 4
        elif kind == _BYTES:
            length, place = _varint(data, place)
            if place + length > len(data):
                raise ValueError("cut short")
            yield tag >> 3, data[place : place + length]
            place += length
        else:
            raise ValueError(f"wire type {kind}")


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
        if shift > 63:
            raise ValueError("varint too long")


def _text(content: memoryview | None) -> str:
    return "" if content is None else bytes(content).decode()
