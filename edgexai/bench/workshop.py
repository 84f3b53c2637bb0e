"""What several families need, made once: images, networks, their ONNX files and engines.

Weights are freshly initialised and never trained, but for ``trained``: the time of a convolution does not depend on its
values. Engines are exported as the recipes deploy them, with the CAM as second output.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from edgexai.bench.settings import BenchSettings
from edgexai.bench.trained import Trained, train_signnet
from edgexai.config.recipe import DataTable
from edgexai.data.dataset import Dataset
from edgexai.data.load import load as load_dataset
from edgexai.engine.onnx_runtime import OnnxRuntimeEngine
from edgexai.errors import MissingCapability
from edgexai.export.int8 import quantise
from edgexai.export.onnx_graph import export_onnx
from edgexai.models.arch import Arch
from edgexai.models.base import Network
from edgexai.models.store import build, default_widths
from edgexai.prune.channel import PruneReport, prune_channels
from edgexai.types import Images

SIZE, CLASSES, SEED, MACS_RATIO = 32, 43, 0, 0.5
_OPSET, _ROUND_TO = 18, 16


class Workshop:
    """Caches by name.

    Args:
        settings: sizes and counts.
        folder: for files; the caller removes it.
        data_root: where GTSRB may lie; else ``EDGEXAI_DATA``.
    """

    def __init__(self, settings: BenchSettings, *, folder: Path, data_root: Path | None = None) -> None:
        self.settings, self.folder, self._data_root = settings, folder, data_root
        self.threads = torch.get_num_threads()
        self._pruned: dict[str, tuple[Network, PruneReport]] = {}

    @cached_property
    def dataset(self) -> Dataset:
        """GTSRB where it is on this machine, else rendered signs; ``dataset.name`` says which."""
        try:
            table = DataTable(name="gtsrb", size=SIZE, validation=0.1, per_class=None, rendered=0)
            return load_dataset(table, seed=SEED, data_root=self._data_root)
        except MissingCapability:
            table = DataTable(
                name="signs", size=SIZE, validation=0.1, per_class=self.settings.signs_per_class, rendered=0
            )
            return load_dataset(table, seed=SEED)

    @cached_property
    def trained(self) -> Trained:
        """A signnet that has learnt the dataset's signs, for what depends on values: how steady explanations are."""
        return train_signnet(self.dataset, self.settings, folder=self.folder, seed=SEED)

    def net(self, name: str) -> Network:
        """A fresh network with random weights, in eval mode, the same every time."""
        arch = Arch(name, default_widths(name), CLASSES, SIZE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
        return build(arch, seed=SEED).eval()

    def pruned(self, name: str) -> tuple[Network, PruneReport]:
        """The same network with half of its MACs removed."""
        if name not in self._pruned:
            self._pruned[name] = prune_channels(
                self.net(name), importance="group_l2", macs_ratio=MACS_RATIO, round_to=_ROUND_TO, seed=SEED
            )
        return self._pruned[name]

    def noise(self, n: int) -> Images:
        """(n,3,32,32) uniform in [0,1): a forward pass takes as long on noise as on signs."""
        return np.random.default_rng(SEED).random((n, 3, SIZE, SIZE), dtype=np.float32)

    def engine(self, name: str, *, flavour: str, threads: int, pruned: bool = False) -> OnnxRuntimeEngine:
        """The network in ONNX Runtime.

        Args:
            flavour: "fp32", "int8-x86" or "int8-tensorrt".
            threads: for one operator.
            pruned: the pruned one instead of the dense one.
        """
        stem = f"{name}-pruned" if pruned else name
        fp32, path = self.folder / f"{stem}.fp32.onnx", self.folder / f"{stem}.{flavour}.onnx"
        if not fp32.is_file():
            net = self.pruned(name)[0] if pruned else self.net(name)
            export_onnx(net, fp32, opset=_OPSET, saliency="cam", metadata={})
        if not path.is_file():
            images = self.noise(self.settings.calibration_images)
            quantise(fp32, path, flavour=flavour, images=images, metadata={})
        return OnnxRuntimeEngine(path, threads=threads)
