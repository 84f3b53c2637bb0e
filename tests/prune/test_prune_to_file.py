"""Every architecture the whole way: pruned, saved, loaded, exported in three flavours, held against its twin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from prune_nets import tiny
from torch import nn

from edgexai.engine.onnx_runtime import OnnxRuntimeEngine
from edgexai.engine.twin import Twin
from edgexai.export.int8 import quantise
from edgexai.export.onnx_graph import export_onnx
from edgexai.models import ARCHITECTURES
from edgexai.models.base import Network
from edgexai.models.cost import macs
from edgexai.models.store import load, save
from edgexai.prune.channel import prune_channels
from edgexai.types import Images


def colours(n: int) -> Images:
    """Images that differ as a whole: untrained networks average mere noise away."""
    rng = np.random.default_rng(5)
    images = 0.2 * rng.random((n, 3, 32, 32)) + 0.8 * rng.random((n, 3, 1, 1))
    return images.astype(np.float32)


def settled(net: Network, given: Images) -> Network:
    """Batch-norm statistics of exactly these images, so that their differences survive every layer."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        net.train()(torch.from_numpy(given))
    return net.eval()


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_pruned_saved_loaded_exported_quantised(name: str, tmp_path: Path) -> None:
    net = tiny(name)
    small, _ = prune_channels(net, importance="l2", macs_ratio=0.6, round_to=2, seed=0)
    given = colours(64)
    settled(small, given)
    save(small, tmp_path / "net")
    again = load(tmp_path / "net")
    assert again.arch == small.arch
    assert macs(again) <= 0.6 * macs(net)
    expected = Twin(again)(given)
    with torch.no_grad():
        direct = small(torch.from_numpy(given)).numpy()
    assert np.abs(direct - expected).max() <= 1e-5 * np.abs(expected).max()
    spread = float(expected.std(0).max())
    assert spread > 1e-3
    fp32 = tmp_path / "fp32.onnx"
    export_onnx(again, fp32, opset=18, saliency="cam" if again.linear_head else "none", metadata={})
    got = OnnxRuntimeEngine(fp32, threads=1)(given)
    assert np.abs(got - expected).max() <= 0.02 * spread
    for flavour in ("int8-tensorrt", "int8-x86"):
        path = tmp_path / f"{flavour}.onnx"
        quantise(fp32, path, flavour=flavour, images=given, metadata={})
        engine = OnnxRuntimeEngine(path, threads=1)
        rounded = engine(given)
        assert rounded.shape == (64, 5)
        assert np.abs(rounded - expected).mean() > 0  # it is another file ...
        # ... whose logits follow the twin's from image to image
        assert np.corrcoef((rounded - rounded.mean(0)).ravel(), (expected - expected.mean(0)).ravel())[0, 1] > 0.95
        if again.linear_head:
            maps = engine.with_saliency(given[:4])[1]
            assert maps.shape == (4, 32, 32)
            assert np.isfinite(maps).all()
