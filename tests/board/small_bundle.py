"""A bundle of a network made by hand, in a fraction of a second and without torch: for tests of all that carries it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgexai.board.bundle import Contents, write_bundle
from edgexai.board.golden import Golden
from edgexai.engine.onnx_runtime import OnnxRuntimeEngine
from edgexai.explain.segment import grid
from edgexai.probe.probe_set import ProbeSet, write_probes
from edgexai.types import Row

SIZE, CLASSES, N = 16, 5, 40
LIMITS = {"disagreements": 2.0, "drift": 0.01, "scale": 0.005, "shift": 0.01, "slope": 0.01, "map_drift": 0.01}
LIMITS["map_scale"] = 0.01


def small_network(path: Path, *, seed: int = 0) -> None:
    """Writes conv, ReLU, pooling, linear, with a CAM of the whole feature map: images -> logits, saliency."""
    rng = np.random.default_rng(seed)
    arrays = {
        "w": rng.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32),
        "b": rng.normal(0, 0.1, 8).astype(np.float32),
        "head": rng.normal(0, 1.0, (8, CLASSES)).astype(np.float32),
        "one": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Conv", ["images", "w", "b"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["features"], name="relu"),
        helper.make_node("GlobalAveragePool", ["features"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("MatMul", ["f", "head"], ["logits"], name="head"),
        helper.make_node("ReduceSum", ["features", "one"], ["saliency"], name="map", keepdims=0),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES]),
        helper.make_tensor_value_info("saliency", TensorProto.FLOAT, ["batch", SIZE, SIZE]),
    ]
    initializers = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "small", [images], outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def small_probes(engine: OnnxRuntimeEngine) -> ProbeSet:
    """Random images under a made-up attack, with the network's own decisions as labels of four in five."""
    rng = np.random.default_rng(3)
    images = (np.round(rng.random((N, 3, SIZE, SIZE)) * 255) / 255).astype(np.float32)
    logits = engine(images)
    labels = logits.argmax(1).astype(np.int64)
    labels[::5] = (labels[::5] + 1) % CLASSES
    relevance = np.zeros((N, SIZE, SIZE), np.bool_)
    relevance[:, 4:12, 4:12] = True
    moved = np.clip(images + rng.choice([-1, 1], images.shape) * 8 / 255, 0, 1).astype(np.float32)
    return ProbeSet(
        index=np.arange(N),
        images=images,
        labels=labels,
        relevance=relevance,
        logits=logits,
        attacked={"pgd@8/255": moved},
        maps={"vg": rng.random((12, SIZE, SIZE)).astype(np.float32)},
        targets=logits[:12].argmax(1).astype(np.int64),
        segments=grid(SIZE, 4),
        settings={"seed": 0, "pgd_steps": 2, "split": "test"},
    )


def small_contents(folder: Path, *, seed: int = 0) -> Contents:
    """What ``small_bundle`` packs; the files lie in ``folder``, which must exist."""
    path = folder / "fp32.onnx"
    small_network(path, seed=seed)
    engine = OnnxRuntimeEngine(path, threads=1)
    probes = small_probes(engine)
    write_probes(probes, folder / "probes")
    logits, maps = engine.with_saliency(probes.images)
    golden = Golden(probes.images, probes.labels, logits, maps[:20], LIMITS, {"rule": "made for a test"})
    row = Row("natural", "fp32", "engine", "clean_acc", 0.8, "fraction", n=N, low=0.65, high=0.9, interval="wilson")
    return Contents(
        name="small",
        recipe="small",
        arm="natural",
        artefact="fp32",
        engine=path,
        probes=folder / "probes",
        golden=golden,
        lock=json.dumps({"name": "small"}).encode(),
        rows=row.to_json().encode() + b"\n",
        classes=tuple("abcde"),
        measure={
            "attacks": ["pgd", "square", "noise"],
            "eps": ["8/255"],
            "explainers": ["vg", "cam", "lime"],
            "fill": [0.5, 0.5, 0.5],
            "lime_samples": 64,
            "saliency": "cam",
            "seed": 0,
            "size": SIZE,
            "square_n": 8,
            "square_queries": 5,
        },
        versions={"edgexai": "0.1.0", "onnxruntime": "1.0", "python": "3.11"},
        licences=[{"what": "images", "licence": "CC0-1.0"}],
    )


def small_bundle(folder: Path, *, target: str | None = None) -> Path:
    """``folder``/small.tar; the parts lie in ``folder``/parts."""
    parts = folder / "parts"
    parts.mkdir(parents=True)
    out = folder / "small.tar"
    write_bundle(replace(small_contents(parts), target=target), out)
    return out
