"""The nouns every room shares. NumPy and the standard library only, so the board can import them.

One tensor contract: ``float32 (N,3,H,W)`` in ``[0,1]`` -> logits ``float32 (N,K)``. Mean and standard deviation live
inside the model, hence inside the ONNX; an epsilon always means pixels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Images: TypeAlias = NDArray[np.float32]
"""(N,3,H,W), in [0,1]."""
Labels: TypeAlias = NDArray[np.int64]
"""(N,)."""
Logits: TypeAlias = NDArray[np.float32]
"""(N,K), not probabilities."""
Maps: TypeAlias = NDArray[np.float32]
"""(N,H,W): one attribution per pixel, channels already summed; higher = speaks more for the target class."""
Segments: TypeAlias = NDArray[np.int32]
"""(N,H,W) or (H,W): superpixel index of every pixel, 0..S-1 without gaps."""

Predict: TypeAlias = Callable[[Images], Logits]
"""Forward passes only: a deployed engine, or a twin wrapped as one. Returns a fresh array."""
Differentiable: TypeAlias = "Callable[[torch.Tensor], torch.Tensor]"
"""Same contract on torch tensors, with a gradient. An engine is never this."""

Progress: TypeAlias = Callable[[Mapping[str, Any]], None]
"""Takes one event, e.g. ``{"what": "epoch", "done": 3, "total": 12, "loss": 0.1}``."""


@dataclass(frozen=True)
class Split:
    """Labelled images, held in memory as uint8.

    Attributes:
        name: "train", "val", "test", or another test split of the card.
        images: uint8 (N,H,W,3), C-contiguous (so ``permute(0,3,1,2)`` in torch is channels_last for free).
        labels: int64 (N,).
        boxes: float32 (N,4) as x1,y1,x2,y2 in pixels of ``images``, half-open; NaN where unknown.
        tracks: int64 (N,): frames with one number show one physical sign; -1 where unknown.
        masks: bool (N,H,W), True on the sign's own pixels, or None where only boxes are known.
    """

    name: str
    images: NDArray[np.uint8]
    labels: Labels
    boxes: NDArray[np.float32]
    tracks: NDArray[np.int64]
    masks: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def digest(self) -> str:
        """SHA-256 over every array's dtype, shape and bytes."""
        h = hashlib.sha256()
        for array in (self.images, self.labels, self.boxes, self.tracks, self.masks):
            if array is not None:
                h.update(f"{array.dtype}{array.shape}".encode())
                h.update(np.ascontiguousarray(array).data)
        return h.hexdigest()

    def take(self, index: NDArray[np.int64]) -> Split:
        """The images at ``index``, in that order."""
        return Split(
            self.name,
            self.images[index],
            self.labels[index],
            self.boxes[index],
            self.tracks[index],
            None if self.masks is None else self.masks[index],
        )

    def as_float(self) -> Images:
        """(N,3,H,W) float32 in [0,1]."""
        planes = np.ascontiguousarray(self.images.transpose(0, 3, 1, 2), dtype=np.float32)
        planes /= np.float32(255)
        return planes

    def relevance(self) -> NDArray[np.bool_] | None:
        """(N,H,W) True on the sign: the exact mask, else the box, else None."""
        if self.masks is not None:
            return self.masks
        if np.isnan(self.boxes).any():
            return None
        height, width = self.images.shape[1:3]
        x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
        x1, y1, x2, y2 = (self.boxes[:, k, None] for k in range(4))
        return ((y >= y1) & (y < y2))[:, :, None] & ((x >= x1) & (x < x2))[:, None, :]


@dataclass(frozen=True)
class Row:
    """One measured number, able to stand alone in a report.

    Attributes:
        arm: which network: "natural", "refined", "control", "pruned".
        artefact: "twin", "fp32", "fp16", "int8-tensorrt" or "int8-x86": the file or network that ran.
        subject: "engine" or "twin": never print one as the other.
        metric: e.g. "clean_acc", "robust_acc", "saliency_gini", "road_gap", "roi_share", "latency_ms".
        value: None exactly when status is not "measured".
        unit: "fraction", "ms", "images/s", "count", "bytes", "logit", "W", "mJ", "MHz", "pixels", "unitless".
        n: images (or repetitions, for timings) behind the value.
        low, high: 95 % interval; None where the value is a count or exact.
        interval: how it was made: "wilson", "bootstrap", "paired-bootstrap", "bonett-price" (a difference of paired
            fractions), "order-statistics", "exact", "none".
        seed: of the random draw behind the value.
        split: data split it was measured on.
        detail: what else defines the number: attack, eps, steps, explainer, order, level, queries, batch ...
        control: metric/detail of the baseline this value must be read beside, in words.
        flags: names of honesty rules that fired (see measure/flags.py).
        status: "measured", "skipped" (with a reason), or "not measured here" (needs other hardware).
        reason: why it was not measured; the command that would measure it.
        runtime: e.g. "torch 2.14.1", "onnxruntime 1.31.1 CPU".
    """

    arm: str
    artefact: str
    subject: Literal["engine", "twin"]
    metric: str
    value: float | None
    unit: str
    n: int
    low: float | None = None
    high: float | None = None
    interval: str = "none"
    seed: int | None = None
    split: str = "test"
    detail: dict[str, str | int | float] = field(default_factory=dict)
    control: str = ""
    flags: tuple[str, ...] = ()
    status: Literal["measured", "skipped", "not measured here"] = "measured"
    reason: str = ""
    runtime: str = ""

    def to_json(self) -> str:
        """One line, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True, allow_nan=False)

    @staticmethod
    def from_json(line: str) -> Row:
        """The inverse of ``to_json``; unknown keys are an error."""
        data = json.loads(line)
        known = {f.name for f in fields(Row)}
        if unknown := set(data) - known:
            raise ValueError(f"unknown row keys: {sorted(unknown)}")
        data["flags"] = tuple(data.get("flags", ()))
        return Row(**data)
