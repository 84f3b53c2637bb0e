"""The runtime "tensorrt" of a recipe: an ONNX file is built, or found built, for this machine's GPU, and started."""

from __future__ import annotations

from pathlib import Path

from edgexai.config.home import default_home
from edgexai.engine.cuda import open_cuda
from edgexai.engine.tensorrt_cache import cached_engine
from edgexai.engine.tensorrt_library import load_tensorrt
from edgexai.engine.tensorrt_options import BuildOptions
from edgexai.engine.tensorrt_run import TensorrtEngine
from edgexai.errors import UserError


def tensorrt_here() -> str:
    """What TensorRT engines of this machine follow from, e.g. "tensorrt 10.3.0 Orin 8.7"; nothing is built.

    Raises:
        MissingCapability: no driver, device or TensorRT here, with what is missing.
    """
    gpu = open_cuda().gpu()  # before TensorRT is touched: see cuda.open_cuda
    return f"tensorrt {load_tensorrt().__version__} {gpu.name} {gpu.compute_capability}"


def start_tensorrt(
    path: Path, *, device: str = "cuda", threads: int = 0, options: BuildOptions | None = None
) -> TensorrtEngine:
    """Builds where needed (``EDGEXAI_HOME/engines``) and starts the engine; never another runtime instead.

    Args:
        path: an ONNX file, or an engine file that is started as it is.
        device: TensorRT has one device, the GPU; "cpu" and "cuda" say where the twin runs and change nothing here.
        threads: of a processor; must be 0.
        options: of the build; ``BuildOptions()`` where None.

    Raises:
        MissingCapability: no driver, device or TensorRT here, with what is missing.
        UserError: the parser refuses the file, or threads were asked for.
    """
    if threads:
        raise UserError(f"engine.threads = {threads}: TensorRT runs on the GPU and takes no threads; leave it at 0")
    tensorrt_here()
    if path.suffix == ".onnx":
        path = cached_engine(path, default_home() / "engines", options=options or BuildOptions())
    return TensorrtEngine(path)
