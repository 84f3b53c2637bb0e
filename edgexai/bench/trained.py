"""A small network trained in the bench itself, and images it decides on: for what untrained weights cannot tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edgexai.bench.settings import BenchSettings
from edgexai.data.dataset import Dataset
from edgexai.data.limit import limited
from edgexai.engine.onnx_runtime import OnnxRuntimeEngine
from edgexai.export.int8 import quantise
from edgexai.export.onnx_graph import export_onnx
from edgexai.models.arch import Arch
from edgexai.models.base import Network
from edgexai.models.store import build, default_widths
from edgexai.train.detect import stratified
from edgexai.train.loop import LoopSettings
from edgexai.train.natural import fit_natural
from edgexai.types import Images, Labels, Split

_OPSET, _LR, _BATCH = 18, 0.2, 32


@dataclass(frozen=True)
class Trained:
    """What was learnt, and on what.

    Attributes:
        net: signnet in eval mode.
        images: float32 (N,3,H,W): validation images, which training did not see, one a class, drawn from those that
            the network gets right as far as there are so many.
        targets: int64 (N,), the network's own decisions on them.
        val_acc: share of the validation images it gets right.
        data: name of the data set.
        calibration: training images for int8.
        folder: for the ONNX files.
    """

    net: Network
    images: Images
    targets: Labels
    val_acc: float
    data: str
    calibration: Images = field(repr=False)
    folder: Path

    def engine(self, flavour: str, *, threads: int) -> OnnxRuntimeEngine:
        """The network in ONNX Runtime: "fp32", "int8-x86" or "int8-tensorrt"."""
        fp32, path = self.folder / "trained.fp32.onnx", self.folder / f"trained.{flavour}.onnx"
        if not fp32.is_file():
            export_onnx(self.net, fp32, opset=_OPSET, saliency="cam", metadata={})
        if not path.is_file():
            quantise(fp32, path, flavour=flavour, images=self.calibration, metadata={})
        return OnnxRuntimeEngine(path, threads=threads)


def train_signnet(dataset: Dataset, settings: BenchSettings, *, folder: Path, seed: int) -> Trained:
    """Trains for ``settings.trained_epochs`` on the first ``settings.trained_per_class`` images of every class.

    Args:
        dataset: with "train" and "val".
        settings: see ``BenchSettings``.
        folder: for the checkpoint and the engines' files.
        seed: of weights, batches and the choice of images.

    Returns:
        The ``Trained``.
    """
    splits = limited(dataset.splits, per_class=settings.trained_per_class, whole=())
    train, val = splits["train"], splits["val"]
    size, classes = train.images.shape[1], len(dataset.classes)
    net = build(Arch("signnet", default_widths("signnet"), classes, size, dataset.mean, dataset.std), seed=seed)
    (folder / "trained").mkdir(exist_ok=True)
    scores = fit_natural(
        net,
        train,
        val,
        settings=LoopSettings(settings.trained_epochs, _BATCH, _LR, 5e-4, augment_strength=0.5),
        seed=seed,
        work=folder / "trained",
        progress=lambda event: None,
    )
    chosen = _right_first(net, val, settings.stability_images, seed=seed)
    calibration = stratified(
        train.labels, min(settings.calibration_images, len(train)), np.random.default_rng([seed, 32])
    )
    images = val.take(chosen).as_float()
    targets = _decisions(net, images)
    given = train.take(calibration).as_float()
    return Trained(net, images, targets, scores["val_acc"], dataset.name, given, folder)


def _right_first(net: Network, val: Split, n: int, *, seed: int) -> NDArray[np.int64]:
    """Indices of ``n`` images in a drawn order, those rightly decided before the others, the classes in turn."""
    order = np.random.default_rng([seed, 31]).permutation(len(val))
    wrong = (_decisions(net, val.as_float()) != val.labels)[order]
    turn = np.empty(len(val), np.int64)
    for label in np.unique(val.labels):
        same = np.flatnonzero(val.labels[order] == label)
        turn[same[np.argsort(wrong[same], kind="stable")]] = np.arange(len(same))
    chosen: NDArray[np.int64] = order[np.lexsort((turn, wrong))][:n]
    return chosen


def _decisions(net: Network, images: Images) -> Labels:
    with torch.inference_mode():
        parts = [net(torch.from_numpy(images[i : i + 256])).argmax(1).numpy() for i in range(0, len(images), 256)]
    return np.concatenate(parts).astype(np.int64)
