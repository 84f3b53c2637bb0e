"""Pruning to a latency: whether the engine that comes out is as fast as was asked, measured again in a fresh process.

Asked is a share of the dense network's latency. The search is the recipe's own (``recipe.stages_prune_latency``);
afterwards both files are timed in turn in a new Python, so that neither the search's choice of a lucky measurement nor
the load of the machine at that time is in the figure.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from edgexai.bench.line import Line, Seconds, ratio_line
from edgexai.bench.workshop import SEED, SIZE, Workshop
from edgexai.engine.onnx_runtime import OnnxRuntimeEngine
from edgexai.errors import UserError
from edgexai.export.onnx_graph import export_onnx
from edgexai.measure.latency import compare_latency
from edgexai.prune.channel import prune_channels
from edgexai.prune.target import LatencyTarget
from edgexai.recipe.stages_prune_latency import EngineLatency

_OPSET, _SALIENCY, _ROUND_TO, _WARMUP, _SECONDS = 18, "cam", 16, 20, 3.0
_AIM = "1 +- 0.1"


def latency_as_asked(workshop: Workshop) -> list[Line]:
    """One line per network and share."""
    return [
        target_line(workshop, name, share)
        for name in workshop.settings.networks
        for share in workshop.settings.target_shares
    ]


def target_line(workshop: Workshop, name: str, share: float) -> Line:
    """Latency measured again / asked.

    Args:
        share: asked, of the dense network's latency.
    """
    net, repeats = workshop.net(name), workshop.settings.target_repeats
    work = workshop.folder / f"target-{name}-{share:g}"
    work.mkdir()
    measure = EngineLatency(
        net, work=work, opset=_OPSET, saliency=_SALIENCY, progress=lambda event: None, repeats=repeats
    )
    asked = share * measure(net)
    what = f"latency measured again / asked, {name}, asked {share:g} of dense"
    method = (
        f"{name}, untrained, widths in multiples of {_ROUND_TO} (group L2) searched until the fp32 engine takes "
        f"{share:g} of the dense network's latency within 10 %, batch 1, each candidate in turn with the dense one. "
        f"Then a fresh process: at least {repeats} calls of both files in turn, for {_SECONDS:g} s."
    )
    try:
        target = LatencyTarget(asked, measure)
        small, report = prune_channels(net, importance="group_l2", round_to=_ROUND_TO, seed=SEED, latency=target)
    except UserError as error:
        return Line("target", what, None, aim=_AIM, method=method, reason="; ".join((error.what, *error.problems)))
    paths = (work / "dense.onnx", work / "small.onnx")
    for part, path in zip((net, small), paths, strict=True):
        export_onnx(part, path, opset=_OPSET, saliency=_SALIENCY, metadata={})
    dense_s, small_s = again(*paths, repeats=repeats)
    return ratio_line(
        "target",
        what,
        small_s,
        dense_s,
        divide_by=share,
        threads=1,
        aim=_AIM,
        method=method,
        detail={
            "asked_ms": asked,
            "found_ms": float(report.latency_ms or 0),
            "share_asked": share,
            "macs_ratio": report.macs_ratio,
            "widths_after": " ".join(map(str, report.widths_after)),
        },
    )


def again(dense: Path, small: Path, *, repeats: int) -> tuple[Seconds, Seconds]:
    """Seconds of every call of both files, in turn, from a Python of its own.

    Raises:
        RuntimeError: it failed.
    """
    code = (
        "from pathlib import Path; from edgexai.bench.latency_target import time_both; "
        f"time_both(Path({str(dense)!r}), Path({str(small)!r}), repeats={repeats})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"timing {small.name} again ended with {done.returncode}: {done.stderr[-500:]}")
    found = json.loads(done.stdout)
    return np.asarray(found["dense"]), np.asarray(found["small"])


def time_both(dense: Path, small: Path, *, repeats: int) -> None:
    """Writes ``{"dense": [...], "small": [...]}``, seconds of each call, to standard output."""
    images = np.random.default_rng(SEED).random((8, 3, SIZE, SIZE), dtype=np.float32)
    engines = {"dense": OnnxRuntimeEngine(dense, threads=1), "small": OnnxRuntimeEngine(small, threads=1)}
    times = compare_latency(engines, images, batch=1, warmup=_WARMUP, repeats=repeats, seconds=_SECONDS)
    sys.stdout.write(json.dumps({name: (timing.times_ms / 1000).tolist() for name, timing in times.items()}))
