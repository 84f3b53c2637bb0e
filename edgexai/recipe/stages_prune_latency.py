"""Network -> milliseconds of its fp32 engine, one image, one thread: what a latency-targeted pruning is given.

Convention: every candidate is timed in turn with the dense network, call by call, and its time is the dense network's
own, measured once, times the ratio of the two. A machine that slows down between two candidates therefore does not make
the later one look slower. Of each the lower quartile over seconds counts: what it takes where nobody else has the core,
unless that was so for less than a quarter of the time. A slow moment costs a small network more than a large one, so
that medians name other widths in it than a moment later. Measurements are kept in a file: a run that is killed and
started again must choose the same widths, or its checkpoint would not fit.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edgexai.engine.onnx_runtime import OnnxRuntimeEngine
from edgexai.export.onnx_graph import export_onnx
from edgexai.measure.latency import compare_latency
from edgexai.models.base import Network
from edgexai.types import Images, Progress

_WARMUP, _REPEATS, _SECONDS, _IMAGES = 30, 300, 2.0, 8


class EngineLatency:
    """Callable: network -> ms. Networks are told apart by their widths alone.

    Args:
        dense: what candidates are timed beside.
        work: where files and measurements lie; it exists.
        opset, saliency: of the export, as the deployed file has them.
        progress: told of every measurement.
        repeats, seconds: rounds timed, and for how long at least.
    """

    def __init__(
        self,
        dense: Network,
        *,
        work: Path,
        opset: int,
        saliency: str,
        progress: Progress,
        repeats: int = _REPEATS,
        seconds: float = _SECONDS,
    ) -> None:
        self._dense, self._work, self._opset, self._saliency = dense, work, opset, saliency
        self._progress, self._repeats, self._seconds = progress, repeats, seconds
        self._reference: OnnxRuntimeEngine | None = None

    def __call__(self, net: Network) -> float:
        """Lower quartile, ms, of one call."""
        if net.arch.widths == self._dense.arch.widths:
            return self._dense_ms()
        name = _name(net)
        known = self._known()
        if name not in known:
            base = self._dense_ms()
            engines = {"dense": self._dense_engine(), "candidate": self._engine(net, "candidate.onnx")}
            took = self._times(engines)
            self._keep(name, base * took["candidate"] / took["dense"])
        return self._known()[name]

    def _dense_ms(self) -> float:
        name = _name(self._dense)
        if name not in self._known():
            self._keep(name, self._times({"dense": self._dense_engine()})["dense"])
        return self._known()[name]

    def _times(self, engines: Mapping[str, OnnxRuntimeEngine]) -> dict[str, float]:
        images = self._images()
        times = compare_latency(engines, images, batch=1, warmup=_WARMUP, repeats=self._repeats, seconds=self._seconds)
        return {name: float(np.quantile(timing.times_ms, 0.25)) for name, timing in times.items()}

    def _dense_engine(self) -> OnnxRuntimeEngine:
        if self._reference is None:
            self._reference = self._engine(self._dense, "dense.onnx")
        return self._reference

    def _engine(self, net: Network, file: str) -> OnnxRuntimeEngine:
        path = self._work / file
        export_onnx(copy.deepcopy(net).cpu().eval(), path, opset=self._opset, saliency=self._saliency, metadata={})
        return OnnxRuntimeEngine(path, threads=1)

    def _images(self) -> Images:
        size = self._dense.arch.size
        return np.random.default_rng(0).random((_IMAGES, 3, size, size), dtype=np.float32)

    def _known(self) -> dict[str, float]:
        file = self._work / "latencies.json"
        known: dict[str, float] = json.loads(file.read_text()) if file.is_file() else {}
        return known

    def _keep(self, name: str, ms: float) -> None:
        known = {**self._known(), name: ms}
        aside = self._work / "latencies.json.part"
        aside.write_text(json.dumps(known))
        aside.replace(self._work / "latencies.json")
        self._progress({"what": "latency", "done": len(known), "scalars": {"latency_ms": ms}, "step": len(known)})


def _name(net: Network) -> str:
    return " ".join(map(str, net.arch.widths))
