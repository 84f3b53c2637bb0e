"""What the export and engine stages judge on validation images: calibrations of int8, and the saliency output.

The map of the twin is CAM or the plain gradient of the class that the twin chooses; images on which the file decides
otherwise are left out, since another class has another map, and the parity gate counts them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgexai.engine.onnx_runtime import OnnxRuntimeEngine
from edgexai.engine.twin import Twin
from edgexai.errors import GateFailed
from edgexai.explain.cam import cam
from edgexai.explain.gradient import vanilla_gradient
from edgexai.export import FLAVOURS
from edgexai.export.choose import Score, choose_calibration
from edgexai.measure.accuracy import logits_of
from edgexai.measure.drift import decision_agreement, map_rank_correlation, topk_overlap
from edgexai.measure.rows import mean_row
from edgexai.models.base import Network
from edgexai.recipe.job import Job
from edgexai.types import Images, Maps, Row, Split

_JUDGED = 256
_TOP = 0.2
_LEAST = {"fp32": 0.95, "fp16": 0.95, "int8-tensorrt": 0.85, "int8-x86": 0.85}
"""Mean rank correlation of a gradient output with the twin's; int8 moves the places where a ReLU opens."""


def calibrated(job: Job, net: Network, val: Split, fp32: Path, images: Images) -> str:
    """The calibration of the recipe; for "auto" the one chosen on validation images, with all scores kept."""
    asked = str(job.table.get("calibration", "max"))
    if asked == "max":
        return asked
    scores: dict[str, Score] = {}
    if asked == "auto":
        twin = Twin(net)
        reference = twin(val.as_float())

        def score(method: str) -> Score:
            path = job.work / f"{method}.onnx"
            FLAVOURS["int8-tensorrt"].load()(
                fp32, path, flavour="int8-tensorrt", images=images, metadata={}, calibration=method
            )
            run = OnnxRuntimeEngine(path)
            same = decision_agreement(reference, logits_of(run, val.as_float()))
            rank = np.array([]) if "saliency" not in run.outputs else compared(twin, run, val)[0]
            rank = rank[~np.isnan(rank)]
            return Score(float(same.mean()), float(rank.mean()) if rank.size else float("nan"))

        asked, scores = choose_calibration(score)
    found = {m: {"agreement": s.agreement, "map_correlation": _number(s.map_correlation)} for m, s in scores.items()}
    summary = {"calibration": asked, "n": len(val), "candidates": found}
    (job.out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    return asked


def calibration_rows(job: Job) -> list[Row]:
    """What every calibration that was tried did; none where the recipe names one."""
    path = job.inputs["export"] / "summary.json"
    summary: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    rows: list[Row] = []
    for method, score in summary.get("candidates", {}).items():
        chosen = "yes" if method == summary["calibration"] else "no"
        words: dict[str, Any] = {"arm": job.arm, "artefact": "int8-tensorrt", "subject": "engine", "split": "val"}
        words |= {"n": summary["n"], "detail": {"calibration": method, "chosen": chosen}}
        rows.append(Row(**words, metric="calibration_agreement", value=score["agreement"], unit="fraction"))
        if score["map_correlation"] is not None:
            rows.append(Row(**words, metric="calibration_fidelity", value=score["map_correlation"], unit="unitless"))
    return rows


def fidelity_rows(job: Job, twin: Twin, artefact: str, run: Any, val: Split) -> list[Row]:
    """Rank correlation and overlap of the file's saliency output with the twin's map: the saliency gate.

    Raises:
        GateFailed: the mean rank correlation is below the recipe's, or the default, threshold.
    """
    if "saliency" not in run.outputs:
        return []
    rank, overlap = compared(twin, run, val)
    explainer = saliency_of(run)
    words: dict[str, Any] = {"arm": job.arm, "artefact": artefact, "subject": "engine", "split": "val"}
    words |= {"seed": job.seed, "runtime": run.runtime, "detail": {"explainer": explainer, "against": "twin"}}
    rows = [
        mean_row(rank, **words, metric="saliency_fidelity"),
        mean_row(overlap, **words, metric="saliency_top20_overlap", unit="fraction"),
    ]
    asked = job.table["min_fidelity"]
    least = _LEAST[artefact] if asked is None else float(asked)
    found = rows[0].value
    if found is None or found < least:
        said = "no image has a map that is not constant" if found is None else f"correlates by {found:.4f} in rank"
        shared = 0.0 if rows[1].value is None else rows[1].value
        raise GateFailed(
            f"{job.name}: saliency output of {artefact}: {said} with the twin's map on {rows[0].n} validation images, "
            f"top 20 % shared {shared:.1%}; export.min_fidelity asks for {least:.4f}",
            next_step='set export.precision = "fp16" or "fp32", export.saliency = "cam", or a lower min_fidelity',
        )
    return rows


def saliency_of(run: Any) -> str:
    """Which explainer a file's second output is: "cam" or "vg"."""
    return "vg" if run.metadata.get("edgexai.saliency") == "gradient" else "cam"


def compared(twin: Twin, run: Any, val: Split) -> tuple[Any, Any]:
    """Rank correlation and overlap of the top 20 % per image, where file and twin decide alike; NaN: a constant map."""
    index = np.unique(np.linspace(0, len(val) - 1, min(_JUDGED, len(val))).astype(np.int64))
    images = val.take(index).as_float()
    targets = logits_of(twin, images).argmax(1)
    logits, maps = run.with_saliency(images)
    same = logits.argmax(1) == targets
    wanted = _twin_maps(twin, images[same], targets[same], saliency_of(run))
    if not same.any():
        return np.array([]), np.array([])
    return map_rank_correlation(maps[same], wanted), topk_overlap(maps[same], wanted, share=_TOP)


def _twin_maps(twin: Twin, images: Images, targets: Any, explainer: str) -> Maps:
    if not len(images):
        return np.zeros((0, *images.shape[2:]), np.float32)
    function = cam if explainer == "cam" else vanilla_gradient
    given = torch.from_numpy(images).to(twin.device)
    maps: Maps = function(twin.net, given, torch.from_numpy(targets).to(twin.device)).cpu().numpy()
    return maps


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value
