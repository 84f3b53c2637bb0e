"""The few calls of the CUDA runtime that an engine needs, through ctypes: JetPack has libcudart and no Python for it.

Source: cuda_runtime_api.h of CUDA 13, held against it by a test where the header is. Pointers, streams and events
are whole numbers. Only device 0, the one a Jetson has. Standard library and NumPy only: this travels to the board.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import MissingCapability

_TO_DEVICE, _TO_HOST = 1, 2
_MULTIPROCESSORS, _MAJOR, _MINOR = 16, 75, 76
_NUMBER, _SIZE, _POINTER = ctypes.c_int, ctypes.c_size_t, ctypes.c_void_p
# name -> argument types; all return cudaError_t, an int. An address that is filled in is a void* here.
_CALLS: dict[str, tuple[Any, ...]] = {
    "cudaGetDeviceCount": (_POINTER,),
    "cudaRuntimeGetVersion": (_POINTER,),
    "cudaDriverGetVersion": (_POINTER,),
    "cudaDeviceGetAttribute": (_POINTER, _NUMBER, _NUMBER),
    "cudaMalloc": (_POINTER, _SIZE),
    "cudaFree": (_POINTER,),
    "cudaMemcpyAsync": (_POINTER, _POINTER, _SIZE, _NUMBER, _POINTER),
    "cudaStreamCreate": (_POINTER,),
    "cudaStreamDestroy": (_POINTER,),
    "cudaStreamSynchronize": (_POINTER,),
    "cudaEventCreate": (_POINTER,),
    "cudaEventDestroy": (_POINTER,),
    "cudaEventRecord": (_POINTER, _POINTER),
    "cudaEventSynchronize": (_POINTER,),
    "cudaEventElapsedTime": (_POINTER, _POINTER, _POINTER),
}
_INSTALL = "on a Jetson: the NVIDIA runtime of JetPack; in a container: docker run --runtime nvidia --gpus all"


@dataclass(frozen=True)
class Gpu:
    """What an engine depends on.

    Attributes:
        name: e.g. "Orin".
        compute_capability: e.g. "8.7".
        multiprocessors: modules of one family differ in them.
        cuda_runtime, cuda_driver: e.g. "12.6"; the newest CUDA that the driver knows.
    """

    name: str
    compute_capability: str
    multiprocessors: int
    cuda_runtime: str
    cuda_driver: str


class Cuda:
    """One loaded libcudart.

    Args:
        library: libcudart, opened with ``ctypes.CDLL``.
        driver: libcuda, initialised.

    Raises:
        MissingCapability: a call failed; of every method.
    """

    def __init__(self, library: ctypes.CDLL, driver: ctypes.CDLL) -> None:
        self._library, self._driver = library, driver
        for name, arguments in _CALLS.items():
            function = getattr(library, name)
            function.argtypes, function.restype = arguments, _NUMBER
        for name in ("cudaGetErrorName", "cudaGetErrorString"):
            function = getattr(library, name)
            function.argtypes, function.restype = (_NUMBER,), ctypes.c_char_p

    def device_count(self) -> int:
        """CUDA devices that the driver shows."""
        return self._number("cudaGetDeviceCount")

    def versions(self) -> tuple[str, str]:
        """CUDA of this library, and the newest that the driver knows ("0.0" without a driver), e.g. "12.6"."""
        return _version(self._number("cudaRuntimeGetVersion")), _version(self._number("cudaDriverGetVersion"))

    def gpu(self) -> Gpu:
        """Facts of device 0."""
        name = ctypes.create_string_buffer(256)
        if code := self._driver.cuDeviceGetName(name, _NUMBER(len(name)), _NUMBER(0)):
            raise MissingCapability(f"cuDeviceGetName: CUresult {code}", next_step="edgexai doctor")
        kinds = (_MAJOR, _MINOR, _MULTIPROCESSORS)
        major, minor, multiprocessors = (self._number("cudaDeviceGetAttribute", kind, 0) for kind in kinds)
        return Gpu(name.value.decode(errors="replace"), f"{major}.{minor}", multiprocessors, *self.versions())

    def allocate(self, n_bytes: int) -> int:
        """Device memory; the address."""
        return self._handle("cudaMalloc", n_bytes)

    def free(self, address: int) -> None:
        """Gives device memory back."""
        self._call("cudaFree", address)

    def to_device(self, address: int, array: NDArray[np.float32], *, stream: int) -> None:
        """Starts a copy of a C-contiguous array; it must live, unchanged, until the stream is synchronised."""
        self._call("cudaMemcpyAsync", address, array.ctypes.data, array.nbytes, _TO_DEVICE, stream)

    def to_host(self, array: NDArray[np.float32], address: int, *, stream: int) -> None:
        """Starts a copy into a C-contiguous array; its values are there once the stream is synchronised."""
        self._call("cudaMemcpyAsync", array.ctypes.data, address, array.nbytes, _TO_HOST, stream)

    def create_stream(self) -> int:
        """A stream."""
        return self._handle("cudaStreamCreate")

    def destroy_stream(self, stream: int) -> None:
        """Ends a stream."""
        self._call("cudaStreamDestroy", stream)

    def synchronise(self, stream: int) -> None:
        """Waits until all that was started on the stream is done."""
        self._call("cudaStreamSynchronize", stream)

    def create_event(self) -> int:
        """An event that keeps the time."""
        return self._handle("cudaEventCreate")

    def destroy_event(self, event: int) -> None:
        """Ends an event."""
        self._call("cudaEventDestroy", event)

    def record(self, event: int, *, stream: int) -> None:
        """Marks this place in the stream."""
        self._call("cudaEventRecord", event, stream)

    def elapsed_ms(self, start: int, stop: int) -> float:
        """Milliseconds between two recorded events, after waiting for the later one."""
        self._call("cudaEventSynchronize", stop)
        slot = ctypes.c_float()
        self._call("cudaEventElapsedTime", ctypes.addressof(slot), start, stop)
        return slot.value

    def _number(self, name: str, *arguments: int) -> int:
        slot = ctypes.c_int()
        self._call(name, ctypes.addressof(slot), *arguments)
        return slot.value

    def _handle(self, name: str, *arguments: int) -> int:
        slot = ctypes.c_void_p()
        self._call(name, ctypes.addressof(slot), *arguments)
        return slot.value or 0

    def _call(self, name: str, *arguments: int) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            label = (self._library.cudaGetErrorName(code) or b"?").decode(errors="replace")
            text = (self._library.cudaGetErrorString(code) or b"?").decode(errors="replace")
            raise MissingCapability(f"{name}: {label} ({code}): {text}", next_step="edgexai doctor")


def open_cuda() -> Cuda:
    """The CUDA runtime of this machine, with a driver and a device behind it.

    The driver is looked for first: without it TensorRT's runtime hands out a hollow object, and using that one ends the
    process.

    Raises:
        MissingCapability: no driver, no device, or no libcudart that works with the driver.
    """
    driver = _driver()
    refused: list[str] = []
    for candidate in _candidates():
        try:
            cuda = Cuda(ctypes.CDLL(candidate), driver)
            if cuda.device_count() > 0:
                return cuda
            refused.append(f"{candidate}: shows no device")
        except OSError as error:
            refused.append((str(error).splitlines() or [candidate])[0])
        except (AttributeError, MissingCapability) as error:
            refused.append(f"{candidate}: {(str(error).splitlines() or ['unusable'])[0]}")
    raise MissingCapability(
        "no usable CUDA runtime (libcudart)", problems=tuple(dict.fromkeys(refused)), next_step=_INSTALL
    )


def _driver() -> ctypes.CDLL:
    """libcuda, initialised."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise MissingCapability("no NVIDIA driver here: libcuda.so.1 cannot be loaded", next_step=_INSTALL) from error
    if code := driver.cuInit(ctypes.c_uint(0)):
        raise MissingCapability(f"the NVIDIA driver does not start: cuInit gives CUresult {code}", next_step=_INSTALL)
    return driver


def _candidates() -> Iterator[str]:
    """Names and places of libcudart: the loader's own, the toolkit's, those that wheels bring."""
    yield from ("libcudart.so.12", "libcudart.so.13", "libcudart.so")
    yield from (str(p) for p in sorted(Path("/usr/local").glob("cuda*/lib64/libcudart.so.*")))
    for folder in sys.path:
        yield from (str(p) for p in sorted(Path(folder or ".").glob("nvidia/*/lib/libcudart.so.*")))


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"
