"""Opens a deployed file in what runs it, by its suffix: ``.onnx`` in ONNX Runtime, ``.engine``, ``.plan`` in TensorRT.

Never one instead of the other: where the runtime is missing, the error says what would bring it. NumPy and the standard
library only; the runtime is imported when a file needs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from edgexai.errors import UserError
from edgexai.types import Images, Logits, Maps


class Engine(Protocol):
    """What every runtime offers.

    Attributes:
        path: of the file that runs.
        runtime: what runs it, e.g. "onnxruntime 1.31.1 CPU", "tensorrt 10.3.0 Orin".
        outputs: "logits", and "saliency" where the file has it.
        metadata: of the ONNX: "edgexai.arch", "edgexai.classes" ...
    """

    path: Path
    runtime: str
    outputs: list[str]
    metadata: dict[str, str]

    def __call__(self, images: Images) -> Logits:
        """(N,3,H,W) -> (N,K), a fresh array."""

    def with_saliency(self, images: Images) -> tuple[Logits, Maps]:
        """Logits and the winning class's map of one forward pass."""


def open_engine(path: Path, *, device: str = "cpu", threads: int = 0) -> Engine:
    """The engine in ``path``; its ``runtime`` says what runs it.

    Args:
        path: ``.onnx``, ``.engine`` or ``.plan``.
        device: "cpu" or "cuda", of ONNX Runtime; TensorRT always has the GPU.
        threads: of ONNX Runtime; 0 = one per core.

    Raises:
        UserError: another suffix, no such file, or one that cannot be loaded.
        MissingCapability: what runs it is not here.
    """
    if path.suffix == ".onnx":
        from edgexai.engine.onnx_runtime import OnnxRuntimeEngine

        return OnnxRuntimeEngine(path, device=device, threads=threads)
    if path.suffix in (".engine", ".plan"):
        from edgexai.engine.tensorrt_run import TensorrtEngine

        return TensorrtEngine(path)
    raise UserError(f'{path}: "{path.suffix}" is no engine; allowed: .onnx, .engine, .plan')
