"""The CUDA calls: signatures against NVIDIA's header, order and bounds on a strict stand-in, the real libcudart."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import gpu_standin as standin
import numpy as np
import pytest

from edgexai.engine import cuda as module
from edgexai.engine.cuda import Cuda, open_cuda
from edgexai.errors import MissingCapability


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return standin.compiled(tmp_path_factory.mktemp("cudart"))


@pytest.fixture
def library(path: Path) -> ctypes.CDLL:
    return ctypes.CDLL(str(path))


def test_signatures_are_those_of_nvidias_header() -> None:
    folder = standin.headers()
    if folder is None:
        pytest.skip("no CUDA headers here")
    text = (folder / "cuda_runtime_api.h").read_text()
    for name, arguments in module._CALLS.items():
        found = re.search(rf"cudaError_t CUDARTAPI {name}\(([^;]*)\);", text)
        assert found, name
        assert [kind(a) for a in found[1].split(",")] == list(arguments), name


def kind(argument: str) -> object:
    """C's argument as the ctypes type that carries it."""
    if "*" in argument or re.search(r"\bcuda(Stream|Event)_t\b", argument):
        return ctypes.c_void_p
    return ctypes.c_size_t if "size_t" in argument else ctypes.c_int


def test_constants_are_those_of_nvidias_header() -> None:
    folder = standin.headers()
    if folder is None:
        pytest.skip("no CUDA headers here")
    text = (folder / "driver_types.h").read_text()
    for name, value in {
        "cudaMemcpyHostToDevice": module._TO_DEVICE,
        "cudaMemcpyDeviceToHost": module._TO_HOST,
        "cudaDevAttrMultiProcessorCount": module._MULTIPROCESSORS,
        "cudaDevAttrComputeCapabilityMajor": module._MAJOR,
        "cudaDevAttrComputeCapabilityMinor": module._MINOR,
    }.items():
        found = re.search(rf"\b{name}\s*=\s*(\d+)", text)
        assert found, name
        assert int(found[1]) == value, name


def test_the_stand_in_has_nvidias_signatures(tmp_path: Path) -> None:
    """Its compiler sees both declarations and refuses two that differ."""
    if standin.headers() is None:
        pytest.skip("no CUDA headers here")
    assert standin.compiled(tmp_path, include=standin.headers()).stat().st_size > 0


def test_facts(library: ctypes.CDLL) -> None:
    found = Cuda(library, library).gpu()
    assert (found.name, found.compute_capability, found.multiprocessors) == ("Stand-in Orin", "8.7", 8)
    assert (found.cuda_runtime, found.cuda_driver) == ("12.6", "13.2")


def test_a_round_trip_happens_at_synchronisation_and_not_before(library: ctypes.CDLL) -> None:
    cuda = Cuda(library, library)
    given = np.arange(12, dtype=np.float32).reshape(3, 4)
    back = np.zeros_like(given)
    stream, address = cuda.create_stream(), cuda.allocate(given.nbytes)
    start, stop = cuda.create_event(), cuda.create_event()
    assert library.standin_live() == 4
    library.standin_copy_ms(3)
    cuda.record(start, stream=stream)
    cuda.to_device(address, given, stream=stream)
    cuda.to_host(back, address, stream=stream)
    cuda.record(stop, stream=stream)
    assert not back.any()
    with pytest.raises(MissingCapability, match="cudaEventSynchronize"):
        cuda.elapsed_ms(start, stop)
    cuda.synchronise(stream)
    assert np.array_equal(back, given)
    assert 6 <= cuda.elapsed_ms(start, stop) < 600
    library.standin_copy_ms(0)
    for free, handle in (
        (cuda.free, address),
        (cuda.destroy_event, start),
        (cuda.destroy_event, stop),
        (cuda.destroy_stream, stream),
    ):
        free(handle)
        with pytest.raises(MissingCapability, match=r"cudaErrorInvalidValue \(1\)"):
            free(handle)
    assert library.standin_live() == 0


def test_failures_name_call_and_reason(library: ctypes.CDLL) -> None:
    cuda = Cuda(library, library)
    with pytest.raises(MissingCapability, match=r"cudaMalloc: cudaErrorMemoryAllocation \(2\): out of memory"):
        cuda.allocate(1 << 50)  # more than 32 bits: a narrower argument type would ask for nothing
    stream, address = cuda.create_stream(), cuda.allocate(8)
    with pytest.raises(MissingCapability, match="cudaMemcpyAsync"):
        cuda.to_device(address, np.zeros(3, np.float32), stream=stream)
    with pytest.raises(MissingCapability, match="cudaMemcpyAsync"):
        cuda.to_host(np.zeros(3, np.float32), address, stream=stream)
    cuda.free(address)
    cuda.destroy_stream(stream)


def real_cudart() -> str | None:
    return next((c for c in module._candidates() if c.startswith("/") and Path(c).is_file()), None)


@pytest.mark.skipif(real_cudart() is None, reason="no libcudart here")
def test_the_real_library_answers() -> None:
    """What it can without a driver: all functions are there, its version, its words for an error."""
    found = ctypes.CDLL(str(real_cudart()))
    cuda = Cuda(found, found)
    runtime, driver = cuda.versions()
    assert float(runtime) >= 11
    if driver != "0.0":
        pytest.skip("a driver is here")
    with pytest.raises(MissingCapability, match=r"cudaGetDeviceCount: cuda\w+ \(\d+\): \w+"):
        cuda.device_count()


def test_no_driver_is_said_first() -> None:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        with pytest.raises(MissingCapability, match=r"libcuda\.so\.1") as caught:
            open_cuda()
        assert "next:" in str(caught.value)
    else:
        pytest.skip("a driver is here")


@pytest.mark.parametrize(
    ("names", "environment", "expected"),
    [
        (("libcuda.so.1", "libcudart.so.12"), {}, "Stand-in Orin"),
        (("libcuda.so.1", "libcudart.so.13"), {}, "Stand-in Orin"),
        (("libcuda.so.1", "libcudart.so.12"), {"STANDIN_CUINIT": "34"}, "cuInit gives CUresult 34"),
        (("libcuda.so.1", "libcudart.so.12"), {"STANDIN_NO_DEVICE": "1"}, "libcudart.so.12: shows no device"),
        (("libcudart.so.12",), {}, "libcuda.so.1 cannot be loaded"),
    ],
)
def test_where_it_is_looked_for(
    path: Path, tmp_path: Path, names: tuple[str, ...], environment: dict[str, str], expected: str
) -> None:
    for name in names:
        shutil.copy(path, tmp_path / name)
    code = (
        "from edgexai.engine.cuda import open_cuda\n"
        "from edgexai.errors import MissingCapability\n"
        "try:\n    print(open_cuda().gpu().name)\n"
        "except MissingCapability as error:\n    print(error)\n"
    )
    env = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path), **environment}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    if "libcuda.so.1" not in names and "Stand-in" not in done.stdout and expected not in done.stdout:
        pytest.skip("a driver is here")
    assert expected in done.stdout
