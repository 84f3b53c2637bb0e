"""Makes golden vectors: what the deployed engine says here, and limits from building the same network again."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgexai.board.golden import Golden, departure, map_departure, map_parts
from edgexai.board.rebuilds import Rebuild, rebuilds
from edgexai.board.tolerance import CONFIDENCE, ERROR_RATE, limits, words
from edgexai.errors import UserError
from edgexai.measure.drift import decision_agreement
from edgexai.types import Images, Labels, Progress

_LARGEST = 4096


def make_golden(
    deployed: Path,
    fp32: Path,
    images: Images,
    labels: Labels,
    *,
    artefact: str,
    n_maps: int,
    calibration: Callable[[int], Images],
    method: str,
    repeats: int,
    runtime: str,
    progress: Progress,
) -> Golden:
    """Runs the engine on ``images``, rebuilds it, and derives the limits.

    Args:
        deployed: the ONNX file that goes to the board.
        fp32: the float file it was quantised from; ``deployed`` itself where nothing was quantised.
        images: (n,3,H,W) in [0,1], whole 8-bit levels.
        labels: (n,).
        artefact: "fp32", "fp16" or "int8-tensorrt".
        n_maps: of how many leading images the saliency output is kept.
        calibration: k -> images of the k-th other calibration draw.
        method: how the int8 file was calibrated.
        repeats: recalibrations, where the file is int8.
        runtime: what ran it here, in words.

    Raises:
        UserError: too few or too many images.
    """
    if not 32 <= len(images) <= _LARGEST:
        raise UserError(f"{len(images)} golden images; allowed: 32 to {_LARGEST}")
    logits, maps = Rebuild("golden", deployed).run(images, n_maps=n_maps)
    found = []
    total = 3 + (artefact != "fp16") + (repeats if artefact.startswith("int8") else 0)
    with tempfile.TemporaryDirectory() as work:
        made = rebuilds(
            fp32, deployed, artefact=artefact, calibration=calibration, method=method, repeats=repeats, work=Path(work)
        )
        for done, rebuild in enumerate(made):
            other, other_maps = rebuild.run(images, n_maps=n_maps)
            statistics = departure(logits, other)
            if maps is not None and other_maps is not None:
                statistics |= map_departure(
                    map_parts(maps, other_maps, same=decision_agreement(logits, other)[: len(maps)])
                )
            found.append((rebuild.kind, statistics))
            progress({"what": f"rebuild: {rebuild.kind}", "done": done + 1, "total": total})
    about: dict[str, Any] = {
        "n": len(images),
        "runtime": runtime,
        "error_rate": ERROR_RATE,
        "confidence": CONFIDENCE,
        "rule": words(),
        "rebuilds": [{"kind": kind, "statistics": statistics} for kind, statistics in found],
    }
    return Golden(images, labels, logits, maps, limits(found, n=len(images)), about)
