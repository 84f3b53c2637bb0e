"""The agent on an emulated arm64 processor: from the tar to rows, and an engine's logits against this machine's.

Needs EDGEXAI_ARM64, a folder that ``deploy/emulate_arm64.md`` tells how to fill: ``qemu`` (qemu-aarch64), ``root`` (an
arm64 C library and Python) and ``site`` (arm64 NumPy and ONNX Runtime). Emulation says nothing about time.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_bundle import CLASSES, SIZE, small_contents

from edgexai.board.agent_zip import agent_bytes
from edgexai.board.bundle import write_bundle
from edgexai.board.golden import Golden
from edgexai.engine.onnx_runtime import OnnxRuntimeEngine
from edgexai.export.int8 import quantise
from edgexai.probe.probe_set import read_probes

PLACE = os.environ.get("EDGEXAI_ARM64", "")
WANTED = ("qemu", "root", "site")
MISSING = [name for name in WANTED if not PLACE or not (Path(PLACE) / name).exists()]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(MISSING), reason=f"not emulated: EDGEXAI_ARM64 has no {', '.join(MISSING)}; see deploy/emulate_arm64.md"
    ),
]


def on_arm64(words: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    """Python on the emulated processor."""
    place = Path(PLACE).absolute()
    command = [place / "qemu", "-L", place / "root", place / "root/usr/bin/python3.11", *words]
    kept = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(place / "site"), "OMP_NUM_THREADS": "1", "HOME": "/nonexistent"}
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, env=kept, timeout=1200
    )


def agent(agent_file: Path, *words: str | Path) -> dict[str, Any]:
    done = on_arm64([agent_file, *words, "--json"])
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def two_convolutions(path: Path, *, seed: int) -> None:
    """The second one sees enough channels to be int8 in either flavour: images -> logits, saliency."""
    rng = np.random.default_rng(seed)
    shapes = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (16, 8, 3, 3), "b2": (16,), "head": (16, CLASSES)}
    arrays: dict[str, Any] = {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    arrays["one"] = np.array([1], np.int64)
    nodes = [
        helper.make_node("Conv", ["images", "w1", "b1"], ["c1"], name="conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], name="conv2", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["features"], name="relu2"),
        helper.make_node("GlobalAveragePool", ["features"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("MatMul", ["f", "head"], ["logits"], name="head"),
        helper.make_node("ReduceSum", ["features", "one"], ["saliency"], name="map", keepdims=0),
    ]
    given = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES]),
        helper.make_tensor_value_info("saliency", TensorProto.FLOAT, ["batch", SIZE, SIZE]),
    ]
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "two", [given], outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose engine is int8 for the board, and both int8 files beside it."""
    folder = tmp_path_factory.mktemp("arm64")
    contents = small_contents(folder)
    two_convolutions(folder / "fp32.onnx", seed=0)
    images = read_probes(contents.probes).images
    for flavour in ("int8-tensorrt", "int8-x86"):
        path = folder / f"{flavour}.onnx"
        quantise(folder / "fp32.onnx", path, flavour=flavour, images=images, metadata={"edgexai.artefact": flavour})
    logits, maps = OnnxRuntimeEngine(folder / "int8-tensorrt.onnx", threads=1).with_saliency(images)
    golden = Golden(images, contents.golden.labels, logits, maps[:20], contents.golden.limits, contents.golden.about)
    write_bundle(
        replace(contents, artefact="int8-tensorrt", engine=folder / "int8-tensorrt.onnx", golden=golden),
        folder / "small.tar",
    )
    np.save(folder / "images.npy", images)
    return folder


def test_from_the_tar_to_rows(packed: Path, tmp_path: Path) -> None:
    file, bundle, state = tmp_path / "agent.pyz", tmp_path / "bundle", tmp_path / "state"
    file.write_bytes(agent_bytes())
    state.mkdir()
    assert agent(file, "doctor")["facts"]["arch"] == "aarch64"
    agent(file, "unpack", packed / "small.tar", bundle)
    places = ("--bundle", bundle, "--state", state, "--runtime", "onnxruntime", "--threads", "1")
    assert agent(file, "build", *places)["runtime"].startswith("onnxruntime")
    agent(file, "verify", *places)
    agent(file, "measure", *places, "--limit", "16")
    rows = [json.loads(line) for line in (state / "rows.jsonl").read_text().splitlines()]
    measured = {row["metric"] for row in rows if row["status"] == "measured"}
    assert {"clean_acc", "robust_acc", "latency_ms"} <= measured
    assert all("onnxruntime" in row["runtime"] for row in rows if row["metric"] == "clean_acc")


@pytest.mark.parametrize(("flavour", "most"), [("int8-tensorrt", 1e-5), ("int8-x86", 1e-3), ("fp32", 1e-5)])
def test_logits_against_this_machine(packed: Path, tmp_path: Path, flavour: str, most: float) -> None:
    """Sums in float have another order there, so the last bits differ, in int8 too: no file is free of float sums.

    Where such a sum lies on the edge between two int8 levels it takes the other one: rare, and up to one level large.
    """
    code = (
        "import sys, numpy, onnxruntime as o\n"
        "run = o.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])\n"
        "numpy.save(sys.argv[3], run.run(['logits'], {'images': numpy.load(sys.argv[2])})[0])\n"
    )
    file = packed / f"{flavour}.onnx"
    done = on_arm64(["-c", code, file, packed / "images.npy", tmp_path / "there.npy"])
    assert done.returncode == 0, done.stderr
    here, there = OnnxRuntimeEngine(file, threads=1)(np.load(packed / "images.npy")), np.load(tmp_path / "there.npy")
    apart = np.abs(here - there)
    print(f"{flavour}: max {apart.max():.3g}, equal {(apart == 0).mean():.1%}")  # noqa: T201  with -s, for the record
    assert (here.argmax(1) == there.argmax(1)).all()
    assert apart.max() < most * np.ptp(here)
    assert np.median(apart) < 1e-6 * np.ptp(here)
    two_convolutions(tmp_path / "other.onnx", seed=1)
    other = OnnxRuntimeEngine(tmp_path / "other.onnx", threads=1)(np.load(packed / "images.npy"))
    assert np.abs(other - there).max() > 1e-2 * np.ptp(here)
