"""int8 as explicit Q/DQ in the graph, in two flavours of one calibration.

- ``int8-tensorrt``: symmetric, signed activations, zero point 0, per-channel weights, no bias quantisation. Q/DQ stand
  before convolutions and hidden linear layers only, so that each of those takes its ReLU, or residual sum and ReLU,
  along in one kernel, and nothing is rounded between them. It is the file that goes to the board.
- ``int8-x86``: unsigned activations, per-channel weights; ReLU disappears into the zero point. Convolutions that see
  few channels (the first one, on RGB) stay in float: ONNX Runtime's int8 kernel is slower than its float kernel there.

In both, the pooling, the classifier that gives the logits and the saliency head stay in float: they cost next to
nothing, and rounding the pooled features is what flips most decisions. The backward pass of a gradient output stays in
float too, and reads activations before they are rounded. Reads training images only.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from edgexai.errors import UserError
from edgexai.export.calibrate import METHODS, activation_ranges
from edgexai.export.onnx_graph import write_metadata
from edgexai.export.reach import needed_for
from edgexai.types import Images

_BOARD_OPS = ["Conv", "Gemm", "MatMul"]
_X86_OPS = [*_BOARD_OPS, "Relu", "Add", "MaxPool"]
_FEW_CHANNELS = 8
_BATCH = 64


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Feeds batches of calibration images once."""

    def __init__(self, images: Images, batch: int = _BATCH) -> None:
        self.batches = iter([images[k : k + batch] for k in range(0, len(images), batch)])

    def get_next(self) -> dict[str, Images] | None:
        batch = next(self.batches, None)
        return None if batch is None else {"images": batch}


def quantise(
    source: Path, target: Path, *, flavour: str, images: Images, metadata: Mapping[str, str], calibration: str = "max"
) -> None:
    """Writes ``target``, the int8 version of the fp32 file ``source``.

    Args:
        flavour: "int8-tensorrt" or "int8-x86".
        images: (N,3,H,W) in [0,1], calibration images from the training split.
        calibration: how ranges follow from what is seen, see ``calibrate``.
    """
    if calibration not in METHODS:
        raise UserError(f'unknown calibration "{calibration}"; allowed: {", ".join(METHODS)}')
    if flavour not in ("int8-tensorrt", "int8-x86"):
        raise UserError(f'unknown int8 flavour "{flavour}"; allowed: int8-tensorrt, int8-x86')
    board = flavour == "int8-tensorrt"
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # the quantiser advises a pre-processing that was done at export
    try:
        _quantise(source, target, images, board=board, calibration=calibration)
    finally:
        root.setLevel(level)
    write_metadata(target, metadata)


def _quantise(source: Path, target: Path, images: Images, *, board: bool, calibration: str) -> None:
    model = onnx.load(source)
    in_float = _after_the_features(model.graph)
    if not board:
        narrow = _narrow_convolutions(model.graph)
        in_float |= narrow | _keep_pooling_in_float(model.graph, narrow)
    options: dict[str, Any] = {
        "ActivationSymmetric": board,
        "WeightSymmetric": True,
        "QuantizeBias": not board,
    }
    if board:
        options["OpTypesToExcludeOutputQuantization"] = _BOARD_OPS
    if calibration != "max":
        names = _rounded_values(model.graph, in_float, board=board)
        ranges = activation_ranges(model, names, images, method=calibration, symmetric=board)
        options["TensorQuantOverrides"] = {
            name: [{"rmin": np.float32(low), "rmax": np.float32(high)}] for name, (low, high) in ranges.items()
        }
        images = images[:_BATCH]  # the quantiser insists on looking; what it sees is overridden
    given = {node.name: list(node.input) for node in model.graph.node if node.name.startswith("saliency/")}
    quantize_static(
        model,
        str(target),
        _Reader(images),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=_BOARD_OPS if board else _X86_OPS,
        nodes_to_exclude=sorted(in_float),
        per_channel=True,
        activation_type=QuantType.QInt8 if board else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        extra_options=options,
    )
    if given:
        _restore_inputs(target, given)


def _after_the_features(graph: GraphProto) -> set[str]:
    """Names of the nodes that stay in float: the one that gives the logits, and all that only saliency needs."""
    needed = needed_for(graph, "logits")
    last = next(node for node in graph.node if "logits" in node.output)
    return {node.name for node in graph.node if node.name not in needed} | {last.name}


def _rounded_values(graph: GraphProto, in_float: set[str], *, board: bool) -> list[str]:
    """Activations that get a range of their own."""
    without = {i.name for i in graph.initializer}
    names: list[str] = []
    for node in graph.node:
        if node.op_type == "MaxPool" and not board:
            without |= set(node.output)  # takes over the range of its input
        if node.op_type in (_BOARD_OPS if board else _X86_OPS) and node.name not in in_float:
            names += node.input[:1] if node.op_type in _BOARD_OPS else node.input
            names += [] if board else node.output
    return [name for name in dict.fromkeys(names) if name and name not in without]


def _restore_inputs(path: Path, given: Mapping[str, list[str]]) -> None:
    """Lets the backward pass read what it read in the fp32 file, where the quantiser put rounded values instead.

    A ReLU that went into a zero point is gone; its rounded values are then read, which are positive in the same places.
    """
    model = onnx.load(path)
    there = {name for node in model.graph.node for name in node.output} | {i.name for i in model.graph.initializer}
    for node in model.graph.node:
        for k, name in enumerate(given.get(node.name, [])):
            if name in there or name == "images":
                node.input[k] = name
    onnx.save(model, path)


def _narrow_convolutions(graph: GraphProto) -> set[str]:
    """Convolutions of few input channels, with the ReLU and pooling that directly follow each of them."""
    weights = {i.name: i.dims for i in graph.initializer}
    users: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    out: set[str] = set()
    # a depthwise convolution has one channel a group and sees them all; in int8 it is faster than in float
    stack = [n for n in graph.node if n.op_type == "Conv" and weights[n.input[1]][1] * _groups(n) < _FEW_CHANNELS]
    while stack:
        node = stack.pop()
        out.add(node.name)
        stack.extend(n for n in users.get(node.output[0], []) if n.op_type in ("Relu", "MaxPool"))
    return out


def _groups(convolution: NodeProto) -> int:
    return next((int(a.i) for a in convolution.attribute if a.name == "group"), 1)


def _keep_pooling_in_float(graph: GraphProto, names: set[str]) -> set[str]:
    """Puts a step that changes no value behind each MaxPool of ``names``, and returns the names of those steps.

    ONNX Runtime pulls a QuantizeLinear through a MaxPool in front of it, and its MaxPool on uint8 in NCHW layout takes
    more time than all convolutions of a small network. It does not look behind a Max.
    """
    added: set[str] = set()
    for position in reversed([k for k, n in enumerate(graph.node) if n.op_type == "MaxPool" and n.name in names]):
        pool = graph.node[position]
        given, kept, low = pool.output[0], f"{pool.output[0]}_kept", f"{pool.output[0]}_lowest"
        for node in graph.node:
            for k, name in enumerate(node.input):
                if name == given:
                    node.input[k] = kept
        graph.initializer.append(numpy_helper.from_array(np.array(np.finfo(np.float32).min), low))
        step = helper.make_node("Max", [given, low], [kept], name=f"{pool.name}_kept")
        graph.node.insert(position + 1, step)
        added.add(step.name)
    return added
