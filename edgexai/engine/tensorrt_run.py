"""A TensorRT engine as ``Predict``, with its time on the device told apart from the time a caller waits.

Not yet executed on an NVIDIA GPU: tests run it against a stand-in for TensorRT and for the CUDA runtime. Standard
library and NumPy only: this travels to the board.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgexai.engine.cuda import Cuda, open_cuda
from edgexai.engine.tensorrt_fit import REBUILD, refuse_misfit
from edgexai.engine.tensorrt_library import TensorRT, last_words, load_tensorrt, recording_logger
from edgexai.engine.tensorrt_sidecar import read_sidecar
from edgexai.errors import MissingCapability, ShapeError, UserError
from edgexai.types import Images, Logits, Maps

if TYPE_CHECKING:
    import tensorrt as trt


@dataclass(frozen=True)
class EngineTimes:
    """Repeated calls at one batch size.

    Attributes:
        device_ms: float64 (n,), between CUDA events around the engine alone; copies are not in it.
        end_to_end_ms: float64 (n,), wall-clock of a whole call: copies there and back, and waiting.
        batch: images per call.
    """

    device_ms: NDArray[np.float64]
    end_to_end_ms: NDArray[np.float64]
    batch: int


class TensorrtEngine:
    """Callable: float32 (N,3,H,W) in [0,1] -> logits (N,K). Forward passes only; one call at a time.

    More images than the engine's largest batch are run in parts; an engine of fixed batch has its last part filled up.

    Args:
        path: the engine file; its sidecar is held against it, and an engine of another TensorRT or GPU is refused.
        library, cuda: this machine's own where None.

    Attributes:
        provenance: what the sidecar says; None for a file that came without one.

    Raises:
        MissingCapability: no driver, device or TensorRT; an engine that was built for another version or GPU.
        UserError: no such file, a changed file, or one whose inputs and outputs are not edgexai's.
    """

    def __init__(self, path: Path, *, library: TensorRT | None = None, cuda: Cuda | None = None) -> None:
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        self._cuda = open_cuda() if cuda is None else cuda  # before TensorRT is touched: see cuda.open_cuda
        library = load_tensorrt() if library is None else library
        card = self._cuda.gpu()
        self.path, self.provenance = path, read_sidecar(path)
        if self.provenance is not None:
            refuse_misfit(path, self.provenance, library, card)
        logger, self._logged = recording_logger(library)
        self._engine = self._deserialised(library, logger)
        context = self._engine.create_execution_context()
        if context is None:
            raise MissingCapability(f"{path}: not enough device memory to run it", problems=last_words(self._logged))
        self._context = context
        self._read_shapes(library)
        self.runtime = f"tensorrt {library.__version__} {card.name}"
        self.metadata: dict[str, str] = dict(self.provenance.metadata) if self.provenance else {}
        self._lock, self._owned = threading.Lock(), ExitStack()
        # also when the object is dropped without close()
        self._finalizer = weakref.finalize(self, self._owned.close)
        self._allocate()

    def __call__(self, images: Images) -> Logits:
        """(N,3,H,W) -> (N,K), a fresh array."""
        return self._run(images, ("logits",))["logits"]

    def with_saliency(self, images: Images) -> tuple[Logits, Maps]:
        """Logits and the map that the same forward pass computes for the winning class.

        Raises:
            MissingCapability: the engine was exported without a saliency output.
        """
        if "saliency" not in self.outputs:
            raise MissingCapability(f"{self.path} has no saliency output", next_step='export.saliency = "cam"')
        out = self._run(images, ("logits", "saliency"))
        return out["logits"], out["saliency"]

    def times(self, images: Images, *, warmup: int = 20, repeats: int = 200) -> EngineTimes:
        """Times calls with the same images.

        Args:
            images: (N,3,H,W) with N between 1 and the engine's largest batch.
            warmup: calls thrown away.
            repeats: calls timed, at least 2.
        """
        self._check(images)
        if not self._smallest <= len(images) <= self._largest:
            raise ShapeError(f"{len(images)} images; this engine is timed with {self._smallest} to {self._largest}")
        if warmup < 0 or repeats < 2:
            raise UserError(f"warmup = {warmup}, repeats = {repeats}: at least 0 and 2")
        given, out = np.ascontiguousarray(images), self._fresh(len(images), self.outputs)
        device, whole = np.empty(repeats), np.empty(repeats)
        with self._lock, self._events() as (start, stop):
            for repeat in range(-warmup, repeats):
                before = perf_counter()
                self._pass(given, out, slice(0, len(given)), events=(start, stop))
                after = perf_counter()
                if repeat >= 0:
                    whole[repeat] = 1000 * (after - before)
                    device[repeat] = self._cuda.elapsed_ms(start, stop)
        return EngineTimes(device, whole, len(images))

    def close(self) -> None:
        """Gives device memory back; the engine cannot be called afterwards."""
        self._finalizer()

    def _deserialised(self, library: TensorRT, logger: trt.ILogger) -> trt.ICudaEngine:
        runtime: trt.Runtime | None = library.Runtime(logger)
        if not runtime:
            raise MissingCapability(f"TensorRT {library.__version__} starts no runtime", problems=tuple(self._logged))
        if self.provenance is not None:
            options = self.provenance.options
            # Host code inside an engine is run only where the sidecar vouches for these very bytes.
            if options.get("version_compatible"):
                runtime.engine_host_code_allowed = True
            if options.get("dla_core") is not None:
                runtime.DLA_core = int(options["dla_core"])
        engine = runtime.deserialize_cuda_engine(self.path.read_bytes())
        if not engine:
            raise MissingCapability(
                f"{self.path}: TensorRT {library.__version__} does not load it",
                problems=last_words(self._logged),
                next_step=REBUILD,
            )
        self._kept = runtime, logger  # both must outlive the engine
        return engine

    def _read_shapes(self, library: TensorRT) -> None:
        engine = self._engine
        names = [engine.get_tensor_name(k) for k in range(engine.num_io_tensors)]
        given = [n for n in names if int(engine.get_tensor_mode(n)) == int(library.TensorIOMode.INPUT)]
        self.outputs = [name for name in names if name not in given]
        wrong = [n for n in names if int(engine.get_tensor_dtype(n)) != int(library.DataType.FLOAT)]
        self._shapes = {name: tuple(engine.get_tensor_shape(name))[1:] for name in names}
        if (
            given != ["images"]
            or "logits" not in self.outputs
            or wrong
            or any(min(s) < 1 for s in self._shapes.values())
        ):
            raise UserError(
                f"{self.path}: not an engine as edgexai builds it: inputs {given}, outputs {self.outputs}",
                problems=tuple(f'"{name}" is not float32' for name in wrong),
                next_step=REBUILD,
            )
        low, _, high = engine.get_tensor_profile_shape("images", 0)
        self._smallest, self._largest = low[0], high[0]
        self._batch = 0  # of the last call; 0 = none yet

    def _allocate(self) -> None:
        """Device memory for the largest batch, a stream; kept until ``close``."""
        cuda, owned = self._cuda, self._owned
        self._stream = cuda.create_stream()
        owned.callback(cuda.destroy_stream, self._stream)
        self._addresses: dict[str, int] = {}
        for name in ("images", *self.outputs):
            address = cuda.allocate(4 * self._largest * int(np.prod(self._shapes[name])))
            owned.callback(cuda.free, address)
            self._addresses[name] = address
            if not self._context.set_tensor_address(name, address):
                raise MissingCapability(f'TensorRT refuses the buffer of "{name}"', problems=last_words(self._logged))

    def _run(self, images: Images, wanted: tuple[str, ...]) -> dict[str, NDArray[np.float32]]:
        self._check(images)
        out = self._fresh(len(images), wanted)
        with self._lock:
            for start in range(0, len(images), self._largest):
                part = slice(start, min(start + self._largest, len(images)))
                self._pass(np.ascontiguousarray(images[part]), out, part)
        return out

    def _pass(
        self,
        given: Images,
        out: dict[str, NDArray[np.float32]],
        part: slice,
        events: tuple[int, int] | None = None,
    ) -> None:
        """One execution; ``out[name][part]`` is filled when it returns."""
        n = len(given)
        if n < self._smallest:
            given = np.concatenate([given, np.repeat(given[-1:], self._smallest - n, axis=0)])
        self._set_batch(len(given))
        cuda, stream = self._cuda, self._stream
        cuda.to_device(self._addresses["images"], given, stream=stream)
        if events:
            cuda.record(events[0], stream=stream)
        if not self._context.execute_async_v3(stream):
            raise MissingCapability(f"{self.path}: TensorRT does not run it", problems=last_words(self._logged))
        if events:
            cuda.record(events[1], stream=stream)
        for name, array in out.items():
            cuda.to_host(array[part], self._addresses[name], stream=stream)
        # Until here the copies may still be on their way, also the one out of ``given``.
        cuda.synchronise(stream)

    def _set_batch(self, batch: int) -> None:
        if batch == self._batch:
            return
        if not self._context.set_input_shape("images", (batch, *self._shapes["images"])):
            raise MissingCapability(f"TensorRT refuses a batch of {batch}", problems=last_words(self._logged))
        if unknown := self._context.infer_shapes():
            raise MissingCapability(f"TensorRT does not know the shapes of {unknown}")
        for name in self.outputs:
            found, expected = tuple(self._context.get_tensor_shape(name)), (batch, *self._shapes[name])
            if found != expected:
                raise UserError(f'{self.path}: "{name}" is {found} for a batch of {batch}; expected {expected}')
        self._batch = batch

    def _fresh(self, n: int, names: tuple[str, ...] | list[str]) -> dict[str, NDArray[np.float32]]:
        return {name: np.empty((n, *self._shapes[name]), np.float32) for name in names}

    @contextmanager
    def _events(self) -> Iterator[tuple[int, int]]:
        with ExitStack() as owned:
            pair = []
            for _ in range(2):
                pair.append(self._cuda.create_event())
                owned.callback(self._cuda.destroy_event, pair[-1])
            yield pair[0], pair[1]

    def _check(self, images: Images) -> None:
        if not self._finalizer.alive:
            raise UserError(f"{self.path}: the engine was closed")
        if images.dtype != np.float32 or images.ndim != 4 or images.shape[1:] != self._shapes["images"]:
            raise ShapeError(
                f"images are {images.dtype} {images.shape}; {self.path.name} takes float32 (N, "
                f"{', '.join(map(str, self._shapes['images']))}) in [0,1]"
            )
