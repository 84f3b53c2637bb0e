"""Which nodes a value of a graph needs."""

from __future__ import annotations

from onnx import GraphProto


def needed_for(graph: GraphProto, output: str) -> set[str]:
    """Names of the nodes that ``output`` follows from."""
    producer = {name: node for node in graph.node for name in node.output}
    needed: set[str] = set()
    stack = [output]
    while stack:
        node = producer.get(stack.pop())
        if node is not None and node.name not in needed:
            needed.add(node.name)
            stack.extend(node.input)
    return needed
