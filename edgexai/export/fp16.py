"""fp16 written into the graph: casts inside, float32 inputs and outputs, for a strongly typed engine.

Half precision is what lies behind a convolution or hidden linear layer and is cheap to round: those layers, their
activations, sums, poolings, and the backward convolutions of a gradient output. In float32 stay the normalisation of
the input, the average before the classifier, the classifier, softmax-like operators, the CAM head, and Q/DQ with their
scales (scales in fp16 cost 7 % of decisions of a ResNet-18 in a trial). Regions are grown from the layers outwards:
a network gets one cast behind the normalisation and one before the average, and no more; a gradient output two more.

On x86 ONNX Runtime has no half-precision convolutions: it runs this file with weights and cast values rounded to fp16
and computes in float32 between. What a board computes in fp16 throughout is checked there, by golden vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

from edgexai.errors import UserError
from edgexai.export.calibrate import activation_ranges
from edgexai.export.onnx_graph import write_metadata
from edgexai.export.reach import needed_for
from edgexai.types import Images

_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_FOLLOW = (
    *("Relu", "LeakyRelu", "Clip", "Add", "Sub", "Mul", "Neg", "Max", "Min", "ReduceMax", "MaxPool", "AveragePool"),
    *("BatchNormalization", "Dropout", "Identity", "Concat", "Slice", "Pad", "Reshape", "Flatten", "Squeeze"),
    *("Unsqueeze", "Transpose", "Expand", "Shape", "Where", "Greater", "Less", "Equal"),
)
"""In half precision where what they read is."""
_LARGEST = float(np.finfo(np.float16).max)


def to_fp16(source: Path, target: Path, *, metadata: Mapping[str, str], images: Images | None = None) -> None:
    """Writes ``target``, the fp16 version of ``source``.

    Args:
        source: float32 or int8 (Q/DQ) file.
        metadata: added to that of ``source``.
        images: (N,3,H,W) in [0,1]; on these, no value to be held in fp16 may exceed half of what fp16 can hold.

    Raises:
        UserError: a weight or an activation that fp16 cannot hold, named.
    """
    model = onnx.load(source)
    half = half_nodes(model.graph)
    if not half:
        raise UserError(
            f'{source.name}: export.precision = "fp16" finds no convolution before the classifier to put in fp16',
            next_step='write export.precision = "fp32"',
        )
    if images is not None:
        _check_activations(model, half, images)
    onnx.save(_converted(model, half), target)
    write_metadata(target, metadata)


def half_nodes(graph: GraphProto) -> set[str]:
    """Names of the nodes that compute in half precision."""
    head = {n.name for n in graph.node} - needed_for(graph, "logits")
    half: set[str] = set()
    values: set[str] = set()
    for node in graph.node:
        written_here = node.name.startswith("saliency/")
        layer = node.op_type in _LAYERS and "logits" not in node.output
        if node.op_type == "MatMul" and written_here:
            layer = bool(values & set(node.input))  # the classifier's own backward step stays beside it in float32
        follows = node.op_type in _FOLLOW and bool(values & set(node.input))
        if (layer or follows) and (node.name not in head or written_here):
            half.add(node.name)
            values |= set(node.output)
    return half


def _check_activations(model: ModelProto, half: set[str], images: Images) -> None:
    """Computed in float32: on x86 the fp16 file itself would not overflow, and on the board it would."""
    graph = shape_inference.infer_shapes(model).graph
    floats = {v.name for v in graph.value_info if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    names = [name for node in graph.node if node.name in half for name in node.output if name in floats]
    for name, (_, high) in activation_ranges(model, names, images, method="max", symmetric=True).items():
        if not high <= _LARGEST / 2:
            raise UserError(
                f'export.precision = "fp16": "{name}" reaches {high:.3g} on training images, '
                f"fp16 ends at {_LARGEST:.0f}",
                next_step='write export.precision = "int8" or "fp32", or train with more weight_decay',
            )


def _converted(model: ModelProto, half: set[str]) -> ModelProto:
    graph = shape_inference.infer_shapes(model).graph
    kinds = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.output, *graph.value_info)}
    constants = {i.name: i for i in graph.initializer}
    kinds |= {name: constant.data_type for name, constant in constants.items()}
    outputs = {o.name for o in graph.output}
    is_half: set[str] = set()
    made: dict[tuple[str, int], str] = {}
    nodes: list[NodeProto] = []
    extra: list[TensorProto] = []

    def as_kind(name: str, kind: int) -> str:
        """The value in float32 or fp16; a cast or a rounded constant where it is not."""
        if (name, kind) in made:
            return made[name, kind]
        suffix = "fp16" if kind == TensorProto.FLOAT16 else "fp32"
        made[name, kind] = f"{name}_{suffix}"
        if name in constants:
            extra.append(numpy_helper.from_array(_rounded(constants[name]), made[name, kind]))
        else:
            cast = helper.make_node("Cast", [name], [made[name, kind]], name=f"{name}_to_{suffix}", to=kind)
            nodes.append(cast)
        return made[name, kind]

    for node in graph.node:
        new = NodeProto()
        new.CopyFrom(node)
        for k, name in enumerate(node.input):
            if node.name in half and name not in is_half and kinds.get(name) == TensorProto.FLOAT:
                new.input[k] = as_kind(name, TensorProto.FLOAT16)
            elif node.name not in half and name in is_half:
                new.input[k] = as_kind(name, TensorProto.FLOAT)
        nodes.append(new)
        if node.name not in half:
            continue
        for k, name in enumerate(node.output):
            if kinds.get(name) != TensorProto.FLOAT:
                continue
            if name in outputs:
                new.output[k] = f"{name}_half"
                nodes.append(helper.make_node("Cast", [new.output[k]], [name], name=f"{name}_to_fp32", to=1))
            else:
                is_half.add(name)
    out = ModelProto()
    out.CopyFrom(model)
    del out.graph.node[:], out.graph.initializer[:], out.graph.value_info[:]
    out.graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    out.graph.initializer.extend(i for i in (*graph.initializer, *extra) if i.name in used)
    return shape_inference.infer_shapes(out)


def _rounded(constant: TensorProto) -> NDArray[np.float16]:
    values = numpy_helper.to_array(constant)
    finite = values[np.isfinite(values)]
    if finite.size and float(np.abs(finite).max()) > _LARGEST:
        if float(np.abs(finite).max()) < float(np.finfo(np.float32).max):
            raise UserError(
                f'export.precision = "fp16": constant "{constant.name}" holds {float(np.abs(finite).max()):.3g}, '
                f"fp16 ends at {_LARGEST:.0f}",
                next_step='write export.precision = "int8" or "fp32", or train with more weight_decay',
            )
        values = np.clip(values, -_LARGEST, _LARGEST)  # "no limit" stays "no limit"
    rounded: NDArray[np.float16] = values.astype(np.float16)
    return rounded
