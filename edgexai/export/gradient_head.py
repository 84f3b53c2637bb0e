"""Gradient of the winning logit as a second output of the graph: saliency[n,y,x] = sum_c |d logit / d images[n,c,y,x]|.

Source: Simonyan et al., 2014 (arXiv 1312.6034), in the convention of ``explain.gradient`` (absolute value of the
derivative of the logit, *sum* over channels). The backward pass is written behind the forward pass as plain operators,
after batch norm was folded, by the rules of ``gradient_rules``; no autograd, no training runtime, no new domain. The
winner is the argmax of the file's own logits, so class and map never disagree.

Conventions: every node and constant added here has a name that begins with "saliency/"; the weights of the backward
pass are copies, so that quantising the forward pass leaves the backward pass in float. Batch stays dynamic.
"""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from edgexai.errors import UserError
from edgexai.export.gradient_rules import RULES, Gradient
from edgexai.export.tape import Tape

_SCALE = 256.0
"""A power of two; an fp16 file overflows where one derivative exceeds 65504 / 256 logits per unit of an activation."""


def add_gradient(model: ModelProto) -> ModelProto:
    """A copy of ``model`` with the output "saliency" float32 (batch,H,W) behind its "logits".

    Args:
        model: fp32 graph, input "images" (batch,3,H,W), output "logits" (batch,K); not modified.

    Raises:
        UserError: an operator between images and logits has no rule; names the node.
    """
    out = ModelProto()
    out.CopyFrom(model)
    tape = Tape(out)
    nodes = list(model.graph.node)
    moved = _depends_on("images", nodes)
    gradients: dict[str, list[Gradient]] = {}
    skipped = _seed(tape, nodes, gradients)
    for node in reversed(nodes):
        if node.output[0] not in gradients or node is skipped:
            continue
        inputs = [name for name in node.input if name in moved]
        if not inputs:
            continue
        rule = RULES.get(node.op_type)
        if rule is None or node.domain not in ("", "ai.onnx"):
            raise UserError(
                f'export.saliency = "gradient": node "{node.name}" is a {node.op_type}, which has no backward rule',
                problems=(f"allowed: {', '.join(sorted(RULES))}",),
                next_step='write saliency = "cam" or "none", or build the network from the operators allowed',
            )
        for name, gradient in rule(tape, node, tape.total(gradients.pop(node.output[0])), inputs):
            gradients.setdefault(name, []).append(gradient)
    if "images" not in gradients:
        raise UserError('export.saliency = "gradient": the logits do not depend on the images')
    total = tape.full(tape.total(gradients["images"]), like="images")
    size = tape.add("Abs", [total])
    summed = tape.add("ReduceSum", [size, tape.constant(np.array([1]))], keepdims=0)
    tape.add("Mul", [summed, tape.constant(np.float32(1 / _SCALE))], output="saliency")
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_param or "batch"
    height, width = tape.dims("images")[2:]
    out.graph.output.append(helper.make_tensor_value_info("saliency", TensorProto.FLOAT, [batch, height, width]))
    return out


def _depends_on(source: str, nodes: list[NodeProto]) -> set[str]:
    """Names of all values that follow from ``source``."""
    names = {source}
    for node in nodes:
        if names & set(node.input):
            names |= set(node.output)
    return names


def _seed(tape: Tape, nodes: list[NodeProto], gradients: dict[str, list[Gradient]]) -> NodeProto | None:
    """Starts at the winning logit; the node that is thereby done, if any.

    Behind a linear layer the gradient is that class's row of weights: one Gather in place of one-hot and MatMul.
    """
    winner = tape.add("ArgMax", ["logits"], axis=1, keepdims=0)
    last = next(node for node in nodes if "logits" in node.output)
    if last.op_type == "Gemm" and not tape.attribute(last, "transA", 0):
        weight = tape.value_of(last.input[1])
        if weight is not None:
            rows = weight if tape.attribute(last, "transB", 0) else weight.T
            rows = np.float32(_SCALE * tape.attribute(last, "alpha", 1.0)) * rows
            name = tape.add("Gather", [tape.constant(np.ascontiguousarray(rows)), winner], axis=0)
            gradients[last.input[0]] = [Gradient(name)]
            return last
    classes = tape.dims("logits")[1]
    column = tape.add("Unsqueeze", [winner, tape.constant(np.array([1]))])
    one_hot = tape.add("Equal", [column, tape.constant(np.arange(classes)[None])])
    scales = [tape.constant(np.float32(_SCALE)), tape.constant(np.float32(0))]
    gradients["logits"] = [Gradient(tape.add("Where", [one_hot, *scales]))]
    return None
