"""Ranges: by closed form, against a naive search over the values themselves, and as they arrive in the file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_export_onnx import hues

from edgexai.engine.onnx_runtime import OnnxRuntimeEngine
from edgexai.engine.twin import Twin
from edgexai.errors import UserError
from edgexai.export.calibrate import METHODS, activation_ranges, clipped_range
from edgexai.export.choose import Score, choose_calibration
from edgexai.export.int8 import quantise
from edgexai.models.base import Network


def histogram(values: Any, low: float, high: float) -> Any:
    return np.histogram(values, 2048, (low, high))[0]


def naive_error(values: Any, limit: float) -> float:
    step = limit / 127
    return float(((values - np.clip(np.round(values / step), -127, 127) * step) ** 2).mean())


def test_mse_finds_what_a_search_over_the_values_finds() -> None:
    values = np.random.default_rng(0).laplace(size=200_000)
    top = float(np.abs(values).max())
    limits = np.linspace(0.3, 1, 71) * top
    best = limits[np.argmin([naive_error(values, limit) for limit in limits])]
    low, high = clipped_range(histogram(values, -top, top), (-top, top), method="mse", symmetric=True)
    assert low == -high
    assert best < 0.9 * top  # clipping pays
    assert naive_error(values, high) <= 1.02 * naive_error(values, best)
    assert abs(high - best) <= 0.05 * top


def test_percentile_leaves_out_one_in_ten_thousand() -> None:
    values = np.random.default_rng(0).random(1_000_000)
    low, high = clipped_range(histogram(values, 0, 1), (0.0, 1.0), method="percentile", symmetric=False)
    assert low == 0
    assert high == pytest.approx(1, abs=1e-3)
    values[0] = 10.0
    assert clipped_range(histogram(values, 0, 10), (0.0, 10.0), method="percentile", symmetric=False)[1] < 1.02
    both = np.concatenate([values[1:], -3 * values[1:]])
    low, high = clipped_range(histogram(both, -3, 3), (-3.0, 3.0), method="percentile", symmetric=True)
    assert (low, high) == (pytest.approx(-3, abs=2e-3), pytest.approx(3, abs=2e-3))


@pytest.mark.parametrize("method", ["percentile", "entropy", "mse"])
def test_a_lone_outlier_is_clipped_and_even_values_are_not(method: str) -> None:
    even = np.random.default_rng(0).random(500_000)
    assert clipped_range(histogram(even, 0, 1), (0.0, 1.0), method=method, symmetric=False)[1] > 0.97
    lone = np.abs(np.random.default_rng(0).normal(size=500_000))
    lone[0] = 9.0
    assert clipped_range(histogram(lone, 0, 9), (0.0, 9.0), method=method, symmetric=False)[1] < 6


@pytest.mark.parametrize("method", METHODS)
def test_nothing_seen_and_one_value_seen(method: str) -> None:
    assert clipped_range(np.zeros(2048, np.int64), (0.0, 0.0), method=method, symmetric=False) == (0, 0)
    once = histogram(np.array([2.0]), 0, 2)
    low, high = clipped_range(once, (0.0, 2.0), method=method, symmetric=False)
    assert low == 0
    assert 0 < high <= 2.001


def test_max_is_what_numpy_sees_over_all_batches() -> None:
    node = helper.make_node("Sub", ["images", "c"], ["logits"], name="n")
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b", 3, 4, 4]) for n in ("images", "logits")]
    constant = numpy_helper.from_array(np.float32(0.25), "c")
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [constant])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    given = np.random.default_rng(1).random((150, 3, 4, 4), dtype=np.float32)
    names = ["images", "logits"]
    plain = activation_ranges(model, names, given, method="max", symmetric=False)
    assert plain["logits"] == pytest.approx((given.min() - 0.25, given.max() - 0.25))
    assert plain["images"] == pytest.approx((0, given.max()))  # a range holds 0
    even = activation_ranges(model, names, given, method="max", symmetric=True)
    assert even["logits"] == pytest.approx((0.25 - given.max(), given.max() - 0.25))
    assert [o.name for o in model.graph.output] == ["logits"]


@pytest.mark.parametrize("method", ["entropy", "mse", "percentile"])
def test_the_zeros_of_a_relu_do_not_clip_what_is_above_them(method: str) -> None:
    node = helper.make_node("Relu", ["images"], ["logits"], name="n")
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b", 3, 4, 4]) for n in ("images", "logits")]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    given = np.random.default_rng(1).uniform(-1, 1, (2000, 3, 4, 4)).astype(np.float32)
    for symmetric in (True, False):
        low, high = activation_ranges(model, ["logits"], given, method=method, symmetric=symmetric)["logits"]
        assert low == (-high if symmetric else 0)
        assert 0.97 < high <= 1


@pytest.mark.parametrize("flavour", ["int8-tensorrt", "int8-x86"])
@pytest.mark.parametrize("method", METHODS)
def test_the_ranges_arrive_in_the_file(
    flavour: str, method: str, learnt: tuple[Network, dict[str, Path]], tmp_path: Path
) -> None:
    net, files = learnt
    path, given = tmp_path / "x.onnx", hues(100, 3).as_float()
    quantise(files["cam"], path, flavour=flavour, images=given, metadata={}, calibration=method)
    graph = onnx.load(path).graph
    constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    scales = {n.input[0]: constants[n.input[1]] for n in graph.node if n.op_type == "QuantizeLinear"}
    board = flavour == "int8-tensorrt"
    source = onnx.load(files["cam"])
    names = [name for name in scales if any(name in n.output for n in source.graph.node)]
    assert len(names) >= 7
    ranges = activation_ranges(source, names, given, method=method, symmetric=board)
    for name, (low, high) in ranges.items():
        assert scales[name] == pytest.approx((high - low) / (254 if board else 255), rel=1e-4), name
    test = hues(100, 5).as_float()
    same = OnnxRuntimeEngine(path, threads=1)(test).argmax(1) == Twin(net)(test).argmax(1)
    assert same.mean() >= 0.95


def test_plain_max_is_the_default_to_the_byte(learnt: tuple[Network, dict[str, Path]], tmp_path: Path) -> None:
    given = hues(40, 3).as_float()
    paths = [tmp_path / "default.onnx", tmp_path / "max.onnx"]
    quantise(learnt[1]["cam"], paths[0], flavour="int8-tensorrt", images=given, metadata={})
    quantise(learnt[1]["cam"], paths[1], flavour="int8-tensorrt", images=given, metadata={}, calibration="max")
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_unknown_method(learnt: tuple[Network, dict[str, Path]], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="max, percentile, entropy, mse"):
        quantise(
            learnt[1]["cam"],
            tmp_path / "x.onnx",
            flavour="int8-x86",
            images=hues(4, 3).as_float(),
            metadata={},
            calibration="kl",
        )


def test_decisions_choose_first_then_maps_then_the_order() -> None:
    asked: list[str] = []

    def judge(scores: dict[str, Score]) -> str:
        def score(method: str) -> Score:
            asked.append(method)
            return scores[method]

        chosen, kept = choose_calibration(score, methods=tuple(scores))
        assert kept == scores
        return chosen

    assert judge({"max": Score(0.98, 0.99), "mse": Score(0.99, 0.5)}) == "mse"
    assert judge({"max": Score(0.99, 0.90), "mse": Score(0.99, 0.91), "entropy": Score(0.98, 1.0)}) == "mse"
    assert judge({"max": Score(0.99), "mse": Score(0.99)}) == "max"
    assert judge({"max": Score(0.99, math.nan), "mse": Score(0.99, 0.1)}) == "mse"
    assert asked == ["max", "mse"] + ["max", "mse", "entropy"] + ["max", "mse"] * 2
