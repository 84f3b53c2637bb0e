"""Finds TensorRT and says in types what is used of it; nothing of TensorRT is imported before it is asked for.

One code path for TensorRT 10.3 (JetPack 6.1) to 11.4. Its sibling TensorRT-RTX has the same Python API and NVIDIA's
same ONNX parser, and builds without a GPU: it takes TensorRT's place in tests, and its engines are never run here.
Standard library only: this travels to the board.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from edgexai.errors import MissingCapability

if TYPE_CHECKING:
    import tensorrt as trt

OLDEST = (10, 3)
"""TensorRT of JetPack 6.1: strongly typed networks, and a parser that reads opset 18 to 20 as it is meant."""

_INSTALL = (
    "on a Jetson: sudo apt install python3-libnvinfer, and a virtual environment with --system-site-packages; "
    "elsewhere: pip install 'edgexai[trt]'"
)


class TensorRT(Protocol):
    """The module ``tensorrt``, or ``tensorrt_rtx``, as far as it is used here."""

    __name__: str
    __version__: str
    Builder: type[trt.Builder]
    BuilderFlag: type[trt.BuilderFlag]
    DataType: type[trt.DataType]
    DeviceType: type[trt.DeviceType]
    HardwareCompatibilityLevel: type[trt.HardwareCompatibilityLevel]
    ILogger: type[trt.ILogger]
    LayerInformationFormat: type[trt.LayerInformationFormat]
    MemoryPoolType: type[trt.MemoryPoolType]
    NetworkDefinitionCreationFlag: type[trt.NetworkDefinitionCreationFlag]
    OnnxParser: type[trt.OnnxParser]
    ProfilingVerbosity: type[trt.ProfilingVerbosity]
    Runtime: type[trt.Runtime]
    TensorIOMode: type[trt.TensorIOMode]


def load_tensorrt(name: str = "tensorrt") -> TensorRT:
    """Imports the library.

    Args:
        name: "tensorrt" or "tensorrt_rtx".

    Raises:
        MissingCapability: it is not installed, its libraries do not load, or it is older than 10.3.
    """
    try:
        found = cast("TensorRT", import_module(name))
        version = found.__version__
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        remedy = "pip install tensorrt-rtx" if name == "tensorrt_rtx" else _INSTALL
        raise MissingCapability(f"TensorRT is not here: import {name}: {said}", next_step=remedy) from error
    if name == "tensorrt" and version_of(version) < OLDEST:
        raise MissingCapability(
            f"TensorRT {version} is here; 10.3 or newer is needed, because older ones have no strongly typed networks",
            next_step="JetPack 6.1 or newer brings it",
        )
    return found


def version_of(text: str) -> tuple[int, int]:
    """``"10.13.3.9"`` -> (10, 13); (0, 0) where there is no such number."""
    match = re.match(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def without_gpu(library: TensorRT) -> bool:
    """True of the sibling that builds without a GPU and whose engines TensorRT cannot run."""
    return library.__name__ == "tensorrt_rtx"


def recording_logger(library: TensorRT) -> tuple[trt.ILogger, list[str]]:
    """A logger that keeps errors and warnings, and the list it keeps them in; nothing is printed."""
    kept: list[str] = []
    worst = int(library.ILogger.WARNING)

    def log(self: Any, severity: trt.ILogger.Severity, msg: str) -> None:
        # Called from the builder's threads, where an exception would end the process; append is atomic.
        if int(severity) <= worst:
            kept.append(" ".join(msg.split()))

    logger: trt.ILogger = type("RecordingLogger", (library.ILogger,), {"log": log})()
    return logger, kept


def last_words(kept: list[str]) -> tuple[str, ...]:
    """The last lines a library logged, each once, for an error's problems."""
    return tuple(line[:400] for line in list(dict.fromkeys(kept))[-4:])
