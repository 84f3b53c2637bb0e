"""Which runtime the board has, and the bundle's network opened in it.

"auto" is TensorRT where its Python module and NVIDIA's driver are here, else ONNX Runtime; every row and answer names
the one that ran. A runtime that was asked for by name is used or refused.
"""

from __future__ import annotations

import ctypes
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from edgexai.engine import RUNTIMES
from edgexai.errors import MissingCapability, UserError
from edgexai.types import Images, Logits, Maps

ENGINE, STAMP = "engine", "engine/built.json"


class Engine(Protocol):
    """What both runtimes offer."""

    runtime: str
    outputs: list[str]

    def __call__(self, images: Images) -> Logits:
        """(N,3,H,W) -> (N,K)."""

    def with_saliency(self, images: Images) -> tuple[Logits, Maps]:
        """Logits and maps."""


@runtime_checkable
class OnDevice(Protocol):
    """An engine that tells the device's own time from a caller's waiting."""

    def times(self, images: Images, *, warmup: int, repeats: int) -> Any:
        """Has ``device_ms``, one value a call."""


def missing_tensorrt() -> str:
    """What TensorRT lacks to run here; empty where it can."""
    if find_spec("tensorrt") is None:
        return "no Python module tensorrt"
    try:
        # TensorRT's own answer to a missing driver is a crash
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no libcuda.so.1: NVIDIA's driver is not here"
    return "" if "tensorrt" in RUNTIMES else "this agent has no TensorRT runner"


def chosen_runtime(asked: str) -> str:
    """ "tensorrt" or "onnxruntime".

    Raises:
        MissingCapability: it is not here.
    """
    missing = missing_tensorrt()
    if asked == "tensorrt" and missing:
        raise MissingCapability(f"TensorRT was asked for: {missing}", next_step="sudo apt-get install nvidia-jetpack")
    if asked == "tensorrt" or (asked == "auto" and not missing):
        return "tensorrt"
    if find_spec("onnxruntime") is None:
        raise MissingCapability(
            f"no runtime: no Python module onnxruntime; TensorRT: {missing or 'not asked for'}",
            next_step="pip install onnxruntime, or on a Jetson: sudo apt-get install nvidia-jetpack",
        )
    return "onnxruntime"


def open_engine(bundle: Path, state: Path, manifest: dict[str, Any], *, runtime: str, threads: int) -> Engine:
    """The network, ready to run.

    Args:
        bundle: folder of the unpacked bundle.
        state: folder of what ``build`` made.
        manifest: of the bundle.
        runtime: "auto", "tensorrt" or "onnxruntime".
        threads: of ONNX Runtime; 0 = one per core.

    Raises:
        MissingCapability: the runtime is not here.
        UserError: TensorRT needs an engine that was not built, or not of this bundle.
    """
    chosen = chosen_runtime(runtime)
    path = bundle / manifest["engine"]
    if chosen == "onnxruntime":
        engine: Engine = RUNTIMES["onnxruntime"].load()(path, threads=threads)
        return engine
    stamp = read_stamp(state)
    # A build for ONNX Runtime leaves a stamp too, but no engine.
    if not stamp.get("file") or stamp.get("onnx_sha256") != manifest["files"][manifest["engine"]]["sha256"]:
        raise UserError(
            f"{state / ENGINE}: no engine built from this bundle",
            next_step=f"agent.pyz build --bundle {bundle} --state {state}",
        )
    built: Engine = RUNTIMES["tensorrt"].load()(state / ENGINE / str(stamp["file"]))
    return built


def read_stamp(state: Path) -> dict[str, Any]:
    """What ``build`` noted; empty where there is nothing."""
    try:
        found = json.loads((state / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
