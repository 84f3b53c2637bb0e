"""A data set of plain colours and an ONNX classifier of colours in which every number can be worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

SIZE = 16
NAMES = ("blue", "green", "red")


def colours(root: Path, *, each: int = 20, size: int = SIZE, noise: int = 40, seed: int = 0) -> Path:
    """``each`` images of every class: its channel is bright on a disc in the middle, the rest is noise."""
    draws = np.random.default_rng(seed)
    yy, xx = np.mgrid[:size, :size] + 0.5 - size / 2
    disc = (yy**2 + xx**2) < (size / 4) ** 2
    for label, name in enumerate(NAMES):
        (root / name).mkdir(parents=True)
        for k in range(each):
            pixels = draws.integers(60, 60 + 2 * noise, (size, size, 3))
            # Some are dull: a classifier of mean colours gets those wrong now and then.
            pixels[disc, 2 - label] += int(draws.integers(0, 100))
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{k}.png")
    return root


def classifier(
    path: Path,
    *,
    order: tuple[int, ...] = (2, 1, 0),
    layout: str = "nchw",
    softmax: bool = False,
    size: int | str = SIZE,
    gain: float = 60.0,
) -> Path:
    """Output k is ``gain`` times the mean of channel ``order[k]`` (R, G, B = 0, 1, 2); blue, green, red by default."""
    weight = np.zeros((3, len(order)), np.float32)
    for k, channel in enumerate(order):
        if channel >= 0:
            weight[channel, k] = gain
    shape = ["n", 3, size, size] if layout == "nchw" else ["n", size, size, 3]
    axes = [2, 3] if layout == "nchw" else [1, 2]
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["pooled"], keepdims=0),
        helper.make_node("MatMul", ["pooled", "weight"], ["logits" if not softmax else "raw"]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["raw"], ["logits"], axis=1))
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", len(order)])],
        [
            numpy_helper.from_array(weight, "weight"),
            numpy_helper.from_array(np.array(axes, dtype=np.int64), "axes"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path
