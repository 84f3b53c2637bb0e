"""The gradient output: against Captum on every architecture, against differences on every rule, ties by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from test_export_onnx import hues, images

from edgexai.engine.onnx_runtime import OnnxRuntimeEngine
from edgexai.errors import UserError
from edgexai.explain.gradient import vanilla_gradient
from edgexai.export.fp16 import to_fp16
from edgexai.export.gradient_head import add_gradient
from edgexai.export.int8 import quantise
from edgexai.export.onnx_graph import export_onnx
from edgexai.measure.drift import map_rank_correlation, topk_overlap
from edgexai.models import ARCHITECTURES
from edgexai.models.base import Network

Node = tuple[str, list[Any], dict[str, Any]]


def run(model: onnx.ModelProto, given: Any) -> tuple[Any, Any]:
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    logits, maps = session.run(["logits", "saliency"], {"images": given})
    return logits, maps


QUICK = ("lisa_cnn",)


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in ARCHITECTURES])
def test_it_is_the_twins_gradient(name: str, exported: Callable[..., tuple[Network, Path]]) -> None:
    net, path = exported(name, "none")
    plain = onnx.load(path)
    before = plain.SerializeToString()
    model = add_gradient(plain)
    assert plain.SerializeToString() == before
    assert all(n.domain == "" and n.op_type not in ("ScatterND", "OneHot", "NonZero") for n in model.graph.node)
    given = images(12)
    logits, maps = run(model, given)
    assert np.allclose(logits, OnnxRuntimeEngine(path, threads=1)(given), rtol=1e-5, atol=1e-6)
    expected = vanilla_gradient(net, torch.from_numpy(given), torch.from_numpy(logits.argmax(1))).numpy()
    assert maps.shape == expected.shape == (12, 32, 32)
    assert expected.min(axis=(1, 2)).max() < expected.max(axis=(1, 2)).min()  # maps that say something
    worst = np.abs(maps - expected).max(axis=(1, 2)) / expected.max(axis=(1, 2))
    # By quantile: where two activations are equal up to rounding, another one may be the first maximum.
    assert np.median(worst) < 1e-5
    assert np.quantile(worst, 0.9) < 1e-3
    alone = run(model, given[:1])[1]
    assert np.allclose(alone, maps[:1], rtol=1e-4, atol=1e-4 * maps.max())


def graph(nodes: list[Node], *, size: int, width: int, seed: int = 0) -> onnx.ModelProto:
    """images (batch,3,size,size) -> nodes -> Flatten -> Gemm -> logits (batch,4); arrays become constants."""
    rng = np.random.default_rng(seed)
    made, constants = [], []

    def named(value: Any, where: str) -> str:
        if isinstance(value, str):
            return value
        constants.append(numpy_helper.from_array(np.asarray(value), where))
        return where

    weight = rng.normal(size=(width, 4)).astype(np.float32)
    tail: list[Node] = [("Flatten", ["last"], {"outputs": ["flat"]}), ("Gemm", ["flat", weight], {"alpha": 0.5})]
    for k, (op, inputs, attributes) in enumerate([*nodes, *tail]):
        default = ["logits"] if k == len(nodes) + 1 else ["last"] if k == len(nodes) - 1 else [f"v{k}"]
        outputs = attributes.pop("outputs", default)
        names = [named(value, f"c{k}_{j}") for j, value in enumerate(inputs)]
        made.append(helper.make_node(op, names, outputs, name=f"n{k}", **attributes))
    taken = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, size, size])
    given = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4])
    whole = helper.make_graph(made, "g", [taken], [given], constants)
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def normal(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


RULES: dict[str, tuple[list[Node], int, int]] = {
    "strided with rows left over": ([("Conv", ["images", normal(4, 3, 3, 3)], {"strides": [2, 2]})], 8, 36),
    "dilated groups": (
        [
            ("Conv", ["images", normal(4, 3, 1, 1)], {}),
            ("Conv", ["v0", normal(6, 2, 3, 3)], {"group": 2, "dilations": [2, 2], "pads": [2, 2, 2, 2]}),
        ],
        6,
        216,
    ),
    "uneven pads": ([("Conv", ["images", normal(2, 3, 3, 2)], {"pads": [2, 0, 1, 1]})], 6, 84),
    "pads beyond the kernel": ([("Conv", ["images", normal(2, 3, 1, 1)], {"pads": [1, 1, 1, 1]})], 4, 72),
    "average pool, odd": ([("AveragePool", ["images"], {"kernel_shape": [2, 2], "strides": [2, 2]})], 7, 27),
    "max pool, odd": ([("MaxPool", ["images"], {"kernel_shape": [2, 2], "strides": [2, 2]})], 7, 27),
    "two users and a sum": (
        [("Relu", ["images"], {}), ("Mul", ["v0", normal(1, 3, 1, 1)], {}), ("Add", ["v0", "v1"], {})],
        4,
        48,
    ),
    "concat": ([("Sub", [normal(1, 3, 4, 4), "images"], {}), ("Concat", ["v0", "images"], {"axis": 1})], 4, 96),
    "batch norm": (
        [("BatchNormalization", ["images", normal(3), normal(3), normal(3), np.abs(normal(3)) + 1], {})],
        4,
        48,
    ),
    "clip": ([("Clip", ["images", np.float32(0.3), np.float32(0.6)], {})], 4, 48),
    "mean": ([("ReduceMean", ["images", np.array([2, 3])], {"keepdims": 1})], 4, 3),
    "mean, then convolution": ([("GlobalAveragePool", ["images"], {}), ("Conv", ["v0", normal(5, 3, 1, 1)], {})], 4, 5),
    "transpose and divide": (
        [("Div", ["images", normal(1, 3, 1, 1)], {}), ("Transpose", ["v0"], {"perm": [0, 2, 3, 1]})],
        4,
        48,
    ),
    "hidden layer": (
        [("Flatten", ["images"], {}), ("Gemm", ["v0", normal(7, 48)], {"transB": 1}), ("Relu", ["v1"], {})],
        4,
        7,
    ),
    "matmul": ([("Reshape", ["images", np.array([-1, 48])], {}), ("MatMul", ["v0", normal(48, 6)], {})], 4, 6),
}


@pytest.mark.parametrize("what", RULES)
def test_every_rule_against_differences(what: str) -> None:
    nodes, size, width = RULES[what]
    model = graph([(op, list(i), dict(a)) for op, i, a in nodes], size=size, width=width)
    given = np.random.default_rng(5).random((1, 3, size, size), dtype=np.float32)
    logits, maps = run(add_gradient(model), given)
    step = np.float32(1e-3)
    moves = np.eye(given.size, dtype=np.float32).reshape(-1, 3, size, size) * step
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    up, down = (session.run(None, {"images": given + sign * moves})[0][:, logits.argmax()] for sign in (1, -1))
    expected = np.abs((up - down) / (2 * step)).reshape(3, size, size).sum(0)
    assert expected.max() > 0.01
    assert np.abs(maps[0] - expected).max() < 0.01 * max(1, expected.max())


def test_of_equal_maxima_the_first_takes_all() -> None:
    pool: Node = ("MaxPool", ["images"], {"kernel_shape": [2, 2], "strides": [2, 2]})
    model = graph([pool], size=5, width=12)
    weight = numpy_helper.to_array(next(i for i in model.graph.initializer if i.name == "c2_1")) * 0.5
    given = np.full((2, 3, 5, 5), 0.5, np.float32)
    given[1, :, 1, 1] = 0.75  # a winner that is not the first
    logits, maps = run(add_gradient(model), given)
    for k, top in enumerate(logits.argmax(1)):
        expected = np.zeros((5, 5))
        expected[0:4:2, 0:4:2] = np.abs(weight[:, top].reshape(3, 2, 2)).sum(0)
        if k == 1:
            expected[1, 1], expected[0, 0] = expected[0, 0], 0
        assert np.allclose(maps[k], expected, rtol=1e-5)


def test_what_has_no_rule_is_refused_by_name() -> None:
    with pytest.raises(UserError, match='node "n0" is a Sigmoid') as caught:
        add_gradient(graph([("Sigmoid", ["images"], {})], size=4, width=48))
    assert "Relu" in str(caught.value)
    overlapping: Node = ("MaxPool", ["images"], {"kernel_shape": [3, 3], "strides": [2, 2]})
    with pytest.raises(UserError, match='"n0" \\(MaxPool\\) has windows that overlap'):
        add_gradient(graph([overlapping], size=7, width=27))


def test_logits_that_no_linear_layer_gives() -> None:
    model = graph([("Identity", ["images"], {})], size=4, width=48)
    model.graph.node[-1].output[0] = "before"
    model.graph.node.append(helper.make_node("Identity", ["before"], ["logits"], name="end"))
    given = np.random.default_rng(5).random((3, 3, 4, 4), dtype=np.float32)
    linear = graph([("Identity", ["images"], {})], size=4, width=48)
    assert np.allclose(run(add_gradient(model), given)[1], run(add_gradient(linear), given)[1], rtol=1e-5)


@pytest.mark.parametrize(
    ("form", "rank", "shared"), [("fp16", 0.97, 0.9), ("int8-tensorrt", 0.8, 0.7), ("int8-x86", 0.8, 0.7)]
)
def test_it_survives_lower_precision(
    form: str, rank: float, shared: float, learnt: tuple[Network, dict[str, Path]], tmp_path: Path
) -> None:
    net, files = learnt
    path = tmp_path / "file.onnx"
    if form == "fp16":
        to_fp16(files["gradient"], path, metadata={})
    else:
        quantise(files["gradient"], path, flavour=form, images=hues(100, 3).as_float(), metadata={})
    engine = OnnxRuntimeEngine(path, threads=1)
    assert engine.metadata["edgexai.saliency"] == "gradient"
    given = hues(60, 5).as_float()
    logits, maps = engine.with_saliency(given)
    expected = vanilla_gradient(net, torch.from_numpy(given), torch.from_numpy(logits.argmax(1))).numpy()
    found = map_rank_correlation(maps, expected)
    assert 0.5 < found.min() < 1  # every image, and another file
    assert found.mean() >= rank
    assert topk_overlap(maps, expected, share=0.2).mean() >= shared
    wrong = map_rank_correlation(maps, np.roll(expected, 1, axis=0))
    assert wrong.mean() < found.mean() - 0.1  # of another image: the threshold tells them apart


@pytest.mark.parametrize("form", ["int8-tensorrt", "int8-x86"])
def test_in_int8_the_backward_pass_stays_in_float(
    form: str, learnt: tuple[Network, dict[str, Path]], tmp_path: Path
) -> None:
    path = tmp_path / "file.onnx"
    quantise(learnt[1]["gradient"], path, flavour=form, images=hues(64, 3).as_float(), metadata={})
    model = onnx.load(path)
    constants = {i.name: i.data_type for i in model.graph.initializer}
    producer = {name: node.op_type for node in model.graph.node for name in node.output}
    backward = [n for n in model.graph.node if n.name.startswith("saliency/")]
    layers = [n for n in backward if n.op_type in ("Conv", "ConvTranspose")]
    assert len(layers) == 8
    assert all(constants[n.input[1]] == TensorProto.FLOAT for n in layers)
    read = [producer.get(name, "") for n in backward for name in n.input]
    if form == "int8-tensorrt":
        assert "DequantizeLinear" not in read
    assert "QuantizeLinear" not in read


def test_the_file_says_which_map_it_gives(learnt: tuple[Network, dict[str, Path]]) -> None:
    said = {
        name: OnnxRuntimeEngine(path, threads=1).metadata.get("edgexai.saliency") for name, path in learnt[1].items()
    }
    assert said == {"cam": None, "gradient": "gradient"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg16", "lisa_cnn"])
def test_networks_without_a_pooled_head_have_it_too(name: str, exported: Callable[..., Any], tmp_path: Path) -> None:
    net, _ = exported(name, "none")
    export_onnx(net, tmp_path / "x.onnx", opset=20, saliency="gradient", metadata={})
    assert OnnxRuntimeEngine(tmp_path / "x.onnx", threads=1).outputs == ["logits", "saliency"]
