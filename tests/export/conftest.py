"""Files that several tests of this room read, exported once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from test_export_onnx import hues, network, write

from edgexai.export.onnx_graph import export_onnx
from edgexai.models.base import Network
from edgexai.train.loop import LoopSettings
from edgexai.train.natural import fit_natural

Exported = Callable[[str, str], tuple[Network, Path]]


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """(architecture, saliency) -> the small network and its fp32 file; both are read only."""
    folder, kept = tmp_path_factory.mktemp("exported"), dict[tuple[str, str], tuple[Network, Path]]()

    def get(name: str, saliency: str) -> tuple[Network, Path]:
        if (name, saliency) not in kept:
            net, path = network(name), folder / f"{name}-{saliency}.onnx"
            export_onnx(net, path, opset=18, saliency=saliency, metadata={})
            kept[name, saliency] = net, path
        return kept[name, saliency]

    return get


@pytest.fixture(scope="session")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Network, dict[str, Path]]:
    """A small signnet that tells hues apart, and its files with either saliency output."""
    net, folder = network("signnet"), tmp_path_factory.mktemp("learnt")
    settings = LoopSettings(epochs=6, batch_size=20, lr=0.1, weight_decay=5e-4)
    fit_natural(net, hues(200, 1), hues(50, 2), settings=settings, seed=0, work=folder, progress=lambda _: None)
    return net, {saliency: write(net, folder, saliency) for saliency in ("cam", "gradient")}
