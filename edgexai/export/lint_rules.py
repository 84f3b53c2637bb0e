"""Rules of the linter that look beyond an operator's name: operator -> functions of a node.

Each answers None, or (what is wrong, what is allowed, what to do). Sources: see ``lint``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

Fault = tuple[str, str, str]


class View:
    """Types, ranks and constants of a graph."""

    def __init__(self, graph: GraphProto) -> None:
        self._constants = {i.name: i for i in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                self._constants[node.output[0]] = node.attribute[0].t
        values = [v for v in (*graph.input, *graph.output, *graph.value_info) if v.type.HasField("tensor_type")]
        self._kinds = {v.name: v.type.tensor_type.elem_type for v in values}
        self._kinds |= {name: constant.data_type for name, constant in self._constants.items()}
        self._ranks = {
            v.name: len(v.type.tensor_type.shape.dim) for v in values if v.type.tensor_type.HasField("shape")
        }

    def kind(self, name: str) -> int:
        """Element type; 0 where it is not known."""
        return int(self._kinds.get(name, 0))

    def rank(self, name: str) -> int | None:
        """Number of axes of a value that is computed; None where it is not known."""
        return self._ranks.get(name)

    def constant(self, name: str) -> NDArray[Any] | None:
        """The constant of that name, or None."""
        found = self._constants.get(name)
        if found is None or found.data_location == TensorProto.EXTERNAL:
            return None
        try:
            array: NDArray[Any] = numpy_helper.to_array(found)
        except (ValueError, TypeError, KeyError):
            return None  # damaged: as good as computed
        return array

    def is_constant(self, name: str) -> bool:
        """It is known when the file is read."""
        return name in self._constants


def type_name(kind: int) -> str:
    """``TensorProto.INT8`` -> "INT8"; a number that onnx does not know stays a number."""
    return TensorProto.DataType.Name(kind) if kind in TensorProto.DataType.values() else f"type {kind}"


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def _zero_point(node: NodeProto, view: View) -> Fault | None:
    symmetric = "int8, zero point 0"
    step = "quantise symmetrically, signed, with biases left in float (export flavour int8-tensorrt)"
    if node.op_type == "DequantizeLinear" and view.kind(node.input[0]) == TensorProto.INT32:
        return "dequantises int32, which is a quantised bias", symmetric, step
    if len(node.input) > 2 and node.input[2]:
        kind = view.kind(node.input[2])
        if kind != TensorProto.INT8:
            return f"rounds to {type_name(kind)}", symmetric, step
        values = view.constant(node.input[2])
        if values is None or values.any():
            return "has a zero point that is not 0", symmetric, step
    elif node.op_type == "QuantizeLinear" and _attribute(node, "output_dtype", 0) != TensorProto.INT8:
        return "rounds to UINT8", symmetric, step
    elif node.op_type == "DequantizeLinear" and view.kind(node.input[0]) not in (0, TensorProto.INT8):
        return "dequantises what is not int8", symmetric, step
    return None


def _scale(node: NodeProto, view: View) -> Fault | None:
    values = view.constant(node.input[1])
    if values is None:
        return "has a scale that is computed", "a constant scale", "calibrate before export"
    if not (np.isfinite(values).all() and (values > 0).all()):
        return "has a scale that is not positive", "finite scales above 0", "calibrate on images that reach every layer"
    return None


def _pool(node: NodeProto, view: View) -> Fault | None:
    if len(node.output) > 1 and node.output[1]:
        return "has a second output, Indices", "one output", "find the maximum again by comparing values"
    if any(d != 1 for d in _attribute(node, "dilations", [])):
        return "has dilated windows", "dilations of 1", "use a plain window"
    return _flat(node, view)


def _flat(node: NodeProto, view: View) -> Fault | None:
    rank = view.rank(node.input[0])
    if rank is not None and rank not in (4, 5):
        return f"works on {rank} axes", "4 or 5: two- and three-dimensional windows", "add an axis of length 1"
    return None


def _non_zero(_node: NodeProto, _view: View) -> Fault | None:
    return "gives as many values as the data decides", "shapes that follow from the input's", "use Where with a mask"


def _axes(node: NodeProto, view: View) -> Fault | None:
    if any(a.name == "axes" for a in node.attribute):
        return "has its axes as an attribute", "from opset 18 on an input", "convert the file to opset 18"
    if len(node.input) > 1 and node.input[1] and not view.is_constant(node.input[1]):
        return "has axes that are computed", "constant axes", "export with fixed axes"
    return None


def _resize(node: NodeProto, _view: View) -> Fault | None:
    mode = _attribute(node, "mode", b"nearest").decode()
    way = _attribute(node, "coordinate_transformation_mode", b"half_pixel").decode()
    ways = ("half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners")
    if mode not in ("nearest", "linear"):
        return f'mode "{mode}"', "nearest, linear", "use bilinear interpolation"
    if way not in ways:
        return f'coordinates "{way}"', ", ".join(ways), "use half_pixel"
    if _attribute(node, "antialias", 0):
        return "antialias", "no antialiasing", "switch it off"
    return None


def _constant_inputs(*places: int) -> Callable[[NodeProto, View], Fault | None]:
    def rule(node: NodeProto, view: View) -> Fault | None:
        for k in places:
            if len(node.input) > k and node.input[k] and not view.is_constant(node.input[k]):
                return f"input {k} is computed", "a constant", "export with fixed shapes but for the batch"
        return None

    return rule


def _top_k(node: NodeProto, _view: View) -> Fault | None:
    if not _attribute(node, "sorted", 1):
        return "sorted = 0", "sorted = 1", "ask for sorted values"
    return None


def _scatter(node: NodeProto, _view: View) -> Fault | None:
    how = _attribute(node, "reduction", b"none").decode()
    return None if how == "none" else (f'reduction "{how}"', "none", "add up with ReduceSum instead")


def _normalisation(node: NodeProto, _view: View) -> Fault | None:
    if any(node.output[1:]):
        return "has more than one output", "the first output alone", "export in eval mode"
    return None


_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")

RULES: dict[str, tuple[Callable[[NodeProto, View], Fault | None], ...]] = {
    "AveragePool": (_pool,),
    "BatchNormalization": (_normalisation,),
    "Conv": (_flat,),
    "ConvTranspose": (_flat,),
    "DequantizeLinear": (_zero_point, _scale),
    "LayerNormalization": (_normalisation,),
    "MaxPool": (_pool,),
    "NonZero": (_non_zero,),
    "QuantizeLinear": (_zero_point, _scale),
    "Resize": (_resize,),
    "ScatterND": (_scatter,),
    "Squeeze": (_constant_inputs(1),),
    "TopK": (_top_k,),
    "Unsqueeze": (_constant_inputs(1),),
    **{f"Reduce{name}": (_axes,) for name in _REDUCTIONS},
}
