"""What the backward pass is written with: adds named nodes and constants to a graph, and knows shapes and constants."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper, shape_inference

from edgexai.errors import UserError


class Gradient(NamedTuple):
    """Name of a value; ``spread``: it is (N,C,1,1) and stands for the same number at every place."""

    name: str
    spread: bool = False


class Tape:
    """Writes behind the nodes of ``model``, which is changed.

    Attributes:
        model: what is written to.
    """

    def __init__(self, model: ModelProto, *, prefix: str = "saliency/") -> None:
        self.model, self._prefix, self._count = model, prefix, 0
        graph = shape_inference.infer_shapes(model).graph
        self._dims = {
            v.name: [d.dim_value or -1 for d in v.type.tensor_type.shape.dim]
            for v in (*graph.input, *graph.output, *graph.value_info)
        }
        self._constants = {i.name: i for i in model.graph.initializer}
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def add(self, op: str, inputs: list[str], *, output: str = "", **attributes: Any) -> str:
        """Appends a node; the name of its one output."""
        name = self._name(op)
        self.model.graph.node.append(helper.make_node(op, inputs, [output or name], name=name, **attributes))
        return output or name

    def constant(self, array: NDArray[Any]) -> str:
        """Name of an initializer that holds ``array``; one for equal arrays."""
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = self._name("constant")
            self.model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), self._known[key]))
        return self._known[key]

    def dims(self, name: str) -> list[int]:
        """Shape of a value of the forward pass, -1 for the batch.

        Raises:
            UserError: unknown, or another axis than the first is not fixed.
        """
        dims = self._dims.get(name)
        if not dims or any(d < 1 for d in dims[1:]):
            raise UserError(
                f'export.saliency = "gradient": the shape of "{name}" is not fixed: {dims}',
                next_step="export a network whose shapes follow from the image's size alone",
            )
        return dims

    def value_of(self, name: str) -> NDArray[Any] | None:
        """The constant of that name; None where it is not one."""
        found = self._constants.get(name)
        return None if found is None else numpy_helper.to_array(found)

    def total(self, parts: list[Gradient]) -> Gradient:
        """The sum of what several users of one value send back."""
        out = parts[0]
        for part in parts[1:]:
            out = Gradient(self.add("Add", [out.name, part.name]), out.spread and part.spread)
        return out

    def full(self, gradient: Gradient, *, like: str) -> str:
        """Name of the gradient in the shape of the value ``like``."""
        if not gradient.spread:
            return gradient.name
        return self.add("Expand", [gradient.name, self.add("Shape", [like])])

    @staticmethod
    def attribute(node: NodeProto, name: str, default: Any) -> Any:
        """Value of an attribute, or ``default``."""
        return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)

    def _name(self, what: str) -> str:
        self._count += 1
        return f"{self._prefix}{what}_{self._count}"
