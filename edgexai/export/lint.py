"""Whether every TensorRT from 10.3 to 11.4 takes a file, node by node, before it leaves for the board.

Operators and their types: ``operators``. The other rules are what the parser refuses, or worse takes and computes
otherwise: seen in NVIDIA's parser (TensorRT-RTX 1.7.1, which needs no GPU) or stated in the tables' restrictions. The
parser reads an operator's name and not its domain, so domains are looked at here. A pass here is no proof: only the
board's own parser decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, shape_inference

from edgexai.errors import UserError
from edgexai.export.lint_rules import RULES, View, type_name
from edgexai.export.operators import REFUSED, TAKEN, VERSIONS

_OPSETS = range(18, 21)
_LAST_IR = 10
_LEAST_INPUTS = {"DequantizeLinear": 2, "QuantizeLinear": 2}


@dataclass(frozen=True)
class Finding:
    """One reason to refuse a file.

    Attributes:
        node: its name, or "model" where the file as a whole is at fault.
        op: its operator.
        what: what is wrong.
        allowed: what would be taken.
        next_step: what to do.
    """

    node: str
    op: str
    what: str
    allowed: str
    next_step: str

    def __str__(self) -> str:
        where = "model" if self.node == "model" else f'node "{self.node}" ({self.op})'
        return f"{where}: {self.what}; allowed: {self.allowed}; {self.next_step}"


def lint(model: ModelProto, *, versions: Sequence[str] = VERSIONS, strict: bool = False) -> list[Finding]:
    """What TensorRT would refuse, in the order of the nodes.

    Args:
        model: not modified.
        versions: of ``operators.VERSIONS``; a file is to fit all of them.
        strict: also name operators whose support is not confirmed.

    Raises:
        UserError: an unknown version, or a graph that contradicts itself.
    """
    if stray := [version for version in versions if version not in VERSIONS]:
        raise UserError(f"TensorRT {stray[0]}: no table; allowed: {', '.join(VERSIONS)}")
    try:
        graph = shape_inference.infer_shapes(model).graph
    except (shape_inference.InferenceError, ValueError, TypeError, RuntimeError) as error:
        raise UserError("the graph contradicts itself", problems=tuple(str(error).splitlines()[:1])) from error
    return [*_of_the_file(model), *_of_the_graph(graph, versions, strict=strict)]


def refuse_unfit(path: Path, *, versions: Sequence[str] = VERSIONS, strict: bool = False) -> None:
    """Nothing where ``path`` can go to the board.

    Raises:
        UserError: not an ONNX file, or one line for each node at fault.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's own error types differ between its implementations
        raise UserError(f"{path}: not an ONNX file", problems=tuple(str(error).splitlines()[:1])) from error
    found = lint(model, versions=versions, strict=strict)
    if found:
        raise UserError(
            f"{path.name}: TensorRT {', '.join(versions)} would not take it",
            problems=tuple(str(one) for one in found),
            next_step="change the network or its export where the lines say; edgexai exports nothing that fails here",
        )


def _of_the_file(model: ModelProto) -> Iterator[Finding]:
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset not in _OPSETS:
        yield Finding(
            "model", "", f"opset {opset}", f"{_OPSETS[0]} to {_OPSETS[-1]}", "set export.opset, or export again"
        )
    if model.ir_version > _LAST_IR:
        yield Finding(
            "model", "", f"IR version {model.ir_version}", f"at most {_LAST_IR}", "save it with an older onnx"
        )
    for constant in model.graph.initializer:
        if constant.data_location == TensorProto.EXTERNAL:
            yield Finding(
                "model", "", f'"{constant.name}" lies outside the file', "one file", "save it without external data"
            )


def _of_the_graph(graph: GraphProto, versions: Sequence[str], *, strict: bool) -> Iterator[Finding]:
    view = View(graph)
    for position, node in enumerate(graph.node):
        name = node.name or f"number {position}"
        for what, allowed, next_step in _of_the_node(node, view, versions, strict=strict):
            yield Finding(name, node.op_type, what, allowed, next_step)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _of_the_graph(attribute.g, versions, strict=strict)


def _of_the_node(
    node: NodeProto, view: View, versions: Sequence[str], *, strict: bool
) -> Iterator[tuple[str, str, str]]:
    if node.domain not in ("", "ai.onnx"):
        yield f'domain "{node.domain}"', "ONNX's own operators", "export it with standard operators"
        return
    for version in versions:
        if node.op_type in REFUSED[version]:
            step = "write int8 as Q/DQ" if _holds_integers(node) else "build it from operators that are taken"
            yield f"TensorRT {version} does not take {node.op_type}", "the operators of its table", step
            return
        if node.op_type not in TAKEN[version]:
            if strict:
                yield f"TensorRT {version}: support not confirmed", "the operators of its table", "try its parser"
            return
        kind = view.kind(_data_input(node))
        if kind and type_name(kind) not in TAKEN[version][node.op_type]:
            if node.op_type == "DequantizeLinear":
                break  # its own rule says more
            yield f"reads {type_name(kind)}", " ".join(sorted(TAKEN[version][node.op_type])), "cast it"
            return
    if node.op_type in RULES and len(node.input) < _LEAST_INPUTS.get(node.op_type, 1):
        yield f"has {len(node.input)} inputs", "those of the ONNX standard", "export it again"
        return
    for rule in RULES.get(node.op_type, ()):
        fault = rule(node, view)
        if fault is not None:
            yield fault


def _holds_integers(node: NodeProto) -> bool:
    return node.op_type.startswith("QLinear") or node.op_type.endswith("Integer") or "DynamicQuantize" in node.op_type


def _data_input(node: NodeProto) -> str:
    """The input whose type the tables speak of."""
    place = 1 if node.op_type == "Where" else 0
    return node.input[place] if len(node.input) > place else ""
