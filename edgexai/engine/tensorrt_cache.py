"""Engines already built: one folder per key, whole or not there.

The key is the SHA-256 of everything an engine follows from: bytes of the ONNX, options (batches among them), TensorRT's
version, the GPU and the processor. Two networks of one shape but other weights never share an engine. Standard library
only: this travels to the board.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgexai.engine.cuda import open_cuda
from edgexai.engine.tensorrt_build import build_engine
from edgexai.engine.tensorrt_library import TensorRT, load_tensorrt, without_gpu
from edgexai.engine.tensorrt_options import BuildOptions
from edgexai.engine.tensorrt_sidecar import read_sidecar, sha256_of
from edgexai.errors import UserError

_BUILDER = 1
"""Raised by hand when the builder makes something else of the same options."""
_NAME = "model.engine"


def cached_engine(source: Path, folder: Path, *, options: BuildOptions, library: TensorRT | None = None) -> Path:
    """The engine of ``source``, built if there is none yet.

    Args:
        source: an ONNX file as edgexai exports it.
        folder: of all cached engines; made if it is missing.
        options: what is asked of the engine.
        library: TensorRT of this machine where None.

    Returns:
        ``<folder>/<key>/model.engine``, with its sidecar beside it.

    Raises:
        UserError, MissingCapability: as ``build_engine``.
    """
    if not source.is_file():
        raise UserError(f"{source}: no such file")
    card: dict[str, Any] = {}
    if library is None or not without_gpu(library):
        card = asdict(open_cuda().gpu())
        library = library or load_tensorrt()
    onnx = sha256_of(source)
    entry = folder / engine_key(onnx, options=options, library=library.__name__, version=library.__version__, card=card)
    if _usable(entry / _NAME, onnx):
        return entry / _NAME
    folder.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".build-", dir=folder))
    aside.chmod(0o755)  # whoever serves the engine may be another user than the one who built it
    try:
        build_engine(source, aside / _NAME, options=options, library=library, timing_cache=folder / "timings.bin")
        if entry.exists() and not _usable(entry / _NAME, onnx):
            shutil.rmtree(entry)
        try:
            os.replace(aside, entry)
        except OSError:
            # Another process was first, and its engine serves as well.
            if not _usable(entry / _NAME, onnx):
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return entry / _NAME


def engine_key(onnx_sha256: str, *, options: BuildOptions, library: str, version: str, card: dict[str, Any]) -> str:
    """SHA-256, 64 hex digits. ``card`` is ``cuda.Gpu`` as a dict, empty where the build needs no GPU."""
    # The driver is left out: an engine does not follow from it, and a JetPack update without a new TensorRT keeps all.
    of_gpu = {name: card[name] for name in ("name", "compute_capability", "multiprocessors") if name in card}
    content = {
        "builder": _BUILDER,
        "onnx": onnx_sha256,
        "options": options.to_json(),
        "library": library,
        "version": version,
        "gpu": of_gpu,
        "platform": platform.machine(),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _usable(engine: Path, onnx_sha256: str) -> bool:
    """There, whole, and of this ONNX."""
    if not engine.is_file():
        return False
    try:
        found = read_sidecar(engine)
    except UserError:
        return False
    return found is not None and found.onnx_sha256 == onnx_sha256
