"""Fake quantisation against ONNX Runtime on the int8 file itself, and the loop that trains through it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from edgexai.engine.onnx_runtime import OnnxRuntimeEngine
from edgexai.errors import UserError
from edgexai.export.int8 import quantise
from edgexai.export.onnx_graph import export_onnx
from edgexai.export.rounding import input_steps
from edgexai.models.arch import Arch
from edgexai.models.base import Network
from edgexai.models.store import build
from edgexai.prune.masked import held
from edgexai.train.fake_quantise import fake_quantised, rounded
from edgexai.train.loop import LoopSettings
from edgexai.train.natural import fit_natural
from edgexai.train.quantised import QuantisedSettings, fit_quantised
from edgexai.types import Images, Logits

sys.path.insert(0, str(Path(__file__).parents[1] / "export"))
from test_export_onnx import hues, network


def int8_file(net: Network, folder: Path) -> Path:
    path = folder / "int8-tensorrt.onnx"
    export_onnx(net, folder / "fp32.onnx", opset=18, saliency="none", metadata={})
    calibration = hues(64, 3).as_float()
    quantise(folder / "fp32.onnx", path, flavour="int8-tensorrt", images=calibration, metadata={})
    return path


def as_written(path: Path, images: Images) -> Logits:
    """The file run node by node: otherwise ONNX Runtime rounds biases of its own accord."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    run = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    logits: Logits = run.run(["logits"], {"images": images})[0]
    return logits


def imitated(net: Network, images: Images, steps: Mapping[str, float]) -> Logits:
    with torch.no_grad():
        logits: Logits = fake_quantised(net, torch.from_numpy(images), steps).numpy()
    return logits


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("lisa_cnn", 3),
        pytest.param("signnet", 8, marks=pytest.mark.slow),
        pytest.param("resnet20", 21, marks=pytest.mark.slow),
        pytest.param("mobilenet_v2", 52, marks=pytest.mark.slow),
        pytest.param("densenet_small", 15, marks=pytest.mark.slow),
        pytest.param("vgg16", 15, marks=pytest.mark.slow),
    ],
)
def test_it_computes_what_the_file_computes(name: str, layers: int, tmp_path: Path) -> None:
    """But where a float sum in another order lands on the other side of a half, and what follows from that."""
    net, given = network(name), hues(40, 9).as_float()
    path = int8_file(net, tmp_path)
    steps = input_steps(path)
    assert len(steps) == layers
    mine, file = imitated(net, given, steps), as_written(path, given)
    with torch.no_grad():
        plain: Logits = net(torch.from_numpy(given)).numpy()
    apart, rounding = np.abs(mine - file), np.abs(plain - file)
    assert np.median(apart) < np.median(rounding) / 20
    assert (mine.argmax(1) == OnnxRuntimeEngine(path)(given).argmax(1)).mean() > 0.9
    quantise(
        tmp_path / "fp32.onnx", tmp_path / "x86.onnx", flavour="int8-x86", images=hues(32, 3).as_float(), metadata={}
    )
    with pytest.raises(UserError, match="signed int8"):  # levels that the imitation does not have
        input_steps(tmp_path / "x86.onnx")
    assert input_steps(tmp_path / "fp32.onnx") == {}
    wrong = {key: step * 1.1 for key, step in steps.items()}  # a tenth off in every step is seen
    assert np.median(np.abs(imitated(net, given, wrong) - file)) > np.median(rounding) / 4


def test_a_step_and_its_gradient_by_hand() -> None:
    values = torch.tensor([0.05, 0.15, 0.149, -0.25, 12.74, 13.0, -20.0], requires_grad=True)
    out = rounded(values, torch.tensor(0.1))
    assert out.tolist() == pytest.approx([0.0, 0.2, 0.1, -0.2, 12.7, 12.7, -12.8], abs=1e-6)
    out.sum().backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert values.grad.tolist() == [1, 1, 1, 1, 1, 0, 0]


def test_what_it_refuses() -> None:
    net = build(Arch("lisa_cnn", (8, 8, 8), 5, 32, (0.5,) * 3, (0.25,) * 3), seed=0)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with pytest.raises(UserError, match="train mode"):
        fake_quantised(net.train(), images, {})
    with pytest.raises(UserError, match=r"body\.99\.weight"):
        fake_quantised(net.eval(), images, {"body.99.weight": 0.1})


class _Two(nn.Module):
    """What the second layer reads is read a second time, by the sum; changed in place where ``hidden``."""

    def __init__(self, *, hidden: bool) -> None:
        super().__init__()
        self.first, self.second, self.hidden = nn.Linear(3, 4), nn.Linear(4, 4), hidden

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        read = self.first(images)
        if self.hidden:
            read.relu_()
        else:
            read = torch.relu(read)
        return self.second(read) + read


def test_whoever_reads_it_reads_it_rounded() -> None:
    """By hand: both summands come of the rounded values; a result that cannot be replaced is refused."""
    torch.manual_seed(0)
    net, images, step = _Two(hidden=False).eval(), torch.rand(5, 3), 0.25
    weights = net.second.weight.detach()
    size = weights.abs().amax(1, keepdim=True) / 127
    with torch.no_grad():
        read = (torch.relu(net.first(images)) / step).round() * step
        wanted = read @ ((weights / size).round() * size).T + net.second.bias + read
        found = fake_quantised(net, images, {"second.weight": step})  # type: ignore[arg-type]
    assert torch.allclose(found, wanted, atol=1e-6)
    assert (read != torch.relu(net.first(images))).any()
    with pytest.raises(UserError, match=r"second\.weight reads cannot be followed"):
        fake_quantised(_Two(hidden=True).eval(), images, {"second.weight": step})  # type: ignore[arg-type]


# The loop, on a network whose rounding does harm.


class Spoilt(NamedTuple):
    net: Network
    path: Path
    steps: Mapping[str, float]


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Spoilt:
    """Tells hues apart in float; a huge weight that no image reaches takes the int8 levels of every filter of a layer.

    The input channel of the huge weights is silenced before them, so float logits stay as they are.
    """
    net = network("signnet")
    settings = LoopSettings(epochs=6, batch_size=20, lr=0.1, weight_decay=5e-4)
    work = tmp_path_factory.mktemp("spoilt")
    fit_natural(net, hues(200, 1), hues(50, 2), settings=settings, seed=0, work=work, progress=lambda _: None)
    _, second = [m for m in net.modules() if isinstance(m, nn.Conv2d)][:2]
    norm = next(m for m in net.modules() if isinstance(m, nn.BatchNorm2d))
    with torch.no_grad():
        norm.weight[0], norm.bias[0] = 0.0, -1e-3  # behind ReLU: 0 on every image
        second.weight[:, 0] = 200 * second.weight.abs().amax()
    path = int8_file(net, work)
    return Spoilt(net, path, input_steps(path))


def twin_of(net: Network) -> Network:
    copy = build(net.arch, seed=0)
    copy.load_state_dict(net.state_dict())
    return copy.eval()


def tuned(spoilt: Spoilt, work: Path, *, epochs: int, seed: int = 0) -> Network:
    net = twin_of(spoilt.net)
    settings = QuantisedSettings(epochs=epochs, batch_size=20, lr=0.01, augment="none")
    fit_quantised(
        net,
        hues(200, 1),
        settings=settings,
        calibrate=lambda _: spoilt.steps,
        seed=seed,
        work=work,
        progress=lambda _: None,
    )
    return net


def lost(path: Path, teacher: Network) -> float:
    """Share that a file decides otherwise than the float teacher."""
    given = hues(100, 5).as_float()
    with torch.no_grad():
        wanted = teacher(torch.from_numpy(given)).numpy()
    found = OnnxRuntimeEngine(path)(given)
    return float((found.argmax(1) != wanted.argmax(1)).mean())


@pytest.mark.slow
def test_it_wins_back_what_rounding_took(spoilt: Spoilt, tmp_path: Path) -> None:
    before = lost(spoilt.path, spoilt.net)
    assert before > 0.1  # or there would be nothing to win
    better = tuned(spoilt, tmp_path / "work", epochs=6)
    after = lost(int8_file(better, tmp_path), spoilt.net)
    assert after < before / 2
    assert not better.training


def test_the_seed_repeats_and_a_restart_continues(spoilt: Spoilt, tmp_path: Path) -> None:
    whole, again = (tuned(spoilt, tmp_path / name, epochs=2).state_dict() for name in "ab")
    assert all(torch.equal(whole[key], again[key]) for key in whole)
    other = tuned(spoilt, tmp_path / "c", epochs=2, seed=1).state_dict()
    assert not all(torch.equal(whole[key], other[key]) for key in whole)

    class Killed(Exception):
        pass

    def kill(event: Mapping[str, object]) -> None:
        raise Killed

    net = twin_of(spoilt.net)
    settings = QuantisedSettings(epochs=2, batch_size=20, lr=0.01, augment="none")
    with pytest.raises(Killed):
        fit_quantised(
            net,
            hues(200, 1),
            settings=settings,
            calibrate=lambda _: spoilt.steps,
            seed=0,
            work=tmp_path / "d",
            progress=kill,
        )
    resumed = tuned(spoilt, tmp_path / "d", epochs=2).state_dict()
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_masked_weights_stay_zero(spoilt: Spoilt, tmp_path: Path) -> None:
    net = twin_of(spoilt.net)
    name, weight = next((f"{n}.weight", m.weight) for n, m in net.named_modules() if isinstance(m, nn.Conv2d))
    keep = {name: weight.detach().abs() > weight.detach().abs().median()}
    settings = QuantisedSettings(epochs=1, batch_size=20, lr=0.01, augment="none")
    with held(net, keep):
        fit_quantised(
            net,
            hues(40, 1),
            settings=settings,
            calibrate=lambda _: spoilt.steps,
            seed=0,
            work=tmp_path / "work",
            progress=lambda _: None,
        )
    assert not weight.detach()[~keep[name]].any()
    assert not torch.equal(weight.detach()[keep[name]], spoilt.net.state_dict()[name][keep[name]])
