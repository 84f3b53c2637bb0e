"""Where an int8 file for the board rounds, and in which steps: what fake quantisation has to imitate.

Read off the file, so that placement and steps have one owner, ``int8.quantise``. Layers go by the name of their weight,
which is the parameter's name in the network that was exported.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import GraphProto, NodeProto, TensorProto, numpy_helper

from edgexai.errors import UserError
from edgexai.export.reach import needed_for

_WEIGHTED = ("Conv", "Gemm", "MatMul")
_SUFFIX = "_quantized"


def input_steps(path: Path) -> dict[str, float]:
    """Step of the rounded input of every int8 layer, in the order of the graph.

    Args:
        path: a file of ``int8.quantise`` with flavour "int8-tensorrt".

    Returns:
        Name of the layer's weight -> one level of its input, in the input's unit; layers in float are left out. The
        weight itself is rounded per output channel, to 127 levels each side of 0.

    Raises:
        UserError: a layer is rounded otherwise: another flavour, or a weight that is not a parameter of a layer.
    """
    graph = onnx.load(path).graph
    producer = {name: node for node in graph.node for name in node.output}
    constants = {i.name: i for i in graph.initializer}
    needed = needed_for(graph, "logits")
    steps: dict[str, float] = {}
    for node in graph.node:
        if node.name not in needed or node.op_type not in _WEIGHTED:
            continue
        given, weight = (producer.get(name) for name in node.input[:2])
        if not _restores(given) and not _restores(weight):
            continue
        name = _parameter(graph, node, weight)
        scale = None if given is None or not _restores(given) else constants.get(given.input[1])
        zero = None if given is None else constants.get(given.input[2])
        if name is None or scale is None or zero is None or not _signed_zero(zero) or name in steps:
            raise UserError(
                f"{path.name}: {node.op_type} {node.name} is not rounded as a layer of its own to signed int8 around 0",
                next_step="quantisation-aware training follows Conv2d and Linear modules that run once: set "
                "export.qat_epochs = 0",
            )
        steps[name] = float(numpy_helper.to_array(scale))
    return steps


def _signed_zero(zero: TensorProto) -> bool:
    return zero.data_type == TensorProto.INT8 and not numpy_helper.to_array(zero).any()


def _restores(node: NodeProto | None) -> bool:
    return node is not None and node.op_type == "DequantizeLinear"


def _parameter(graph: GraphProto, node: NodeProto, weight: NodeProto | None) -> str | None:
    """The parameter behind a rounded weight with one step per output channel; None where it is something else."""
    if weight is None or not _restores(weight) or not weight.input[0].endswith(_SUFFIX):
        return None
    constants = {i.name: i for i in graph.initializer}
    stored, scale = constants.get(weight.input[0]), constants.get(weight.input[1])
    axis = next((int(a.i) for a in weight.attribute if a.name == "axis"), 1)
    turned = any(a.name == "transB" and a.i for a in node.attribute)
    if stored is None or scale is None or (node.op_type != "Conv" and not turned):
        return None
    if axis != 0 or list(scale.dims) != list(stored.dims[:1]):
        return None
    return str(weight.input[0].removesuffix(_SUFFIX))
