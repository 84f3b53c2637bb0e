"""Any ONNX image classifier as a ``Predict``: float32 (N,3,H,W) in [0,1] -> logits (N,K).

What the file does not say is found out by looking: layout from the place of the three channels, size from its shape,
probabilities or logits from a trial on random images; each can be given instead. Files of edgexai say it all in their
metadata; others may, under ``mean``, ``std``, ``layout``, ``size`` (JSON or words). Probabilities are answered as their
logarithms, whose softmax they are.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexai.engine.preprocessing import Answer, filled_from_metadata
from edgexai.engine.preprocessing import Preprocessing as Preprocessing
from edgexai.errors import MissingCapability, ShapeError, UserError
from edgexai.types import Images, Logits

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}


class ForeignOnnx:
    """Callable: float32 (N,3,H,W) in [0,1] -> logits (N,K), a fresh array.

    Args:
        path: the ONNX file.
        prepare: what is known of it; None fields are found out.
        threads: for one operator; 0 = one per core.

    Attributes:
        size: height and width of the input, pixels.
        classes: K.
        answer: what the file's own output is, "logits" or "probabilities".
        runtime, metadata: as an engine's.

    Raises:
        MissingCapability: ONNX Runtime is not installed.
        UserError: not a file, not ONNX, or not an image classifier; the message says why.
    """

    def __init__(self, path: Path, *, prepare: Preprocessing | None = None, threads: int = 0) -> None:
        self.path = path
        self._session, version = _session(path, threads)
        self.runtime = f"onnxruntime {version} CPU"
        try:
            self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
            self.prepare = filled_from_metadata(prepare or Preprocessing(), self.metadata, path)
            self._inspect_input()
            self._inspect_output()
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path}: damaged: a name in it is no text", next_step="export or download it again"
            ) from error

    def __call__(self, images: Images) -> Logits:
        """(N,3,H,W) -> (N,K)."""
        size = self.size
        if images.dtype != np.float32 or images.ndim != 4 or images.shape[1:] != (3, *size):
            raise ShapeError(
                f"images are {images.dtype} {images.shape}; {self.path.name} takes float32 (N, 3, {size[0]}, {size[1]})"
            )
        if not len(images):
            return np.zeros((0, self.classes), dtype=np.float32)
        step = self._batch or len(images)
        parts = [self._run(images[start : start + step]) for start in range(0, len(images), step)]
        raw = np.concatenate(parts).astype(np.float32)
        return np.log(np.maximum(raw, np.float32(1e-30))) if self.answer == "probabilities" else raw

    def _inspect_input(self) -> None:
        inputs, name = self._session.get_inputs(), self.path.name
        if len(inputs) != 1:
            listed = ", ".join(f"{i.name} {i.shape}" for i in inputs)
            raise _no_classifier(name, f"it takes {len(inputs)} inputs ({listed or 'none'}), one image is explained")
        node = inputs[0]
        shape = [d if isinstance(d, int) and d > 0 else None for d in node.shape or []]
        if node.type not in _TYPES:
            raise _no_classifier(name, f'its input "{node.name}" is {node.type}; wanted float, float16 or uint8')
        self._input, self._dtype = node.name, _TYPES[node.type]
        if self._dtype == np.uint8 and (self.prepare.mean or self.prepare.std):
            raise UserError(f"{name}: takes whole numbers 0 to 255, so a mean and std of [0,1] cannot be applied")
        if len(shape) != 4:
            raise _no_classifier(name, f'its input "{node.name}" has shape {node.shape}; wanted (N,3,H,W) or (N,H,W,3)')
        layout = self.prepare.layout
        if layout is None:
            first, last = shape[1] in (3, None), shape[3] in (3, None)
            if not first and not last:
                raise _no_classifier(name, f'its input "{node.name}" has shape {node.shape}: no axis of 3 channels')
            if shape[1] == 3 and shape[3] == 3:
                raise UserError(f"{name}: {node.shape} may be both layouts", next_step="give --layout nchw or nhwc")
            layout = "nhwc" if shape[3] == 3 or not first else "nchw"
        channels, sides = (shape[1], shape[2:]) if layout == "nchw" else (shape[3], shape[1:3])
        if channels not in (3, None):
            raise _no_classifier(name, f"with layout {layout} it takes {channels} channels; wanted 3")
        asked = self.prepare.size or (None, None)
        for have, want in zip(sides, asked, strict=True):
            if have and want and have != want:
                raise UserError(f"{name}: takes {sides[0]}x{sides[1]} pixels, not {asked[0]}x{asked[1]}")
        height, width = (have or want for have, want in zip(sides, asked, strict=True))
        if not height or not width:
            raise UserError(f"{name}: takes images of any size", next_step="give --size, e.g. --size 224")
        self._batch = shape[0]
        self.size: tuple[int, int] = (height, width)
        self.prepare = replace(self.prepare, layout=layout, size=self.size)

    def _inspect_output(self) -> None:
        """Runs a few random images, to see which output holds the classes and whether they are probabilities."""
        name = self.path.name
        names = [o.name for o in self._session.get_outputs()]
        if self.prepare.output is not None and self.prepare.output not in names:
            raise UserError(f'{name}: no output "{self.prepare.output}"; it has {", ".join(names)}')
        height, width = self.size
        trial = np.random.default_rng(0).random((self._batch or 3, 3, height, width), dtype=np.float32)
        self._output = ""
        found: NDArray[Any] = np.zeros((0, 0))
        outputs = self._call(trial, names)
        order = [self.prepare.output] if self.prepare.output else sorted(names, key=lambda n: n != "logits")
        for output in order:
            value = outputs[names.index(output)]
            if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.ndim >= 2:
                wide = [side for side in value.shape[1:] if side > 1]
                if len(value) == len(trial) and len(wide) == 1:
                    self._output, found = output, value.reshape(len(value), -1)
                    break
        if not self._output:
            shapes = ", ".join(
                f"{n} {getattr(v, 'shape', type(v).__name__)}" for n, v in zip(names, outputs, strict=True)
            )
            raise _no_classifier(name, f"for {len(trial)} images it gives {shapes}; wanted one row of classes an image")
        if not np.isfinite(found).all():
            raise UserError(f"{name}: gives NaN or infinity for images in [0,1]", next_step="check --mean and --std")
        sums = found.astype(np.float64).sum(axis=1)
        shares = bool((found >= 0).all() and np.abs(sums - 1).max() < 1e-2)
        self.answer: Answer = self.prepare.answer or ("probabilities" if shares else "logits")
        if self.answer == "probabilities" and not shares:
            raise UserError(f"{name}: its output is no probabilities: a row sums to {sums[0]:.3g}")
        self.classes = int(found.shape[-1])

    def _run(self, images: Images) -> NDArray[np.floating[Any]]:
        missing = (self._batch or len(images)) - len(images)
        if missing:
            images = np.concatenate([images, np.zeros((missing, *images.shape[1:]), dtype=np.float32)])
        raw: NDArray[np.floating[Any]] = self._call(images, [self._output])[0]
        return raw.reshape(len(raw), -1)[: len(raw) - missing]

    def _call(self, images: Images, outputs: list[str]) -> list[Any]:
        p = self.prepare
        if self._dtype == np.uint8:
            values: NDArray[Any] = np.rint(images * 255)
        else:
            values = images
            if p.mean is not None:
                values = values - np.array(p.mean, dtype=np.float32).reshape(1, 3, 1, 1)
            if p.std is not None:
                values = values / np.array(p.std, dtype=np.float32).reshape(1, 3, 1, 1)
        if p.layout == "nhwc":
            values = values.transpose(0, 2, 3, 1)
        feed = {self._input: np.ascontiguousarray(values, dtype=self._dtype)}
        try:
            answers: list[Any] = self._session.run(outputs, feed)
        except Exception as error:
            raise UserError(
                f"{self.path.name}: ONNX Runtime fails on images of shape {values.shape}",
                problems=(_first_line(error),),
                next_step="check --size and --layout",
            ) from error
        return answers


def _session(path: Path, threads: int) -> tuple[Any, str]:
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise MissingCapability("ONNX Runtime is not installed", next_step="pip install onnxruntime") from error
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty", next_step="export or download it again")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]), str(ort.__version__)
    except Exception as error:
        words = _first_line(error)
        remedy = "export or download it again; is it whole?"
        if "xternal" in words or "model_path must not be empty" in words or "not found" in words:
            remedy = "its weights lie in a file of their own: put that beside it"
        raise UserError(f"{path}: ONNX Runtime cannot load it", problems=(words,), next_step=remedy) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def _no_classifier(name: str, why: str) -> UserError:
    return UserError(f"{name}: not an image classifier that can be explained: {why}")
