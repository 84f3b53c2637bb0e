"""fp16 files: what is rounded and what is not, how few casts, and that they decide and explain as the twin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper, shape_inference
from test_export_onnx import hues, images

from edgexai.engine.onnx_runtime import OnnxRuntimeEngine
from edgexai.engine.twin import Twin
from edgexai.errors import UserError
from edgexai.explain.cam import cam
from edgexai.export.fp16 import to_fp16
from edgexai.export.int8 import quantise
from edgexai.measure.drift import map_rank_correlation
from edgexai.models.base import Network

HALF, FULL = TensorProto.FLOAT16, TensorProto.FLOAT


def kinds_of(path: Path) -> tuple[Any, dict[str, int]]:
    graph = shape_inference.infer_shapes(onnx.load(path), strict_mode=True).graph
    kinds = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.output, *graph.value_info)}
    return graph, kinds | {i.name: i.data_type for i in graph.initializer}


@pytest.mark.parametrize(
    ("name", "saliency", "casts"),
    [
        pytest.param("signnet", "cam", 2, marks=pytest.mark.slow),
        pytest.param("signnet", "gradient", 4, marks=pytest.mark.slow),
        ("lisa_cnn", "none", 2),
        pytest.param("mobilenet_v2", "gradient", 4, marks=pytest.mark.slow),
        pytest.param("resnet18", "gradient", 4, marks=pytest.mark.slow),
        # two parts of its last concatenation are where the gradient enters the half graph
        pytest.param("densenet_small", "gradient", 5, marks=pytest.mark.slow),
    ],
)
def test_layers_are_half_and_the_ends_are_not(
    name: str, saliency: str, casts: int, exported: Callable[..., tuple[Network, Path]], tmp_path: Path
) -> None:
    net, source = exported(name, saliency)
    before = source.read_bytes()
    path = tmp_path / "fp16.onnx"
    to_fp16(source, path, metadata={"edgexai.artefact": "fp16"})
    assert source.read_bytes() == before
    graph, kinds = kinds_of(path)
    assert sum(n.op_type == "Cast" for n in graph.node) == casts
    assert {kinds[v.name] for v in (*graph.input, *graph.output)} == {FULL}
    for node in graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            assert {kinds[i] for i in node.input} == {HALF}, node.name
        if "logits" in node.output or node.op_type in ("ReduceMean", "Resize", "ReduceSum", "Gather"):
            assert HALF not in {kinds[i] for i in (*node.input, *node.output) if i}, node.name
    assert kinds[next(n for n in graph.node if n.op_type == "Sub").input[1]] == FULL  # the input's normalisation
    assert 0.45 < path.stat().st_size / source.stat().st_size < 0.75
    given = images(10)
    expected, got = Twin(net)(given), OnnxRuntimeEngine(path, threads=1)(given)
    assert 0 < np.abs(expected - got).max() < 2e-3 * np.abs(expected).max()


def test_it_decides_and_explains_as_its_twin(learnt: tuple[Network, dict[str, Path]], tmp_path: Path) -> None:
    net, files = learnt
    path = tmp_path / "fp16.onnx"
    to_fp16(files["cam"], path, metadata={"edgexai.artefact": "fp16"})
    engine = OnnxRuntimeEngine(path, threads=1)
    assert engine.metadata["edgexai.artefact"] == "fp16"
    given = hues(100, 5).as_float()
    logits, maps = engine.with_saliency(given)
    assert (logits.argmax(1) == Twin(net)(given).argmax(1)).all()
    expected = cam(net.eval(), torch.from_numpy(given), torch.from_numpy(logits.argmax(1))).numpy()
    assert np.nanmean(map_rank_correlation(maps, expected)) > 0.999


def test_scales_of_an_int8_file_stay_in_float(learnt: tuple[Network, dict[str, Path]], tmp_path: Path) -> None:
    int8, both = tmp_path / "int8.onnx", tmp_path / "both.onnx"
    quantise(learnt[1]["cam"], int8, flavour="int8-tensorrt", images=hues(64, 3).as_float(), metadata={})
    to_fp16(int8, both, metadata={})
    graph, kinds = kinds_of(both)
    rounding = [n for n in graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(rounding) > 15
    assert {kinds[n.input[1]] for n in rounding} == {FULL}
    assert {kinds[i] for n in graph.node if n.op_type == "Conv" for i in n.input} == {HALF}
    given = hues(100, 5).as_float()
    one, other = (OnnxRuntimeEngine(p, threads=1)(given) for p in (int8, both))
    assert (one.argmax(1) == other.argmax(1)).mean() >= 0.99


def test_an_activation_that_fp16_cannot_hold_is_named(learnt: tuple[Network, dict[str, Path]], tmp_path: Path) -> None:
    """One layer 1e5 times larger, the next as much smaller: the same function in float32, an overflow in fp16."""
    model, given = onnx.load(learnt[1]["cam"]), hues(20, 3).as_float()
    layers = [n for n in model.graph.node if n.op_type == "Conv"]
    for name, factor in ((layers[1].input[1], 1e5), (layers[1].input[2], 1e5), (layers[2].input[1], 1e-5)):
        constant = next(i for i in model.graph.initializer if i.name == name)
        values = numpy_helper.to_array(constant) * np.float32(factor)
        constant.CopyFrom(numpy_helper.from_array(values, name))
    path = tmp_path / "large.onnx"
    onnx.save(model, path)
    with pytest.raises(UserError, match=rf'"{layers[1].output[0]}" reaches .* fp16 ends at 65504') as caught:
        to_fp16(path, tmp_path / "x.onnx", metadata={}, images=given)
    assert "training images" in str(caught.value)
    to_fp16(learnt[1]["cam"], tmp_path / "fine.onnx", metadata={}, images=given)


def test_a_weight_that_fp16_cannot_hold_is_named(exported: Callable[..., tuple[Network, Path]], tmp_path: Path) -> None:
    model = onnx.load(exported("lisa_cnn", "none")[1])
    name = next(n.input[1] for n in model.graph.node if n.op_type == "Conv")
    weight = next(i for i in model.graph.initializer if i.name == name)
    values = numpy_helper.to_array(weight).copy()
    values[0, 0, 0, 0] = 7e4
    weight.CopyFrom(numpy_helper.from_array(values, name))
    onnx.save(model, tmp_path / "large.onnx")
    with pytest.raises(UserError, match=f'"{name}" holds 7e\\+04'):
        to_fp16(tmp_path / "large.onnx", tmp_path / "x.onnx", metadata={})
    assert not (tmp_path / "x.onnx").exists()
