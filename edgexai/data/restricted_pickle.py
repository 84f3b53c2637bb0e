"""Reads pickles that hold built-in containers, scalars and NumPy arrays of numbers, and refuses every other.

Why at all: CIFAR's "python" archives, which many users already have, are pickles; binary files are taken where both are
there. A pickle is a program: this reader resolves a few names, all to stand-ins of its own, so no callable of Python,
NumPy or of any installed package can be reached, and no array is rebuilt by NumPy's own unpickling code.
Source: the restriction of globals in Python's pickle documentation, taken further.
"""

from __future__ import annotations

import io
import pickle
import re
import struct
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import UserError

_DTYPE = re.compile(r"[|<>=]?(b1|[iu][1248]|f[248])")
_MAX_BYTES = 1 << 30
# What a damaged stream may raise; besides those, a refusal.
_ERRORS = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ImportError,
    OverflowError,
    MemoryError,
    RecursionError,
    struct.error,
)


def read_pickle(data: bytes, *, where: str) -> Any:
    """The object in a pickle; strings of Python 2 become bytes.

    Args:
        data: the whole file.
        where: its name, for messages.

    Returns:
        None, numbers, text, bytes, lists, tuples, dicts, and arrays of bool, integer or float.

    Raises:
        UserError: it holds anything else (which is named), or it is damaged.
    """
    if len(data) > _MAX_BYTES:
        raise UserError(f"{where}: {len(data):,} bytes; no batch of images is that large")
    reader = _Reader(io.BytesIO(data), encoding="bytes")
    try:
        # Not pickle's own loading: `find_class` of this reader gives stand-ins of this module or refuses.
        return _opened(reader.load())
    except _Refused as error:
        raise UserError(
            f"{where}: refused: the pickle asks for {error}; only plain containers, numbers, text and NumPy arrays are "
            "read, since anything else could run code",
            next_step="fetch the official file again, or use the binary version of the data set",
        ) from error
    except _ERRORS as error:
        raise UserError(
            f"{where}: damaged pickle: {error}", next_step="fetch the file again; was the download cut off?"
        ) from error


class _Refused(Exception):
    """Never leaves this module."""


class _Type:
    """Stands for ``numpy.ndarray`` where a pickle names it; cannot be called."""


class _Dtype:
    def __init__(self, code: str) -> None:
        self.code = code

    def __setstate__(self, state: Any) -> None:
        # (version, byte order, no subarray, no names, no fields, ...): anything but a plain number type is refused.
        if not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
            raise _Refused("an array of records")
        order = _text(state[1])
        if order not in ("|", "<", ">", "="):
            raise _Refused(f"the byte order {order!r}")
        self.code = order + self.code.lstrip("|<>=")


class _Array:
    value: NDArray[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("an array without its five parts")
        _, shape, dtype, by_column, raw = state
        self.fill(raw, dtype, shape, "F" if by_column else "C")

    def fill(self, raw: Any, dtype: Any, shape: Any, order: Literal["C", "F"]) -> None:
        if not isinstance(dtype, _Dtype) or not isinstance(raw, (bytes, bytearray)):
            raise _Refused("an array of objects")
        if not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
            raise ValueError(f"an array of shape {shape!r}")
        self.value = np.frombuffer(bytes(raw), dtype=np.dtype(dtype.code)).reshape(shape, order=order)


def _new_dtype(code: Any, *_: Any) -> _Dtype:
    text = _text(code)
    if not _DTYPE.fullmatch(text):
        raise _Refused(f"an array of type {text!r}")
    return _Dtype(text)


def _new_array(kind: Any, *_: Any) -> _Array:
    if not isinstance(kind, _Type):
        raise _Refused("an array of another class")
    return _Array()


def _whole_array(raw: Any, dtype: Any, shape: Any, order: Any, *_: Any) -> _Array:
    # How protocol 5 writes arrays.
    array = _Array()
    array.fill(raw, dtype, shape, "F" if _text(order) == "F" else "C")
    return array


def _encode(text: Any, codec: Any = "latin1") -> bytes:
    # How Python 3 writes bytes in the protocols that Python 2 can read.
    if not isinstance(text, str) or _text(codec) not in ("latin1", "latin-1"):
        raise _Refused(f"the codec {codec!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    # How the same protocols write empty bytes.
    return b""


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


_KNOWN: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _new_array,
    ("numpy._core.multiarray", "_reconstruct"): _new_array,
    ("numpy.core.numeric", "_frombuffer"): _whole_array,
    ("numpy._core.numeric", "_frombuffer"): _whole_array,
    ("numpy", "ndarray"): _Type(),
    ("numpy", "dtype"): _new_dtype,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
    ("builtins", "bytes"): _no_bytes,
}


class _Reader(pickle.Unpickler):
    # The one place where a pickle is loaded. A pickle is a program because it may name callables: here every name is
    # looked up in _KNOWN, which holds stand-ins alone, and all others are refused before anything is called.
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise _Refused(f"{module}.{name}") from None

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused("an object outside the file")


def _opened(value: Any) -> Any:
    """The value with every stand-in replaced by its array."""
    if isinstance(value, _Array):
        if value.value is None:
            raise ValueError("an array without content")
        return value.value
    if isinstance(value, dict):
        return {_opened(k): _opened(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_opened(v) for v in value)
    if isinstance(value, (_Dtype, _Type)) or callable(value):
        raise _Refused("something that is neither a container, a number, text nor an array")
    return value
