"""Where the layers of an engine run, from the engine inspector's JSON: on the accelerator (DLA), or back on the GPU.

Convention: a layer counts with the number of ONNX nodes that its "Metadata" names, at least 1, for one accelerator
layer holds a whole chain of them. Copies and format changes are no layers of the network and are counted apart. Needs
an engine that was built with detailed verbosity. NVIDIA does not document the JSON's words; that an accelerator layer
has the type "DLA" is how public tools read it, and was not seen here. Standard library only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from edgexai.errors import UserError

_MOVES = ("reformat", "noop", "copy", "shufflecopy")


@dataclass(frozen=True)
class Placement:
    """Layers of one engine.

    Attributes:
        dla, gpu: names of the layers that run there.
        moves: number of copies and format changes between them.
        dla_nodes, gpu_nodes: ONNX nodes behind these layers.
    """

    dla: tuple[str, ...]
    gpu: tuple[str, ...]
    moves: int
    dla_nodes: int
    gpu_nodes: int

    @property
    def fallback_share(self) -> float:
        """Share of ONNX nodes that run on the GPU; 1.0 where nothing runs on the accelerator."""
        return self.gpu_nodes / (self.gpu_nodes + self.dla_nodes) if self.gpu or self.dla else 1.0

    def to_json(self) -> dict[str, Any]:
        """For the sidecar."""
        return {
            "dla": list(self.dla),
            "gpu": list(self.gpu),
            "moves": self.moves,
            "dla_nodes": self.dla_nodes,
            "gpu_nodes": self.gpu_nodes,
            "fallback_share": self.fallback_share,
        }


def placement(information: str) -> Placement:
    """Reads ``EngineInspector.get_engine_information(JSON)``.

    Raises:
        UserError: no JSON of layers, or one of names only.
    """
    try:
        layers = json.loads(information)["Layers"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"the engine inspector's answer is no JSON of layers: {error}") from error
    if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
        raise UserError("the engine tells only the names of its layers: it was not built with detailed verbosity")
    dla: list[str] = []
    gpu: list[str] = []
    nodes = {"dla": 0, "gpu": 0}
    moves = 0
    for layer in layers:
        kind, name = str(layer.get("LayerType", "")).lower(), str(layer.get("Name", ""))
        if kind in _MOVES:
            moves += 1
            continue
        where = "dla" if kind == "dla" else "gpu"
        (dla if where == "dla" else gpu).append(name)
        nodes[where] += max(1, str(layer.get("Metadata", "")).count("[ONNX Layer:"))
    return Placement(tuple(dla), tuple(gpu), moves, nodes["dla"], nodes["gpu"])
