"""The runner on stand-ins for TensorRT and CUDA: answers held against ONNX Runtime, guards, times, memory given back.

Nothing here ran on TensorRT. The stand-ins are strict where a mistake would give a wrong answer on a board: copies
happen at synchronisation, device memory starts as NaN, addresses and sizes are checked (see gpu_standin.py).
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import gpu_standin as standin
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgexai.engine.cuda import Cuda
from edgexai.engine.onnx_runtime import OnnxRuntimeEngine
from edgexai.engine.open import open_engine
from edgexai.engine.tensorrt_options import BuildOptions
from edgexai.engine.tensorrt_run import TensorrtEngine
from edgexai.engine.tensorrt_sidecar import Provenance, sha256_of, sidecar_of
from edgexai.errors import MissingCapability, ShapeError, UserError

HERE = Path(__file__).resolve().parent
TRAVELS = BuildOptions(version_compatible=True, hardware="ampere_plus").to_json()
KIN = BuildOptions(hardware="same_compute_capability").to_json()
ORIN = {"name": "Stand-in Orin", "compute_capability": "8.7", "multiprocessors": 8}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return standin.compiled(tmp_path_factory.mktemp("cudart"))


@pytest.fixture
def cuda(shared: Path) -> ctypes.CDLL:
    return ctypes.CDLL(str(shared))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """logits: sums weighted by place, so that no two images or orders give the same; saliency: a channel, squared."""
    weights = np.random.default_rng(1).normal(size=(3 * 6 * 5, 4)).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["images"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        helper.make_node("Gather", ["images", "one"], ["channel"], axis=1),
        helper.make_node("Mul", ["channel", "channel"], ["saliency"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 6, 5])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4]),
            helper.make_tensor_value_info("saliency", TensorProto.FLOAT, ["batch", 6, 5]),
        ],
        [
            helper.make_tensor("weights", TensorProto.FLOAT, weights.shape, weights.ravel()),
            helper.make_tensor("one", TensorProto.INT64, [], [1]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def engine_file(source: Path, *, batches: tuple[int, int, int] = (1, 2, 4)) -> Path:
    path = source.with_name("model.engine")
    path.write_bytes(standin.engine_bytes(source.read_bytes(), batches=batches))
    return path


def with_sidecar(path: Path, **changed: Any) -> Path:
    made = Provenance(
        engine_sha256=sha256_of(path),
        engine_bytes=path.stat().st_size,
        onnx_sha256="0" * 64,
        library="tensorrt",
        tensorrt="10.3.0",
        gpu=ORIN,
        platform="aarch64",
        shapes={},
        options=BuildOptions().to_json(),
        build_seconds=1.0,
        metadata={"edgexai.classes": '["stop"]'},
    )
    sidecar_of(path).write_text(replace(made, **changed).to_json())
    return path


def start(path: Path, cuda: ctypes.CDLL, **library: Any) -> TensorrtEngine:
    return TensorrtEngine(path, library=standin.library(cuda, **library), cuda=Cuda(cuda, cuda))


def images(n: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).random((n, 3, 6, 5), dtype=np.float32)


@pytest.mark.parametrize("batches", [(1, 2, 4), (4, 4, 4), (1, 1, 1)])
def test_answers_are_those_of_onnx_runtime(source: Path, cuda: ctypes.CDLL, batches: tuple[int, int, int]) -> None:
    """Also in parts, and with a last part that is filled up."""
    reference, run = OnnxRuntimeEngine(source, threads=1), start(engine_file(source, batches=batches), cuda)
    for n in (1, 2, 3, 4, 5, 9, 1):
        expected_logits, expected_maps = reference.with_saliency(images(n, n))
        logits, maps = run.with_saliency(images(n, n))
        assert logits.dtype == maps.dtype == np.float32
        assert np.allclose(logits, expected_logits, atol=1e-5)
        assert np.allclose(maps, expected_maps, atol=1e-6)
        assert np.allclose(run(images(n, n)), expected_logits, atol=1e-5)
    assert run(images(0)).shape == (0, 4)
    standin.executed.clear()
    run(images(9))
    assert standin.executed == ([1] * 9 if batches == (1, 1, 1) else [4, 4, batches[0]])
    assert run.outputs == ["logits", "saliency"]
    assert run.runtime == "tensorrt 10.3.0 Stand-in Orin"
    run.close()


def test_results_are_fresh_the_input_stays_and_layout_does_not_matter(source: Path, cuda: ctypes.CDLL) -> None:
    run, given = start(engine_file(source), cuda), images(6)
    kept_input = given.copy()
    first = run(given)
    kept = first.copy()
    second = run(1 - given)
    assert np.array_equal(first, kept)
    assert not np.shares_memory(first, second)
    first[:] = 0
    assert np.array_equal(run(given), kept)
    assert np.array_equal(given, kept_input)
    nhwc = np.ascontiguousarray(given.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert np.array_equal(run(nhwc), kept)
    assert np.array_equal(run(given[::-1]), kept[::-1])


def test_threads_take_turns(source: Path, cuda: ctypes.CDLL) -> None:
    run, reference = start(engine_file(source), cuda), OnnxRuntimeEngine(source, threads=1)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda seed: run(images(5, seed)), range(24)))
    for seed, answer in enumerate(answers):
        assert np.allclose(answer, reference(images(5, seed)), atol=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        images(2).astype(np.float64),
        (images(2) * 255).astype(np.uint8),
        images(2)[:, :, :5],
        images(2)[0],
        images(2).transpose(0, 2, 3, 1),
        images(2)[:, :1],
    ],
)
def test_wrong_images(source: Path, cuda: ctypes.CDLL, wrong: np.ndarray[Any, Any]) -> None:
    with pytest.raises(ShapeError, match=r"float32 \(N, 3, 6, 5\)"):
        start(engine_file(source), cuda)(wrong)


def test_device_time_is_without_the_copies(source: Path, cuda: ctypes.CDLL) -> None:
    run = start(engine_file(source), cuda)
    try:
        standin.DELAY_S[0] = 0.004
        cuda.standin_copy_ms(5)  # one copy in, two out
        before = cuda.standin_live()
        times = run.times(images(3), warmup=1, repeats=4)
    finally:
        standin.DELAY_S[0] = 0.0
        cuda.standin_copy_ms(0)
    assert times.batch == 3
    assert times.device_ms.shape == times.end_to_end_ms.shape == (4,)
    assert np.all(times.device_ms >= 4)
    assert np.all(times.end_to_end_ms >= times.device_ms + 14.9)
    assert cuda.standin_live() == before
    for n in (0, 5):
        with pytest.raises(ShapeError, match="timed with 1 to 4"):
            run.times(images(n))
    with pytest.raises(UserError, match="at least 0 and 2"):
        run.times(images(2), repeats=1)


def test_memory_is_given_back(source: Path, cuda: ctypes.CDLL) -> None:
    before = cuda.standin_live()
    run = start(engine_file(source), cuda)
    assert cuda.standin_live() == before + 4  # a stream, an input, two outputs
    for _ in range(3):
        run(images(9))
    assert cuda.standin_live() == before + 4
    run.close()
    run.close()
    assert cuda.standin_live() == before
    with pytest.raises(UserError, match="closed"):
        run(images(1))
    dropped = start(engine_file(source), cuda)
    del dropped
    assert cuda.standin_live() == before


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("hollow", "starts no runtime"),
        ("no memory", "not enough device memory"),
        ("half", '"logits" is not float32'),
    ],
)
def test_what_cannot_be_started(source: Path, cuda: ctypes.CDLL, kind: str, said: str) -> None:
    before = cuda.standin_live()
    with pytest.raises((MissingCapability, UserError), match=said):
        start(engine_file(source), cuda, kind=kind)
    assert cuda.standin_live() == before


def test_an_engine_that_does_not_run_says_so(source: Path, cuda: ctypes.CDLL) -> None:
    with pytest.raises(MissingCapability, match="TensorRT does not run it"):
        start(engine_file(source), cuda, kind="does not run")(images(1))


def test_a_file_that_is_no_engine(tmp_path: Path, cuda: ctypes.CDLL) -> None:
    (tmp_path / "x.engine").write_bytes(b"garbage")
    with pytest.raises(MissingCapability, match="does not load it") as caught:
        start(tmp_path / "x.engine", cuda)
    assert caught.value.problems == ("the engine plan file is not compatible",)  # the error, not the remark
    with pytest.raises(UserError, match="no such file"):
        start(tmp_path / "absent.engine", cuda)


@pytest.mark.parametrize(
    ("changed", "version", "said"),
    [
        ({}, "10.3.0", ""),
        ({}, "10.7.0", "built with TensorRT 10.3.0; here is 10.7.0"),
        ({"gpu": ORIN | {"name": "Thor"}}, "10.3.0", r"built on Thor, compute capability 8\.7, 8 SM; here is Stand-in"),
        ({"gpu": ORIN | {"compute_capability": "8.9"}}, "10.3.0", r"built on .+ 8\.9, 8 SM; here is .+ 8\.7, 8 SM"),
        ({"gpu": ORIN | {"multiprocessors": 16}}, "10.3.0", r"built on .+, 16 SM; here is .+, 8 SM"),
        ({"options": TRAVELS}, "11.4.0", "built with TensorRT 10.3.0; here is 11.4.0"),
        ({"options": TRAVELS, "tensorrt": "10.7.0"}, "10.3.0", "built with TensorRT 10.7.0; here is 10.3.0"),
        ({"options": KIN, "gpu": ORIN | {"compute_capability": "11.0"}}, "10.3.0", r"built on .+ 11\.0, 8 SM"),
        ({"options": KIN, "gpu": ORIN | {"multiprocessors": 16, "name": "Other"}}, "10.3.0", ""),
        ({"library": "tensorrt_rtx"}, "10.3.0", "to check the file, not to run"),
        ({"engine_sha256": "0" * 64}, "10.3.0", "its bytes are not those"),
    ],
)
def test_engines_belong_to_a_machine(
    source: Path, cuda: ctypes.CDLL, changed: dict[str, Any], version: str, said: str
) -> None:
    path = with_sidecar(engine_file(source), **changed)
    if not said:
        assert start(path, cuda, version=version).metadata == {"edgexai.classes": '["stop"]'}
        return
    with pytest.raises((MissingCapability, UserError), match=said) as caught:
        start(path, cuda, version=version)
    assert "next:" in str(caught.value)


def test_engines_that_were_built_to_travel(source: Path, cuda: ctypes.CDLL) -> None:
    """Host code is allowed exactly where the sidecar of these bytes says that there is some."""
    path = engine_file(source)
    elsewhere = {"name": "Thor", "compute_capability": "11.0"}
    start(with_sidecar(path, options=TRAVELS, gpu=elsewhere), cuda, version="10.7.0")
    assert standin.SEEN[-1].engine_host_code_allowed is True
    start(with_sidecar(path), cuda)
    assert standin.SEEN[-1].engine_host_code_allowed is False
    assert standin.SEEN[-1].DLA_core == -1
    start(with_sidecar(path, options=BuildOptions(dla_core=1, opt_batch=64).to_json()), cuda)
    assert standin.SEEN[-1].DLA_core == 1
    sidecar_of(path).unlink()
    run = start(path, cuda)
    assert standin.SEEN[-1].engine_host_code_allowed is False
    assert run.provenance is None
    assert run.metadata == {}


def test_opening_by_suffix(source: Path, tmp_path: Path) -> None:
    run = open_engine(source, threads=1)
    assert run.runtime.startswith("onnxruntime ")
    assert np.allclose(run(images(3)), OnnxRuntimeEngine(source, threads=1)(images(3)))
    with pytest.raises(UserError, match=r"allowed: \.onnx, \.engine, \.plan"):
        open_engine(tmp_path / "model.pt")
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        for opener in (open_engine, TensorrtEngine):
            with pytest.raises(MissingCapability, match=r"libcuda\.so\.1") as caught:
                opener(engine_file(source))
            assert "next:" in str(caught.value)


TENSORRT = """
import ctypes, sys
sys.path.insert(0, {here!r})
import gpu_standin
globals().update(vars(gpu_standin.whole_library(ctypes.CDLL("libcudart.so.12"), version={version!r})))
"""


@pytest.fixture
def machine(shared: Path, tmp_path: Path) -> Callable[..., str]:
    """A process on a machine whose CUDA and TensorRT are the stand-ins: builds with NVIDIA's parser, runs the rest."""
    pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx")
    folder = tmp_path / "machine"
    folder.mkdir()
    for name in ("libcuda.so.1", "libcudart.so.12"):
        shutil.copy(shared, folder / name)

    def run(code: str, *, version: str = "10.3.0") -> str:
        (folder / "tensorrt.py").write_text(TENSORRT.format(here=str(HERE), version=version))
        env = {**os.environ, "LD_LIBRARY_PATH": str(folder), "EDGEXAI_HOME": str(tmp_path / "home")}
        env["PYTHONPATH"] = os.pathsep.join([str(folder), str(HERE.parents[1])])
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


START = """
from pathlib import Path
import numpy as np
from edgexai.engine import RUNTIMES
from edgexai.engine.tensorrt_options import BuildOptions
from edgexai.errors import EdgexaiError
images = np.random.default_rng(0).random((9, 3, 6, 5), dtype=np.float32)
try:
    run = RUNTIMES["tensorrt"].load()(Path({path!r}), device="cuda", threads=0, options=BuildOptions({options}))
    print(run.runtime, run.path.name, run.provenance.gpu["compute_capability"], run.provenance.placement)
    np.save({out!r}, run(images))
except EdgexaiError as error:
    print(error)
"""


def test_the_whole_way_from_onnx(machine: Callable[..., str], source: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out.npy")
    said = machine(START.format(path=str(source), options="max_batch=4", out=out))
    assert said.startswith("tensorrt 10.3.0 Stand-in Orin model.engine 8.7 {}")
    reference = OnnxRuntimeEngine(source, threads=1)(images(9))
    assert np.allclose(np.load(out), reference, atol=1e-5)
    entries = sorted((tmp_path / "home" / "engines").glob("*/model.engine"))
    stamp = entries[0].stat().st_mtime_ns
    machine(START.format(path=str(source), options="max_batch=4", out=out))
    assert sorted((tmp_path / "home" / "engines").glob("*/model.engine")) == entries
    assert entries[0].stat().st_mtime_ns == stamp
    machine(START.format(path=str(source), options="max_batch=4", out=out), version="10.7.0")
    assert len(list((tmp_path / "home" / "engines").glob("*/model.engine"))) == 2


def test_the_accelerators_share_is_told(machine: Callable[..., str], source: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out.npy")
    said = machine(START.format(path=str(source), options="max_batch=4, opt_batch=4, dla_core=1", out=out))
    assert "'fallback_share': 0.25" in said
    assert np.allclose(np.load(out), OnnxRuntimeEngine(source, threads=1)(images(9)), atol=1e-5)
    said = machine(START.format(path=str(source), options="max_batch=4, opt_batch=4, dla_core=2", out=out))
    assert "dla_core = 2: TensorRT 10.3.0 sees 2 accelerator cores here" in said


def test_an_old_tensorrt_is_refused(machine: Callable[..., str], source: Path, tmp_path: Path) -> None:
    said = machine(START.format(path=str(source), options="", out=str(tmp_path / "out.npy")), version="8.6.1")
    assert "TensorRT 8.6.1 is here; 10.3 or newer is needed" in said
