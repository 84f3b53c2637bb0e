"""An ONNX file in ONNX Runtime, on the CPU or CUDA provider that was asked for, never silently another."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from edgexai.errors import MissingCapability, ShapeError, UserError
from edgexai.types import Images, Logits, Maps

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxRuntimeEngine:
    """Callable: float32 (N,3,H,W) in [0,1] -> logits (N,K). Forward passes only.

    Args:
        path: the ONNX file.
        device: "cpu" or "cuda".
        threads: for one operator; 0 = one per core.
    """

    def __init__(self, path: Path, *, device: str = "cpu", threads: int = 0) -> None:
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise MissingCapability(
                "ONNX Runtime is not installed", next_step="pip install onnxruntime, or onnxruntime-gpu for CUDA"
            ) from error
        provider = _PROVIDERS[device]
        if provider not in ort.get_available_providers():
            raise MissingCapability(
                f"ONNX Runtime here has no {provider}", next_step='pip install "edgexai[gpu]", or use --device cpu'
            )
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # a spinning pool steals the cores from whatever else works between two calls
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        try:
            self._session: Any = ort.InferenceSession(str(path), options, providers=[provider])
        except Exception as error:
            said = tuple(str(error).splitlines()[:1])
            raise UserError(f"{path}: ONNX Runtime cannot load it", problems=said) from error
        if self._session.get_providers()[0] != provider:
            raise MissingCapability(
                f"{provider} was asked for, ONNX Runtime started {self._session.get_providers()[0]}"
            )
        self.path = path
        self.runtime = f"onnxruntime {ort.__version__} {device.upper()}"
        self.outputs = [o.name for o in self._session.get_outputs()]
        shape = self._session.get_inputs()[0].shape
        self._input, self._image_shape = self._session.get_inputs()[0].name, tuple(shape[1:])
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)

    def __call__(self, images: Images) -> Logits:
        """(N,3,H,W) -> (N,K), a fresh array."""
        self._check(images)
        out: Logits = self._session.run(["logits"], {self._input: np.ascontiguousarray(images)})[0]
        return out

    def with_saliency(self, images: Images) -> tuple[Logits, Maps]:
        """Logits and the map that the same forward pass computes for the winning class.

        Raises:
            MissingCapability: the file was exported without a saliency output.
        """
        if "saliency" not in self.outputs:
            raise MissingCapability(f"{self.path} has no saliency output", next_step='export.saliency = "cam"')
        self._check(images)
        logits, maps = self._session.run(["logits", "saliency"], {self._input: np.ascontiguousarray(images)})
        return logits, maps

    def _check(self, images: Images) -> None:
        if images.dtype != np.float32 or images.ndim != 4 or images.shape[1:] != self._image_shape:
            raise ShapeError(
                f"images are {images.dtype} {images.shape}; {self.path.name} takes float32 (N, "
                f"{', '.join(map(str, self._image_shape))}) in [0,1]"
            )
