"""Stand-ins for a machine with a GPU: a CUDA runtime on ordinary memory, and a TensorRT whose engines are ONNX files.

They keep the real ones' rules (see standin_cudart.c): work on a stream happens when the stream is synchronised, every
address must lie in an allocation, a batch must lie in the engine's profile. What an engine computes comes from ONNX
Runtime, so that the runner's answers can be held against it. Nothing here says anything about TensorRT itself.
"""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
import sys
import time
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

HERE = Path(__file__).resolve().parent
_MAGIC = b"STANDIN "


def compiled(folder: Path, *, include: Path | None = None) -> Path:
    """The shared library; skips where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    target = folder / "libstandin.so"
    with_header = [] if include is None else ["-include", "cuda_runtime_api.h", f"-I{include}"]
    command = [compiler, "-std=gnu11", "-Wall", "-Werror", "-shared", "-fPIC", "-O1", *with_header]
    subprocess.run([*command, "-o", str(target), str(HERE / "standin_cudart.c")], check=True)
    return target


def engine_bytes(onnx: bytes, *, batches: tuple[int, int, int]) -> bytes:
    """What the stand-in's builder makes."""
    return _MAGIC + json.dumps({"batches": batches}).encode() + b"\n" + onnx


class _Enum(int):
    name: str

    def __new__(cls, name: str, value: int) -> _Enum:
        made = super().__new__(cls, value)
        made.name = name
        return made


def _enum(names: str) -> SimpleNamespace:
    return SimpleNamespace(**{name: _Enum(name, k) for k, name in enumerate(names.split())})


class Logger:
    """ILogger."""

    WARNING = 2

    def __init__(self) -> None:
        pass


class Engine:
    """ICudaEngine and IEngineInspector."""

    def __init__(self, onnx: bytes, batches: list[int], cuda: ctypes.CDLL, kind: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        self.inputs = {i.name: i.shape for i in self.session.get_inputs()}
        self.outputs = {o.name: o.shape for o in self.session.get_outputs()}
        self.names = [*self.inputs, *self.outputs]
        self.num_io_tensors, self.batches, self.cuda, self.kind = len(self.names), batches, cuda, kind

    def get_tensor_name(self, index: int) -> str:
        return self.names[index]

    def get_tensor_mode(self, name: str) -> int:
        return TENSOR_IO_MODE.INPUT if name in self.inputs else TENSOR_IO_MODE.OUTPUT

    def get_tensor_dtype(self, name: str) -> int:
        return DATA_TYPE.HALF if self.kind == "half" and name == "logits" else DATA_TYPE.FLOAT

    def get_tensor_shape(self, name: str) -> list[int]:
        shape = (self.inputs | self.outputs)[name]
        return [-1 if self.batches[0] != self.batches[2] else self.batches[0], *(int(n) for n in shape[1:])]

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[list[int]]:
        assert profile_index == 0
        return [[n, *self.get_tensor_shape(name)[1:]] for n in self.batches]

    def create_execution_context(self) -> Context | None:
        return None if self.kind == "no memory" else Context(self)


class Context:
    """IExecutionContext."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.batch, self.addresses = engine, 0, {}
        self.kept: list[Any] = []

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        low, _, high = self.engine.get_tensor_profile_shape(name, 0)
        if name not in self.engine.inputs or list(shape[1:]) != low[1:] or not low[0] <= shape[0] <= high[0]:
            return False
        self.batch = shape[0]
        return True

    def infer_shapes(self) -> list[str]:
        return [] if self.batch else list(self.engine.inputs)

    def get_tensor_shape(self, name: str) -> list[int]:
        return [self.batch or -1, *self.engine.get_tensor_shape(name)[1:]]

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self.addresses[name] = memory
        return name in self.engine.names

    def execute_async_v3(self, stream_handle: int) -> bool:
        engine, cuda = self.engine, self.engine.cuda
        sizes = {name: 4 * int(np.prod(self.get_tensor_shape(name))) for name in engine.names}
        if engine.kind == "does not run" or set(self.addresses) != set(engine.names) or not self.batch:
            return False
        if not all(cuda.standin_inside(ctypes.c_void_p(self.addresses[n]), ctypes.c_size_t(sizes[n])) for n in sizes):
            return False
        shapes = {name: tuple(self.get_tensor_shape(name)) for name in engine.names}
        addresses = dict(self.addresses)
        executed.append(self.batch)

        def compute() -> None:
            time.sleep(DELAY_S[0])
            images = np.frombuffer(ctypes.string_at(addresses["images"], sizes["images"]), np.float32)
            results = engine.session.run(list(engine.outputs), {"images": images.reshape(shapes["images"])})
            for name, result in zip(engine.outputs, results, strict=True):
                assert result.shape == shapes[name]
                ctypes.memmove(addresses[name], np.ascontiguousarray(result, np.float32).ctypes.data, sizes[name])

        self.kept.append(ctypes.CFUNCTYPE(None)(compute))
        return bool(cuda.standin_later(self.kept[-1], ctypes.c_void_p(stream_handle)) == 0)


TENSOR_IO_MODE = _enum("NONE INPUT OUTPUT")
DATA_TYPE = _enum("FLOAT HALF INT8")
DELAY_S = [0.0]


def library(cuda: ctypes.CDLL, *, version: str = "10.3.0", kind: str = "", name: str = "tensorrt") -> Any:
    """The stand-in's module; ``kind`` names a fault that it then has."""

    class Runtime:
        DLA_core = -1
        engine_host_code_allowed = False

        def __init__(self, logger: Logger) -> None:
            self.logger = logger
            SEEN.append(self)

        def __bool__(self) -> bool:
            return kind != "hollow"

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> Engine | None:
            if kind == "hollow":
                raise AssertionError("a hollow runtime was used: the real one ends the process here")
            if not serialized_engine.startswith(_MAGIC):
                log = self.logger
                log.log(_Enum("INFO", 3), "nothing to see")  # type: ignore[attr-defined]
                log.log(_Enum("ERROR", 1), "the engine plan file is\nnot compatible")  # type: ignore[attr-defined]
                return None
            head, _, onnx = serialized_engine.partition(b"\n")
            return Engine(onnx, json.loads(head.removeprefix(_MAGIC))["batches"], cuda, kind)

    return SimpleNamespace(
        __name__=name,
        __version__=version,
        ILogger=Logger,
        Runtime=Runtime,
        DataType=DATA_TYPE,
        TensorIOMode=TENSOR_IO_MODE,
    )


def whole_library(cuda: ctypes.CDLL, *, version: str) -> Any:
    """The stand-in with NVIDIA's own parser and builder configuration from TensorRT-RTX; what it builds it can run.

    It has two accelerator cores, and its inspector tells that one of four nodes fell back to the GPU.
    """
    import tensorrt_rtx as rtx

    parsed: list[bytes] = []

    class OnnxParser(rtx.OnnxParser):  # type: ignore[misc]
        def parse(self, model: bytes, path: str | None = None) -> bool:
            parsed.append(model)
            return bool(super().parse(model, path))

    class Config:
        """NVIDIA's, but for the accelerator, which TensorRT-RTX does not have."""

        def __init__(self, real: Any) -> None:
            self.__dict__["real"] = real

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

        def __setattr__(self, name: str, value: Any) -> None:
            self.__dict__[name] = value
            setattr(self.real, name, value)

        def add_optimization_profile(self, profile: Any) -> int:
            self.__dict__["batches"] = [shape[0] for shape in profile.get_shape("images")]
            return int(self.real.add_optimization_profile(profile))

    class Builder(rtx.Builder):  # type: ignore[misc]
        num_DLA_cores = 2  # noqa: N815

        def create_builder_config(self) -> Config:
            real = super().create_builder_config()
            real.set_flag(rtx.BuilderFlag.TF32)  # TensorRT's default
            return Config(real)

        def build_serialized_network(self, network: Any, config: Config) -> Any:
            low, best, high = config.batches
            assert network.get_flag(rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
            assert not config.get_flag(rtx.BuilderFlag.TF32), "float32 was asked for"
            assert config.get_memory_pool_limit(rtx.MemoryPoolType.WORKSPACE) == 512 << 20
            if config.real.default_device_type == rtx.DeviceType.DLA:
                assert low == best == high
                assert config.DLA_core in (0, 1)
                assert config.get_flag(rtx.BuilderFlag.GPU_FALLBACK)
                assert config.profiling_verbosity == rtx.ProfilingVerbosity.DETAILED
            else:
                assert super().build_serialized_network(network, config.real) is not None
            return np.frombuffer(engine_bytes(parsed[-1], batches=(low, best, high)), np.uint8)

    base = library(cuda, version=version)
    Engine.create_engine_inspector = lambda self: INSPECTOR  # type: ignore[attr-defined]
    names = (
        "BuilderFlag DeviceType HardwareCompatibilityLevel ILogger LayerInformationFormat MemoryPoolType "
        "NetworkDefinitionCreationFlag ProfilingVerbosity"
    )
    return SimpleNamespace(
        **{name: getattr(rtx, name) for name in names.split()},
        __version__=version,
        Runtime=base.Runtime,
        TensorIOMode=base.TensorIOMode,
        DataType=DATA_TYPE,
        OnnxParser=OnnxParser,
        Builder=Builder,
    )


def _inspected(layout: Any) -> str:
    layers = [
        {
            "Name": "{ForeignNode[a...c]}",
            "LayerType": "DLA",
            "Metadata": "[ONNX Layer: a]\x1e[ONNX Layer: b]\x1e[ONNX Layer: c]",
        },
        {"Name": "copy", "LayerType": "Reformat", "Metadata": ""},
        {"Name": "d", "LayerType": "ElementWise", "Metadata": "[ONNX Layer: d]"},
    ]
    return json.dumps({"Layers": layers})


INSPECTOR = SimpleNamespace(get_engine_information=_inspected)
SEEN: list[Any] = []
"""Runtimes that were started."""
executed: list[int] = []
"""Of every execution."""


@lru_cache(maxsize=1)
def headers() -> Path | None:
    """A folder with a whole set of NVIDIA's runtime headers, if one is here."""
    folders = [Path(p) / "triton" / "backends" / "nvidia" / "include" for p in sys.path if p]
    folders += [Path("/usr/local/cuda/include")]
    wanted = ("cuda_runtime_api.h", "crt/host_defines.h")
    return next((f for f in folders if all((f / name).is_file() for name in wanted)), None)
