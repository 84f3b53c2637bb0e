"""The same network built again, in every way that may honestly differ between a workstation and a board.

What their logits differ by is the scale on which an engine's departure from the golden vectors is judged. Kinds:

- ``threads``: the deployed file on one and on two threads: another order of sums.
- ``unfused``: the deployed file with the runtime's graph optimisations off: every Q/DQ computed in float, no fused
  kernel; as different as two runtimes may be that both follow the file.
- ``fp16``: layers in half precision, as the export would write them; not where the file is that already.
- ``recalibrated``: int8 only: quantised again, calibrated on other training images.

Not here: a TensorRT engine, which only a board can build.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from edgexai.export import FLAVOURS
from edgexai.measure.accuracy import logits_of
from edgexai.types import Images, Logits, Maps

REPEATED = ("recalibrated",)
"""Kinds with a draw in them, made several times; the others are what they are."""
SINGLE = ("threads", "unfused", "fp16")


@dataclass(frozen=True)
class Rebuild:
    """One way to run the network again.

    Attributes:
        kind: see the module's docstring.
        path: the file.
        threads: of the runtime.
        optimised: with the runtime's graph optimisations.
    """

    kind: str
    path: Path
    threads: int = 1
    optimised: bool = True

    def run(self, images: Images, *, n_maps: int) -> tuple[Logits, Maps | None]:
        """Logits of all images, and the maps of the first ``n_maps`` where the file has a saliency output."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = self.threads, 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if not self.optimised:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session: Any = onnxruntime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
        given = session.get_inputs()[0].name

        def predict(part: Images) -> Logits:
            out: Logits = session.run(["logits"], {given: np.ascontiguousarray(part)})[0]
            return out

        logits = logits_of(predict, images)
        if n_maps < 1 or "saliency" not in [o.name for o in session.get_outputs()]:
            return logits, None
        maps: Maps = session.run(["saliency"], {given: np.ascontiguousarray(images[:n_maps])})[0]
        return logits, maps


def rebuilds(
    fp32: Path,
    deployed: Path,
    *,
    artefact: str,
    calibration: Callable[[int], Images],
    method: str,
    repeats: int,
    work: Path,
) -> Iterator[Rebuild]:
    """The deployed file run in other ways, then the network built again.

    Args:
        fp32: the float export that ``deployed`` was quantised from; ``deployed`` itself where that is float.
        deployed: what the bundle carries.
        artefact: "fp32", "fp16" or "int8-tensorrt".
        calibration: k -> training images of the k-th draw; asked for 0 .. ``repeats`` - 1.
        method: of calibration, as the deployed file's.
        repeats: recalibrations.
        work: folder for the files; they stay there.
    """
    yield Rebuild("threads", deployed, threads=1)
    yield Rebuild("threads", deployed, threads=2)
    yield Rebuild("unfused", deployed, optimised=False)
    if artefact != "fp16":
        half = work / "fp16.onnx"
        FLAVOURS["fp16"].load()(deployed, half, metadata={})
        yield Rebuild("fp16", half)
    if not artefact.startswith("int8"):
        return
    for k in range(repeats):
        path = work / f"recalibrated_{k}.onnx"
        FLAVOURS[artefact].load()(fp32, path, flavour=artefact, images=calibration(k), metadata={}, calibration=method)
        yield Rebuild("recalibrated", path)
