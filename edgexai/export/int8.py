"""int8 as explicit Q/DQ in the graph, in two flavours of one calibration.

- ``int8-tensorrt``: symmetric, signed activations, zero point 0, per-channel weights, no bias quantisation: what
  TensorRT parses and fuses. It is the file that goes to the board.
- ``int8-x86``: unsigned activations, per-channel weights: what ONNX Runtime fuses on x86.

Only convolutions, the residual sums and the linear layer are quantised; the saliency head stays in float. Reads
training images only.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from edgexai.errors import UserError
from edgexai.export.onnx_graph import write_metadata
from edgexai.types import Images

_OPS = ["Conv", "Gemm", "MatMul", "Add", "MaxPool", "GlobalAveragePool", "ReduceMean"]


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Feeds batches of calibration images once."""

    def __init__(self, images: Images, batch: int = 64) -> None:
        self.batches = iter([images[k : k + batch] for k in range(0, len(images), batch)])

    def get_next(self) -> dict[str, Images] | None:
        batch = next(self.batches, None)
        return None if batch is None else {"images": batch}


def quantise(source: Path, target: Path, *, flavour: str, images: Images, metadata: Mapping[str, str]) -> None:
    """Writes ``target``, the int8 version of the fp32 file ``source``.

    Args:
        flavour: "int8-tensorrt" or "int8-x86".
        images: (N,3,H,W) in [0,1], calibration images from the training split.
    """
    if flavour not in ("int8-tensorrt", "int8-x86"):
        raise UserError(f'unknown int8 flavour "{flavour}"; allowed: int8-tensorrt, int8-x86')
    board = flavour == "int8-tensorrt"
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # the quantiser advises a pre-processing that was done at export
    try:
        _quantise(source, target, images, board=board)
    finally:
        root.setLevel(level)
    write_metadata(target, metadata)


def _quantise(source: Path, target: Path, images: Images, *, board: bool) -> None:
    quantize_static(
        str(source),
        str(target),
        _Reader(images),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=_OPS,
        nodes_to_exclude=_float_nodes(source),
        per_channel=True,
        activation_type=QuantType.QInt8 if board else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        extra_options={"ActivationSymmetric": board, "WeightSymmetric": True, "QuantizeBias": not board},
    )


def _float_nodes(source: Path) -> list[str]:
    """Nodes that only the saliency output needs: they stay in float."""
    graph = onnx.load(source).graph
    producer = {output: node for node in graph.node for output in node.output}

    def ancestors(name: str) -> set[str]:
        seen: set[str] = set()
        stack = [name]
        while stack:
            node = producer.get(stack.pop())
            if node is not None and node.name not in seen:
                seen.add(node.name)
                stack.extend(node.input)
        return seen

    needed = ancestors("logits")
    return [node.name for node in graph.node if node.name not in needed]
