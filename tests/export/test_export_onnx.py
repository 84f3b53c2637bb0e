"""Exported files: the twin's numbers, the int8 rules of both flavours, nothing of this machine inside."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from edgexai.engine.onnx_runtime import OnnxRuntimeEngine
from edgexai.engine.twin import Twin
from edgexai.errors import UserError
from edgexai.explain.cam import cam
from edgexai.export.int8 import quantise
from edgexai.export.onnx_graph import export_onnx
from edgexai.models import ARCHITECTURES
from edgexai.models.arch import Arch
from edgexai.models.base import Network
from edgexai.models.store import build, default_widths
from edgexai.types import Images, Split

CLASSES = 5
HUES = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200], [200, 200, 60], [60, 200, 200]])
POOLED = ("signnet", "resnet18", "resnet20", "mobilenet_v2", "densenet_small")
LOCAL = (b"/root", b"/work", b"/home", b"/tmp", b"site-packages", b".py:", b'.py"', b"Traceback")


def hues(n: int, seed: int) -> Split:
    """The class is the hue of a square somewhere on grey noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n, dtype=np.int64) % CLASSES
    images = rng.integers(60, 160, (n, 32, 32, 3), dtype=np.uint8)
    for image, label, (y, x) in zip(images, labels, rng.integers(0, 16, (n, 2)), strict=True):
        image[y : y + 16, x : x + 16] = HUES[label] + rng.integers(-30, 30)
    return Split("train", images, labels, np.full((n, 4), np.nan, np.float32), labels)


def network(name: str) -> Network:
    widths = tuple(max(8, w // 8) for w in default_widths(name))
    net = build(Arch(name, widths, CLASSES, 32, (0.45, 0.46, 0.47), (0.2, 0.21, 0.22)), seed=2)
    given = torch.from_numpy(hues(20, 8).as_float())
    net.train()
    with torch.no_grad():
        for _ in range(15):  # batch norm that does something
            net(given)
    return net.eval()


def write(net: Network, folder: Path, saliency: str) -> Path:
    path = folder / f"{net.arch.name}-{saliency}.onnx"
    export_onnx(
        net, path, opset=18, saliency=saliency, metadata={"edgexai.arch": net.arch.name, "edgexai.data": "hues"}
    )
    return path


@pytest.fixture(scope="module")
def trained(learnt: tuple[Network, dict[str, Path]]) -> Network:
    return learnt[0]


@pytest.fixture(scope="module")
def files(learnt: tuple[Network, dict[str, Path]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The trained network in all three flavours."""
    folder = tmp_path_factory.mktemp("files")
    out = {"fp32": learnt[1]["cam"]}
    level = logging.getLogger().level
    for flavour in ("int8-tensorrt", "int8-x86"):
        out[flavour] = folder / f"{flavour}.onnx"
        calibration = hues(100, 3).as_float()
        quantise(out["fp32"], out[flavour], flavour=flavour, images=calibration, metadata={"edgexai.artefact": flavour})
    assert logging.getLogger().level == level
    return out


def images(n: int) -> Images:
    return hues(n, 9).as_float()


# fp32

QUICK = ("lisa_cnn",)


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in ARCHITECTURES])
def test_fp32_is_the_twin(name: str, tmp_path: Path) -> None:
    net = network(name)
    weights = {k: v.clone() for k, v in net.state_dict().items()}
    net.train()
    path = write(net, tmp_path, "cam" if name in POOLED else "none")
    assert net.training  # exporting changes nothing
    assert all(torch.equal(v, weights[k]) for k, v in net.state_dict().items())
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    twin, engine = Twin(net), OnnxRuntimeEngine(path, threads=1)
    for n in (1, 7):
        expected, got = twin(images(n)), engine(images(n))
        assert got.shape == expected.shape == (n, CLASSES)
        assert got.dtype == np.float32
        assert np.abs(expected - got).max() <= 1e-4 * max(1.0, np.abs(expected).max())
    spread = expected.std(0).max()
    assert spread > 1e-5  # the images do not all give one answer ...
    assert np.abs(expected - got).max() <= 0.02 * spread  # ... and the file tells them apart as the twin does
    assert engine.outputs == (["logits", "saliency"] if name in POOLED else ["logits"])
    graph = onnx.load(path).graph
    assert not [n.op_type for n in graph.node if n.op_type == "BatchNormalization"]  # folded
    if name in POOLED:
        check_saliency(net.eval(), engine)


def check_saliency(net: Network, engine: OnnxRuntimeEngine) -> None:
    """The second output is CAM of the class that wins, as ``explain`` computes it on the twin."""
    given = images(6)
    logits, maps = engine.with_saliency(given)
    assert maps.shape == (6, 32, 32)
    assert maps.dtype == np.float32
    expected = cam(net, torch.from_numpy(given), torch.from_numpy(logits.argmax(1))).numpy()
    assert expected.max() > 0
    assert np.abs(maps - expected).max() <= 1e-4 * max(1.0, expected.max())
    assert np.array_equal(logits, engine(given))


@pytest.mark.parametrize("name", ["vgg16", "lisa_cnn"])
def test_cam_is_refused_where_it_would_be_wrong(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"export\.saliency"):
        write(network(name), tmp_path, "cam")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("opset", [20])
def test_opset_is_what_was_asked_for(opset: int, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    export_onnx(network("signnet"), path, opset=opset, saliency="cam", metadata={})
    assert [o.version for o in onnx.load(path).opset_import if o.domain in ("", "ai.onnx")] == [opset]
    assert OnnxRuntimeEngine(path, threads=1)(images(2)).shape == (2, CLASSES)


def test_contract_of_the_file(files: dict[str, Path]) -> None:
    for path in files.values():
        graph = onnx.load(path).graph
        (taken,) = graph.input
        assert taken.name == "images"
        assert taken.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        dims = taken.type.tensor_type.shape.dim
        assert dims[0].dim_param
        assert [d.dim_value for d in dims[1:]] == [3, 32, 32]
        assert [o.name for o in graph.output] == ["logits", "saliency"]
        assert all(o.type.tensor_type.elem_type == onnx.TensorProto.FLOAT for o in graph.output)


def test_nothing_of_this_machine_is_inside(files: dict[str, Path]) -> None:
    for name, path in files.items():
        content = path.read_bytes()
        assert [word for word in LOCAL if word in content] == [], name


def test_metadata(files: dict[str, Path]) -> None:
    for name, path in files.items():
        kept = OnnxRuntimeEngine(path, threads=1).metadata
        assert kept["edgexai.arch"] == "signnet"  # int8 inherits what fp32 knows
        assert kept["edgexai.data"] == "hues"
        assert kept.get("edgexai.artefact") == (None if name == "fp32" else name)
        assert all(key.startswith("edgexai.") for key in kept)


# int8


def graph_of(path: Path) -> tuple[Any, dict[str, np.ndarray[Any, Any]], dict[str, Any]]:
    graph = onnx.load(path).graph
    constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    producer = {output: node for node in graph.node for output in node.output}
    return graph, constants, producer


def zero_points(graph: Any, constants: dict[str, Any], op: str) -> dict[str, np.ndarray[Any, Any]]:
    return {n.name: constants[n.input[2]] for n in graph.node if n.op_type == op}


def test_tensorrt_flavour_is_symmetric_and_signed(files: dict[str, Path]) -> None:
    graph, constants, _ = graph_of(files["int8-tensorrt"])
    points = zero_points(graph, constants, "QuantizeLinear") | zero_points(graph, constants, "DequantizeLinear")
    assert len(points) > 15
    for name, point in points.items():
        assert point.dtype == np.int8, name  # in particular no int32: biases stay float
        assert not point.any(), name


def test_x86_flavour_has_unsigned_activations_and_signed_weights(files: dict[str, Path]) -> None:
    graph, constants, _ = graph_of(files["int8-x86"])
    activations = zero_points(graph, constants, "QuantizeLinear")
    assert activations
    assert {point.dtype for point in activations.values()} == {np.dtype(np.uint8)}
    weights = [constants[n.input[2]] for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] in constants]
    assert {w.dtype for w in weights} == {np.dtype(np.int8), np.dtype(np.int32)}
    assert not any(w.any() for w in weights)


@pytest.mark.parametrize("flavour", ["int8-tensorrt", "int8-x86"])
def test_convolutions_run_in_int8_with_a_scale_per_channel(files: dict[str, Path], flavour: str) -> None:
    graph, constants, producer = graph_of(files[flavour])
    convolutions = [n for n in graph.node if n.op_type == "Conv"]
    wanted = sum(n.op_type == "Conv" for n in onnx.load(files["fp32"]).graph.node)
    assert len(convolutions) == wanted
    if flavour == "int8-x86":  # the one on RGB is faster in float there
        first = convolutions.pop(0)
        assert constants[first.input[1]].dtype == np.float32
        assert constants[first.input[1]].shape[1] == 3
    for node in convolutions:
        image, weight = (producer[name] for name in node.input[:2])
        assert image.op_type == weight.op_type == "DequantizeLinear"
        kept = constants[weight.input[0]]
        assert kept.dtype == np.int8
        assert constants[weight.input[1]].shape == (kept.shape[0],)
        assert constants[image.input[1]].ndim == 0


@pytest.mark.slow
def test_x86_runs_depthwise_convolutions_in_int8(tmp_path: Path) -> None:
    """They have one channel a group, but see all of them; only what sees fewer than eight stays in float."""
    widths = (16, 8, *(w for stage in (8,) * 16 for w in (24, stage)), 16)
    net = build(Arch("mobilenet_v2", (16, 6, *widths[2:]), CLASSES, 32, (0.45,) * 3, (0.2,) * 3), seed=2).eval()
    fp32, path = write(net, tmp_path, "cam"), tmp_path / "int8.onnx"
    quantise(fp32, path, flavour="int8-x86", images=images(16), metadata={})
    graph, constants, producer = graph_of(path)
    seen = {"depthwise": 0, "float": 0}
    for node in (n for n in graph.node if n.op_type == "Conv"):
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        weight = constants.get(node.input[1])
        if weight is not None:  # in float: the one on RGB, and the one on six channels
            assert weight.shape[1] * groups in (3, 6)
            seen["float"] += 1
        elif groups > 1:
            assert constants[producer[node.input[1]].input[0]].dtype == np.int8
            seen["depthwise"] += 1
    assert seen == {"depthwise": 17, "float": 2}


@pytest.mark.parametrize("flavour", ["int8-tensorrt", "int8-x86"])
def test_the_classifier_stays_in_float(files: dict[str, Path], flavour: str) -> None:
    graph, constants, producer = graph_of(files[flavour])
    classifier = producer["logits"]
    assert classifier.op_type == "Gemm"
    assert constants[classifier.input[1]].dtype == np.float32
    assert producer[classifier.input[0]].op_type == "ReduceMean"
    assert {n.op_type for n in graph.node if "logits" in n.input} == {"ArgMax"}


def test_on_the_board_nothing_is_rounded_between_a_convolution_and_its_relu(files: dict[str, Path]) -> None:
    """TensorRT then makes one kernel of convolution, residual sum and ReLU, and the sum's shortcut is int8 too."""
    graph, _, producer = graph_of(files["int8-tensorrt"])
    users: dict[str, list[str]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node.op_type)
    for node in graph.node:
        if node.op_type == "Conv":
            assert users[node.output[0]] in (["Relu"], ["Add"])
        if node.op_type == "Add":
            assert users[node.output[0]] == ["Relu"]
            assert sorted(producer[name].op_type for name in node.input) == ["Conv", "DequantizeLinear"]


def test_x86_pools_in_float_behind_the_first_convolution(files: dict[str, Path], trained: Network) -> None:
    """Q must not follow MaxPool directly: ONNX Runtime would pull it in front and pool uint8, which is slow."""
    graph, constants, producer = graph_of(files["int8-x86"])
    (pool,) = [n for n in graph.node if n.op_type == "MaxPool"]
    assert producer[pool.input[0]].op_type == "Relu"
    (kept,) = [n for n in graph.node if pool.output[0] in n.input]
    assert kept.op_type == "Max"
    assert constants[kept.input[1]] == np.finfo(np.float32).min  # no value is lower: nothing changes
    assert [n.op_type for n in graph.node if kept.output[0] in n.input] == ["QuantizeLinear"]


@pytest.mark.parametrize("flavour", ["int8-tensorrt", "int8-x86"])
def test_the_saliency_branch_is_not_quantised(files: dict[str, Path], flavour: str) -> None:
    """Nodes that only the saliency output needs hold no Q or DQ, and are those of the fp32 file."""

    def only_saliency(path: Path) -> Counter[str]:
        graph, _, producer = graph_of(path)

        def needed(output: str) -> set[str]:
            seen: set[str] = set()
            stack = [output]
            while stack:
                node = producer.get(stack.pop())
                if node is not None and node.name not in seen:
                    seen.add(node.name)
                    stack.extend(node.input)
            return seen

        alone = needed("saliency") - needed("logits")
        return Counter(n.op_type for n in graph.node if n.name in alone)

    branch = only_saliency(files[flavour])
    assert branch["Resize"] == 1
    assert branch == only_saliency(files["fp32"])


@pytest.mark.parametrize("flavour", ["int8-tensorrt", "int8-x86"])
def test_int8_decides_as_its_twin(trained: Network, files: dict[str, Path], flavour: str) -> None:
    split = hues(200, 5)
    given = split.as_float()
    twin = Twin(trained)(given)
    assert (twin.argmax(1) == split.labels).mean() > 0.8
    engine = OnnxRuntimeEngine(files[flavour], threads=1)
    logits = engine(given)
    assert (logits.argmax(1) == twin.argmax(1)).mean() >= 0.97
    drift = np.abs(logits - twin).mean()
    assert 0 < drift < 0.1 * twin.std()  # it is another file, and close
    one_by_one = np.concatenate([engine(given[k : k + 1]) for k in range(5)])
    assert np.allclose(one_by_one, logits[:5], atol=1e-5)
    maps, exact = (
        engine.with_saliency(given[:20])[1],
        OnnxRuntimeEngine(files["fp32"], threads=1).with_saliency(given[:20])[1],
    )
    assert np.corrcoef(maps.ravel(), exact.ravel())[0, 1] > 0.98


def test_int8_is_smaller(files: dict[str, Path]) -> None:
    weights = {
        name: sum(a.nbytes for a in graph_of(path)[1].values() if a.ndim == 4 and a.size > 3 and a.shape[1] > 3)
        for name, path in files.items()
    }
    assert weights["int8-tensorrt"] * 4 == weights["int8-x86"] * 4 == weights["fp32"]


def test_calibration_images_decide_the_scales(files: dict[str, Path], tmp_path: Path) -> None:
    calibration, other = hues(100, 3).as_float(), hues(100, 3).as_float() * np.float32(0.3)
    again, dark = tmp_path / "again.onnx", tmp_path / "dark.onnx"
    for path, given in ((again, calibration), (dark, other)):
        quantise(files["fp32"], path, flavour="int8-tensorrt", images=given, metadata={})
    given = images(20)
    first = OnnxRuntimeEngine(files["int8-tensorrt"], threads=1)(given)
    assert np.array_equal(first, OnnxRuntimeEngine(again, threads=1)(given))
    assert not np.array_equal(first, OnnxRuntimeEngine(dark, threads=1)(given))


def test_unknown_flavour(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="int8-tensorrt, int8-x86"):
        quantise(files["fp32"], tmp_path / "x.onnx", flavour="int4", images=images(4), metadata={})


@pytest.mark.trt
@pytest.mark.parametrize("artefact", ["fp32", "int8-tensorrt"])
def test_tensorrts_parser_takes_the_file(files: dict[str, Path], artefact: str) -> None:
    """Parsing needs no GPU; what it refuses here, the board refuses too."""
    trt = pytest.importorskip("tensorrt_rtx")
    if sys.platform != "linux":
        pytest.skip("TensorRT-RTX is tried on Linux only")
    said: list[str] = []

    class Log(trt.ILogger):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if int(severity) <= int(trt.ILogger.ERROR):
                said.append(message)

    log = Log()
    builder = trt.Builder(log)
    strongly_typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    parsed = builder.create_network(0 if strongly_typed is None else 1 << int(strongly_typed))
    parser = trt.OnnxParser(parsed, log)
    accepted = parser.parse(files[artefact].read_bytes())
    errors = [parser.get_error(k).desc() for k in range(parser.num_errors)]
    assert accepted, errors + said
    outputs = [parsed.get_output(k) for k in range(parsed.num_outputs)]
    assert [o.name for o in outputs] == ["logits", "saliency"]
    assert tuple(outputs[0].shape) == (-1, CLASSES)
