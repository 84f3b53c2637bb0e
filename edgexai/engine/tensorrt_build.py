"""ONNX -> a TensorRT engine file with its provenance beside it, on the machine that will run it.

One path for TensorRT 10.3 to 11.4: strongly typed, no precision flag, no calibrator, because precision lives in the
ONNX. Through TensorRT-RTX it also builds without a GPU, as a check of file and builder; what that gives is never run.
Standard library only: this travels to the board.
"""

from __future__ import annotations

import hashlib
import os
import platform
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from edgexai.engine.cuda import open_cuda
from edgexai.engine.onnx_metadata import onnx_metadata
from edgexai.engine.tensorrt_library import TensorRT, last_words, load_tensorrt, recording_logger, without_gpu
from edgexai.engine.tensorrt_options import BuildOptions
from edgexai.engine.tensorrt_parse import Parsed, parse
from edgexai.engine.tensorrt_placement import placement
from edgexai.engine.tensorrt_sidecar import Provenance, sha256_of, sidecar_of
from edgexai.errors import MissingCapability, UserError

if TYPE_CHECKING:
    import tensorrt as trt


def build_engine(
    source: Path,
    target: Path,
    *,
    options: BuildOptions,
    library: TensorRT | None = None,
    timing_cache: Path | None = None,
) -> Provenance:
    """Writes ``target`` and ``<target>.json``; neither is there half-written.

    Args:
        source: an ONNX file as edgexai exports it.
        target: e.g. ``model.engine``; replaced if it exists.
        options: what is asked of the engine.
        library: TensorRT of this machine where None.
        timing_cache: measured layer times, read if it is there and fits, and written; saves time, decides nothing.

    Returns:
        What the sidecar says. Between the two renames an earlier sidecar does not fit, and ``read_sidecar`` says so.

    Raises:
        UserError: the file is missing or refused (with node, operator and reason), or the options do not fit it.
        MissingCapability: no TensorRT, no GPU, an option that this version or board does not have, or the build fails.
    """
    card = {}
    if library is None or not without_gpu(library):
        card = asdict(open_cuda().gpu())  # before TensorRT is touched: see cuda.open_cuda
        library = library or load_tensorrt()
    began = perf_counter()
    parsed = parse(library, source)
    config = _configured(library, parsed, options, source)
    if timing_cache is not None:
        _read_timings(config, timing_cache)
    serialised = parsed.builder.build_serialized_network(parsed.network, config)
    if serialised is None or not serialised.nbytes:
        raise MissingCapability(
            f"{source.name}: TensorRT {library.__version__} parsed it and could not build it",
            problems=last_words(parsed.logged),
            next_step="fewer wishes: another workspace_mib, hardware, version_compatible or dla_core",
        )
    content = bytes(memoryview(serialised))
    seconds = perf_counter() - began
    if timing_cache is not None:
        _write_timings(config, timing_cache)
    provenance = Provenance(
        engine_sha256=hashlib.sha256(content).hexdigest(),
        engine_bytes=len(content),
        onnx_sha256=sha256_of(source),
        library=library.__name__,
        tensorrt=library.__version__,
        gpu=card,
        platform=platform.machine(),
        shapes=_shapes(parsed, options),
        options=options.to_json(),
        build_seconds=round(seconds, 3),
        placement=_placement(library, content, options) if options.dla_core is not None and card else {},
        warnings=list(dict.fromkeys(parsed.logged))[:50],
        metadata=onnx_metadata(source),
    )
    replace_file(target, content)
    replace_file(sidecar_of(target), provenance.to_json().encode())
    return provenance


def replace_file(target: Path, content: bytes) -> None:
    """Written aside, then renamed: whoever looks sees the old file or the new one."""
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, target)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise UserError(f"{target}: cannot be written: {error.strerror or error}") from error


def _configured(library: TensorRT, parsed: Parsed, options: BuildOptions, source: Path) -> trt.IBuilderConfig:
    config = parsed.builder.create_builder_config()
    if config is None:
        raise MissingCapability(f"TensorRT {library.__version__} makes no build configuration")
    config.set_memory_pool_limit(library.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    config.builder_optimization_level = options.optimization_level
    if options.tf32:
        config.set_flag(library.BuilderFlag.TF32)
    else:
        config.clear_flag(library.BuilderFlag.TF32)
    if options.version_compatible:
        config.set_flag(library.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware != "none":
        _ask_for_hardware(library, parsed, config, options.hardware)
    if options.dla_core is not None:
        _ask_for_dla(library, parsed, config, options)
    profile = parsed.builder.create_optimization_profile()
    low, best, high = _image_shapes(parsed, options, source)
    profile.set_shape("images", low, best, high)
    if config.add_optimization_profile(profile) < 0:
        raise UserError(f"TensorRT refuses the batches {options.batches}", problems=last_words(parsed.logged))
    return config


def _ask_for_hardware(library: TensorRT, parsed: Parsed, config: trt.IBuilderConfig, wanted: str) -> None:
    # SAME_COMPUTE_CAPABILITY came after 10.3.
    level: trt.HardwareCompatibilityLevel | None = getattr(library.HardwareCompatibilityLevel, wanted.upper(), None)
    if level is None:
        raise MissingCapability(
            f'TensorRT {library.__version__} has no hardware compatibility "{wanted}"',
            next_step='use "none" or "ampere_plus", or a newer TensorRT',
        )
    config.hardware_compatibility_level = level
    # Where it is unsupported, the setter warns and changes nothing.
    if int(config.hardware_compatibility_level) != int(level):
        raise MissingCapability(
            f'{library.__name__} {library.__version__} does not build for hardware "{wanted}" here',
            problems=last_words(parsed.logged),
            next_step='hardware = "none"',
        )


def _ask_for_dla(library: TensorRT, parsed: Parsed, config: trt.IBuilderConfig, options: BuildOptions) -> None:
    cores = parsed.builder.num_DLA_cores
    core = options.dla_core
    if core is None or core >= cores:
        raise MissingCapability(
            f"dla_core = {core}: TensorRT {library.__version__} sees {cores} accelerator cores here",
            next_step="Orin NX and AGX Orin have two with TensorRT up to 10.7, AGX Orin again from 11.4.1; else build "
            "for the GPU",
        )
    config.default_device_type = library.DeviceType.DLA
    config.DLA_core = core
    if config.DLA_core != core:
        raise MissingCapability(
            f"dla_core = {core}: TensorRT {library.__version__} does not take it", problems=last_words(parsed.logged)
        )
    config.profiling_verbosity = library.ProfilingVerbosity.DETAILED  # else the inspector tells no layer types
    if options.dla_fallback:
        config.set_flag(library.BuilderFlag.GPU_FALLBACK)
    else:
        config.clear_flag(library.BuilderFlag.GPU_FALLBACK)


def _image_shapes(parsed: Parsed, options: BuildOptions, source: Path) -> list[tuple[int, ...]]:
    batch, *rest = parsed.inputs["images"]
    if batch != -1 and options.batches != (batch, batch, batch):
        raise UserError(
            f"{source.name} takes batches of {batch} only; asked for {options.batches}",
            next_step="export it with a dynamic batch, as edgexai does",
        )
    return [(n, *rest) for n in options.batches]


def _shapes(parsed: Parsed, options: BuildOptions) -> dict[str, list[list[int]] | list[int]]:
    _, *rest = parsed.inputs["images"]
    outputs = {name: list(shape) for name, shape in parsed.outputs.items()}
    return {"images": [[n, *rest] for n in options.batches], **outputs}


def _placement(library: TensorRT, content: bytes, options: BuildOptions) -> dict[str, object]:
    """Asks the engine itself where its layers went."""
    logger, logged = recording_logger(library)
    runtime = library.Runtime(logger)
    runtime.DLA_core = options.dla_core or 0
    runtime.engine_host_code_allowed = options.version_compatible
    engine = runtime.deserialize_cuda_engine(content)
    inspector = None if engine is None else engine.create_engine_inspector()
    if inspector is None:
        raise MissingCapability("TensorRT cannot look into the engine it has just built", problems=last_words(logged))
    return placement(inspector.get_engine_information(library.LayerInformationFormat.JSON)).to_json()


def _read_timings(config: trt.IBuilderConfig, path: Path) -> None:
    """From an earlier build where that fits; else from nothing."""
    earlier = path.read_bytes() if path.is_file() else b""
    for content in dict.fromkeys((earlier, b"")):
        cache = config.create_timing_cache(content)
        # ignore_mismatch=False: times of another device or version are refused
        if cache is not None and config.set_timing_cache(cache, False):
            return


def _write_timings(config: trt.IBuilderConfig, path: Path) -> None:
    cache = config.get_timing_cache()
    content = None if cache is None else cache.serialize()
    if content is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, bytes(memoryview(content)))
