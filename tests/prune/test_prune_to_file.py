"""Every architecture the whole way: pruned, saved, loaded, exported in three flavours, held against its twin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from prune_nets import CLASSES, tiny
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

_FOLLOWS = {"mobilenet_v2": 0.7}
"""Least correlation of int8 logits with the twin's, else 0.95. 52 layers of six channels carry a rounding error on: in
fp32 already this one differs from its twin ten times more than the others do, and the dense network as much."""


def colours(n: int) -> Images:
    """Images that differ as a whole: untrained networks average mere noise away."""
    rng = np.random.default_rng(5)
    images = 0.2 * rng.random((n, 3, 32, 32)) + 0.8 * rng.random((n, 3, 1, 1))
    return images.astype(np.float32)


def taught(net: Network, given: Images) -> Network:
    """A few steps towards telling colours apart, then batch-norm statistics of exactly these images.

    An untrained network's logits are all alike: what rounding does to them says nothing about a network that decides.
    """
    images = torch.from_numpy(given)
    redness = given.mean((2, 3)) @ np.array([1.0, -0.5, -0.5])
    labels = torch.from_numpy(np.argsort(np.argsort(redness)) * CLASSES // len(given))
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    net.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for _ in range(40):
            loss = F.cross_entropy(net(images), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        net(images)
    return net.eval()


def follows(logits: np.ndarray, expected: np.ndarray) -> float:
    """Correlation of the changes from image to image."""
    return float(np.corrcoef((logits - logits.mean(0)).ravel(), (expected - expected.mean(0)).ravel())[0, 1])


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_pruned_saved_loaded_exported_quantised(name: str, tmp_path: Path) -> None:
    net = tiny(name)
    small, _ = prune_channels(net, importance="l2", macs_ratio=0.6, round_to=2, seed=0)
    given = colours(64)
    taught(small, given)
    save(small, tmp_path / "net")
    again = load(tmp_path / "net")
    assert again.arch == small.arch
    assert macs(again) <= 0.6 * macs(net)
    expected = Twin(again)(given)
    with torch.no_grad():
        direct = small(torch.from_numpy(given)).numpy()
    assert np.abs(direct - expected).max() <= 1e-5 * np.abs(expected).max()
    spread = float(expected.std(0).max())
    assert spread > 0.1
    fp32 = tmp_path / "fp32.onnx"
    export_onnx(again, fp32, opset=18, saliency="cam" if again.linear_head else "none", metadata={})
    got = OnnxRuntimeEngine(fp32, threads=1)(given)
    assert np.abs(got - expected).max() <= 1e-3 * spread
    assert np.array_equal(got.argmax(1), expected.argmax(1))
    for flavour in ("int8-tensorrt", "int8-x86"):
        path = tmp_path / f"{flavour}.onnx"
        quantise(fp32, path, flavour=flavour, images=given, metadata={})
        engine = OnnxRuntimeEngine(path, threads=1)
        rounded = engine(given)
        assert rounded.shape == (64, 5)
        assert np.abs(rounded - expected).mean() > 0  # it is another file ...
        # ... whose logits follow the twin's from image to image, and not those of other images
        assert follows(rounded, expected) > _FOLLOWS.get(name, 0.95)
        assert abs(follows(rounded, np.roll(expected, 7, axis=0))) < 0.4
        if again.linear_head:
            maps = engine.with_saliency(given[:4])[1]
            assert maps.shape == (4, 32, 32)
            assert np.isfinite(maps).all()
