"""Backward rules, one per operator: from the gradient of a node's output to that of its inputs, as ONNX operators.

Source: the chain rule; conventions where it leaves a choice are PyTorch's: relu'(0) = 0, and of equal maxima in one
pooling window the first in row-major order takes all. Ties are not rare: two positive activations are equal on about
2 % of images in float32, on more in fp16.

Only operators that TensorRT 10 and later parse are written: no MaxPool with Indices, no ScatterND, no OneHot.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import NodeProto

from edgexai.errors import UserError
from edgexai.export.tape import Gradient as Gradient
from edgexai.export.tape import Tape

Sent = list[tuple[str, Gradient]]
Rule = Callable[[Tape, NodeProto, Gradient, list[str]], Sent]
"""(tape, node, gradient of its output, inputs that depend on the images) -> (input, gradient) pairs."""


def _refused(node: NodeProto, why: str) -> UserError:
    return UserError(
        f'export.saliency = "gradient": node "{node.name}" ({node.op_type}) {why}',
        next_step='write saliency = "cam" or "none"',
    )


def _relu(tape: Tape, node: NodeProto, gradient: Gradient, inputs: list[str]) -> Sent:
    # Of the output, not the input: a runtime fuses the ReLU into what is before it, and its input then does not exist.
    alive = tape.add("Greater", [node.output[0], tape.constant(np.float32(0))])
    return [(inputs[0], Gradient(tape.add("Where", [alive, gradient.name, tape.constant(np.float32(0))])))]


def _clip(tape: Tape, node: NodeProto, gradient: Gradient, inputs: list[str]) -> Sent:
    inside = ""
    for op, name in zip(("Greater", "Less"), node.input[1:], strict=False):
        if name:
            half = tape.add(op, [node.output[0], name])
            inside = tape.add("And", [inside, half]) if inside else half
    if not inside:
        return [(inputs[0], gradient)]
    return [(inputs[0], Gradient(tape.add("Where", [inside, gradient.name, tape.constant(np.float32(0))])))]


def _convolution(tape: Tape, node: NodeProto, gradient: Gradient, inputs: list[str]) -> Sent:
    """Stride 1: a convolution with the flipped weights, faster than the transposed one; else the transposed one."""
    weight = tape.value_of(node.input[1])
    if weight is None or weight.ndim != 4 or tape.attribute(node, "auto_pad", b"NOTSET") != b"NOTSET":
        raise _refused(node, "must be two-dimensional, with constant weights and explicit pads")
    kernel, groups = weight.shape[2:], int(tape.attribute(node, "group", 1))
    strides, dilations = (list(tape.attribute(node, key, [1, 1])) for key in ("strides", "dilations"))
    pads = list(tape.attribute(node, "pads", [0, 0, 0, 0]))
    reach = [dilations[a] * (kernel[a] - 1) for a in (0, 1)]
    given = tape.full(gradient, like=node.output[0])
    mirrored = [reach[a % 2] - pads[a] for a in range(4)]
    shared: dict[str, Any] = {"group": groups, "dilations": dilations, "kernel_shape": list(kernel)}
    if strides == [1, 1] and min(mirrored) >= 0:
        outputs, each = weight.shape[:2]
        parts = weight.reshape(groups, outputs // groups, each, *kernel).swapaxes(1, 2)
        flipped = parts.reshape(groups * each, outputs // groups, *kernel)[:, :, ::-1, ::-1]
        back = tape.constant(np.ascontiguousarray(flipped))
        name = tape.add("Conv", [given, back], pads=mirrored, strides=[1, 1], **shared)
        return [(inputs[0], Gradient(name))]
    before, after = tape.dims(node.input[0])[2:], tape.dims(node.output[0])[2:]
    # rows at the far edge that no window reached
    left = [before[a] - (strides[a] * (after[a] - 1) + reach[a] + 1 - pads[a] - pads[a + 2]) for a in (0, 1)]
    back = tape.constant(weight)
    name = tape.add("ConvTranspose", [given, back], pads=pads, strides=strides, output_padding=left, **shared)
    return [(inputs[0], Gradient(name))]


def _windows(tape: Tape, node: NodeProto) -> tuple[int, int, int, int, int]:
    """Channels, rows and columns of windows, window height and width; refuses windows that overlap or are padded."""
    kernel = list(tape.attribute(node, "kernel_shape", []))
    plain = (
        len(kernel) == 2
        and list(tape.attribute(node, "strides", [1, 1])) == kernel
        and not any(tape.attribute(node, "pads", [0, 0, 0, 0]))
        and set(tape.attribute(node, "dilations", [1, 1])) == {1}
        and not tape.attribute(node, "ceil_mode", 0)
        and tape.attribute(node, "auto_pad", b"NOTSET") in (b"NOTSET", b"VALID")
    )
    if not plain or len(node.output) > 1:
        raise _refused(node, "has windows that overlap, are padded or dilated; only windows side by side have a rule")
    channels, height, width = tape.dims(node.input[0])[1:]
    return channels, height // kernel[0], width // kernel[1], kernel[0], kernel[1]


def _enlarged(tape: Tape, node: NodeProto, name: str, to: list[int]) -> str:
    """(N,C,h,kh,w,kw) -> (N,C,H,W); zeros where the forward pass left rows or columns over."""
    channels, rows, columns, height, width = _windows(tape, node)
    shape = [-1, channels, rows * height, columns * width]
    out = tape.add("Reshape", [name, tape.constant(np.array(shape))])
    over = [to[0] - shape[2], to[1] - shape[3]]
    if any(over):
        out = tape.add("Pad", [out, tape.constant(np.array([0, 0, 0, 0, 0, 0, *over]))])
    return out


def _max_pool(tape: Tape, node: NodeProto, gradient: Gradient, inputs: list[str]) -> Sent:
    channels, rows, columns, height, width = _windows(tape, node)
    size = tape.dims(inputs[0])[2:]
    values = inputs[0]
    if size != [rows * height, columns * width]:
        ends = tape.constant(np.array([rows * height, columns * width]))
        values = tape.add("Slice", [values, tape.constant(np.array([0, 0])), ends, tape.constant(np.array([2, 3]))])
    windows = tape.add("Reshape", [values, tape.constant(np.array([-1, channels, rows, height, columns, width]))])
    # The maximum is taken again from the very values it is compared with: in an int8 file the pooling may read others.
    axes = tape.constant(np.array([3, 5]))
    top = tape.add("ReduceMax", [windows, axes], keepdims=1)
    order = np.arange(height * width, 0, -1, dtype=np.float32).reshape(1, 1, 1, height, 1, width)
    zero = tape.constant(np.float32(0))
    ranked = tape.add("Where", [tape.add("Equal", [windows, top]), tape.constant(order), zero])
    first = tape.add("Equal", [ranked, tape.add("ReduceMax", [ranked, axes], keepdims=1)])
    sent = tape.full(gradient, like=node.output[0])
    sent = tape.add("Reshape", [sent, tape.constant(np.array([-1, channels, rows, 1, columns, 1]))])
    return [(inputs[0], Gradient(_enlarged(tape, node, tape.add("Where", [first, sent, zero]), size)))]


def _average_pool(tape: Tape, node: NodeProto, gradient: Gradient, inputs: list[str]) -> Sent:
    channels, rows, columns, height, width = _windows(tape, node)
    sent = tape.full(gradient, like=node.output[0])
    sent = tape.add("Reshape", [sent, tape.constant(np.array([-1, channels, rows, 1, columns, 1]))])
    share = np.full((1, 1, 1, height, 1, width), 1 / (height * width), np.float32)
    spread = tape.add("Mul", [sent, tape.constant(share)])
    return [(inputs[0], Gradient(_enlarged(tape, node, spread, tape.dims(inputs[0])[2:])))]


def _mean(tape: Tape, node: NodeProto, gradient: Gradient, inputs: list[str]) -> Sent:
    dims = tape.dims(inputs[0])
    axes = tape.value_of(node.input[1]) if len(node.input) > 1 else tape.attribute(node, "axes", None)
    if node.op_type == "GlobalAveragePool":
        axes = [2, 3]
    if len(dims) != 4 or axes is None or sorted(int(a) % 4 for a in axes) != [2, 3]:
        raise _refused(node, "must average over height and width of (N,C,H,W)")
    shared = tape.add("Mul", [gradient.name, tape.constant(np.float32(1 / (dims[2] * dims[3])))])
    name = tape.add("Reshape", [shared, tape.constant(np.array([-1, dims[1], 1, 1]))])
    return [(inputs[0], Gradient(name, spread=True))]


def _reshaped(tape: Tape, node: NodeProto, gradient: Gradient, inputs: list[str]) -> Sent:
    before, after = tape.dims(inputs[0]), tape.dims(node.output[0])
    if math.prod(before[1:]) != math.prod(after[1:]):
        raise _refused(node, "mixes images of a batch")
    given = tape.full(gradient, like=node.output[0])
    return [(inputs[0], Gradient(tape.add("Reshape", [given, tape.constant(np.array([-1, *before[1:]]))])))]


def _transposed(tape: Tape, node: NodeProto, gradient: Gradient, inputs: list[str]) -> Sent:
    order = list(tape.attribute(node, "perm", []))
    if not order or order[0] != 0:
        raise _refused(node, "moves the batch axis")
    given = tape.full(gradient, like=node.output[0])
    return [(inputs[0], Gradient(tape.add("Transpose", [given], perm=[order.index(k) for k in range(len(order))])))]


def _linear(tape: Tape, node: NodeProto, gradient: Gradient, inputs: list[str]) -> Sent:
    weight = tape.value_of(node.input[1])
    if weight is None or weight.ndim != 2 or inputs != [node.input[0]] or tape.attribute(node, "transA", 0):
        raise _refused(node, "must be images times a constant matrix")
    back = weight if tape.attribute(node, "transB", 0) else weight.T
    back = np.ascontiguousarray(np.float32(tape.attribute(node, "alpha", 1.0)) * back)
    return [(inputs[0], Gradient(tape.add("MatMul", [gradient.name, tape.constant(back)])))]


def _sum(tape: Tape, node: NodeProto, gradient: Gradient, inputs: list[str]) -> Sent:
    if any(tape.dims(name)[1:] != tape.dims(node.output[0])[1:] for name in inputs):
        raise _refused(node, "spreads a smaller value over a larger one")
    minus = node.op_type == "Sub" and node.input[1] in inputs
    sent = [(name, gradient) for name in node.input if name in inputs]
    if minus:
        sent[-1] = (node.input[1], Gradient(tape.add("Neg", [gradient.name]), gradient.spread))
    return sent


def _scaled(tape: Tape, node: NodeProto, gradient: Gradient, inputs: list[str]) -> Sent:
    other = next((name for name in node.input if name not in inputs), None)
    factor = None if other is None else tape.value_of(other)
    divided = node.op_type == "Div"
    if factor is None or (divided and inputs[0] != node.input[0]):
        raise _refused(node, "multiplies two values that both depend on the images")
    if tape.dims(inputs[0])[1:] != tape.dims(node.output[0])[1:]:
        raise _refused(node, "spreads a smaller value over a larger one")
    scale = tape.constant(np.float32(1) / factor if divided else factor)
    return [(inputs[0], Gradient(tape.add("Mul", [tape.full(gradient, like=node.output[0]), scale])))]


def _normalised(tape: Tape, node: NodeProto, gradient: Gradient, inputs: list[str]) -> Sent:
    scale, variance = (tape.value_of(node.input[k]) for k in (1, 4))
    if scale is None or variance is None or inputs != [node.input[0]] or len(tape.dims(inputs[0])) != 4:
        raise _refused(node, "must have constant statistics and read (N,C,H,W)")
    factor = scale / np.sqrt(variance + np.float32(tape.attribute(node, "epsilon", 1e-5)))
    name = tape.add("Mul", [gradient.name, tape.constant(factor.reshape(1, -1, 1, 1).astype(np.float32))])
    return [(inputs[0], Gradient(name, gradient.spread))]


def _concatenated(tape: Tape, node: NodeProto, gradient: Gradient, inputs: list[str]) -> Sent:
    if tape.attribute(node, "axis", 0) != 1:
        raise _refused(node, "must join channels")
    sent: Sent = []
    start, axes = 0, tape.constant(np.array([1]))
    for name in node.input:
        end = start + tape.dims(name)[1]
        if name in inputs:
            edges = [tape.constant(np.array([k])) for k in (start, end)]
            sent.append((name, Gradient(tape.add("Slice", [gradient.name, *edges, axes]), gradient.spread)))
        start = end
    return sent


def _passed(_tape: Tape, _node: NodeProto, gradient: Gradient, inputs: list[str]) -> Sent:
    return [(inputs[0], gradient)]


RULES: dict[str, Rule] = {
    "Add": _sum,
    "AveragePool": _average_pool,
    "BatchNormalization": _normalised,
    "Clip": _clip,
    "Concat": _concatenated,
    "Conv": _convolution,
    "Div": _scaled,
    "Dropout": _passed,
    "Flatten": _reshaped,
    "Gemm": _linear,
    "GlobalAveragePool": _mean,
    "Identity": _passed,
    "MatMul": _linear,
    "MaxPool": _max_pool,
    "Mul": _scaled,
    "ReduceMean": _mean,
    "Relu": _relu,
    "Reshape": _reshaped,
    "Squeeze": _reshaped,
    "Sub": _sum,
    "Transpose": _transposed,
    "Unsqueeze": _reshaped,
}
"""Operator -> rule. ``Where`` of a spread gradient gives the full shape, so a ReLU needs no Expand."""
