"""Engines refuse what they cannot run, and hand out arrays of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from edgexai.engine.onnx_runtime import OnnxRuntimeEngine
from edgexai.engine.twin import Twin
from edgexai.errors import MissingCapability, ShapeError, UserError
from edgexai.models.arch import Arch
from edgexai.models.base import Network
from edgexai.models.store import build, default_widths


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """logits = mean over rows and columns of each channel: answers known by hand."""
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["images", "axes"], ["logits"], keepdims=0)],
        "mean",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    model.metadata_props.add(key="edgexai.data", value="by hand")
    onnx.save(model, tmp_path / "mean.onnx")
    return tmp_path / "mean.onnx"


def images(n: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(0).random((n, 3, 8, 8), dtype=np.float32)


def small() -> Network:
    widths = (4,) * len(default_widths("signnet"))
    return build(Arch("signnet", widths, 5, 16, (0.5,) * 3, (0.25,) * 3), seed=0)


def test_it_computes_what_the_file_says(path: Path) -> None:
    engine = OnnxRuntimeEngine(path, threads=1)
    for n in (1, 2, 7):
        assert np.allclose(engine(images(n)), images(n).mean((2, 3)), atol=1e-6)
    assert engine.runtime.startswith("onnxruntime ")
    assert engine.runtime.endswith(" CPU")
    assert (engine.path, engine.outputs, engine.metadata) == (path, ["logits"], {"edgexai.data": "by hand"})


def test_memory_layout_does_not_matter(path: Path) -> None:
    engine, given = OnnxRuntimeEngine(path, threads=1), images(4)
    nhwc = np.ascontiguousarray(given.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert not nhwc.flags.c_contiguous
    assert np.array_equal(engine(nhwc), engine(given))
    assert np.array_equal(engine(given[::-1]), engine(given)[::-1])


def test_results_are_fresh_and_the_input_stays(path: Path) -> None:
    engine, given = OnnxRuntimeEngine(path, threads=1), images(3)
    kept_input = given.copy()
    first = engine(given)
    kept = first.copy()
    second = engine(1 - given)
    assert np.array_equal(first, kept)
    assert not np.shares_memory(first, second)
    first[:] = 0
    assert np.array_equal(engine(given), kept)
    assert np.array_equal(given, kept_input)


@pytest.mark.parametrize(
    "wrong",
    [
        images(2).astype(np.float64),
        (images(2) * 255).astype(np.uint8),
        images(2)[:, :, :7],
        images(2)[0],
        images(2).transpose(0, 2, 3, 1),
        images(2)[:, :1],
    ],
)
def test_wrong_images(path: Path, wrong: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    with pytest.raises(ShapeError, match=r"float32 \(N, 3, 8, 8\)"):
        OnnxRuntimeEngine(path, threads=1)(wrong)


def test_files_that_cannot_be_run(path: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        OnnxRuntimeEngine(tmp_path / "absent.onnx")
    with pytest.raises(UserError, match="no such file"):
        OnnxRuntimeEngine(tmp_path)
    for name, content in (("empty", b""), ("half", path.read_bytes()[:60]), ("text", b"not a network at all")):
        broken = tmp_path / f"{name}.onnx"
        broken.write_bytes(content)
        with pytest.raises(UserError, match=f"{name}.onnx") as caught:
            OnnxRuntimeEngine(broken)
        assert len(str(caught.value).splitlines()) <= 2


def test_cuda_is_refused_where_it_is_not(path: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine may have it")
    with pytest.raises(MissingCapability, match="CUDAExecutionProvider") as caught:
        OnnxRuntimeEngine(path, device="cuda")
    assert "next:" in str(caught.value)


def test_saliency_that_is_not_there(path: Path) -> None:
    with pytest.raises(MissingCapability, match="no saliency output"):
        OnnxRuntimeEngine(path, threads=1).with_saliency(images(1))


def test_twin_batches_and_matches_the_network() -> None:
    net = small()
    given = np.random.default_rng(0).random((11, 3, 16, 16), dtype=np.float32)
    whole, parts = Twin(net)(given), Twin(net, batch_size=4)(given)
    assert whole.dtype == np.float32
    assert np.allclose(whole, parts, atol=1e-5)
    with torch.no_grad():
        assert np.allclose(whole, net.eval()(torch.from_numpy(given)).numpy(), atol=1e-5)
    assert not net.training


def test_twin_without_cuda() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has it")
    net = small()
    with pytest.raises(MissingCapability, match="CUDA"):
        Twin(net, device="cuda")
