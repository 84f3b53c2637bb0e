"""Ways in which a deployed engine can be the wrong one, made on purpose: what golden vectors must catch."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import ModelProto, NodeProto, numpy_helper

from edgexai.errors import UserError
from edgexai.export.reach import needed_for
from edgexai.types import Logits

_LAYERS = ("Conv", "Gemm", "MatMul")


def layers(model: ModelProto) -> list[str]:
    """Names of the layers with weights that the logits come from, in the file's order."""
    needed = needed_for(model.graph, "logits")
    return [n.name for n in model.graph.node if n.op_type in _LAYERS and n.name in needed and _weight(model, n)]


def scaled_layer(source: Path, target: Path, layer: str, *, factor: float) -> None:
    """``source`` with the weights of one layer times ``factor``: in an int8 file, with their scales off.

    Raises:
        UserError: no such layer.
    """
    model = onnx.load(source)
    node = next((n for n in model.graph.node if n.name == layer), None)
    name = "" if node is None else _weight(model, node)
    if not name:
        raise UserError(f"{source.name}: no layer {layer} with weights of its own")
    for held in model.graph.initializer:
        if held.name == name:
            values = numpy_helper.to_array(held)
            held.CopyFrom(numpy_helper.from_array((values * factor).astype(values.dtype), name))
    onnx.save(model, target)


def exchanged(values: Logits, a: int, b: int) -> Logits:
    """(n,K) logits as a network gives them whose classes ``a`` and ``b`` were exchanged."""
    out: Logits = values.copy()
    out[:, [a, b]] = values[:, [b, a]]
    return out


def _weight(model: ModelProto, node: NodeProto) -> str:
    """The initialiser that scales a layer's weights: they themselves, or their DequantizeLinear's scale; "" = none."""
    held = {i.name for i in model.graph.initializer}
    producer = {output: n for n in model.graph.node for output in n.output}
    if node.op_type not in _LAYERS:
        return ""
    name = str(node.input[1])
    while name not in held:
        above = producer.get(name)
        if above is None or above.op_type not in ("DequantizeLinear", "Transpose", "Cast", "Identity"):
            return ""
        name = str(above.input[1] if above.op_type == "DequantizeLinear" else above.input[0])
    return name
