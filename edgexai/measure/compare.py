"""Arms side by side on the same images: ROAD on images all compared arms get right, paired differences.

A difference is a row of its own with a paired interval and test; a gain is never read off two separate intervals. The
p-values of one pair of arms are one table: ``detail["p_holm"]`` corrects for its length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexai.measure.attack_words import attack_words
from edgexai.measure.faithfulness import LEVELS
from edgexai.measure.paired_tests import holm
from edgexai.measure.rows import Detail, accuracy_row, difference_row, mean_row
from edgexai.types import Row

Verdicts = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Measured:
    """One artefact with the per-image values behind its rows.

    Attributes:
        arm, artefact: as in ``types.Row``; all compared artefacts are engines.
        runtime: as in ``types.Row``.
        verdicts: as ``measure.replay.Replay.verdicts``.
        split: of the explained and attacked images.
    """

    arm: str
    artefact: str
    runtime: str
    verdicts: Verdicts
    split: str


def road_rows(measured: Sequence[Measured], *, seed: int) -> list[Row]:
    """Accuracy under removal and what is read off it, on the images that every artefact gets right.

    ``road_gap`` = mean over levels of (random - most relevant first), ``road_lerf_gap`` = (least - most relevant
    first); larger = the map says more about this predictor. ``road_aopc`` = mean over levels of (unperturbed - most
    relevant first), the unperturbed accuracy being 1 on these images: what the source studies report, but a predictor
    that is lost under any removal scores high whatever its map.
    """
    with_road = [m for m in measured if "road/none/random" in m.verdicts]
    if not with_road:
        return []
    count = with_road[0].verdicts["road/none/random"].shape[1]
    common = np.ones(count, np.bool_)
    for m in with_road:
        common &= m.verdicts["road/base"]
    rows: list[Row] = []
    for m in with_road:
        words: dict[str, Any] = {
            "arm": m.arm, "artefact": m.artefact, "subject": "engine", "runtime": m.runtime,
            "seed": seed, "split": m.split,
        }  # fmt: skip
        random = m.verdicts["road/none/random"][:, common]
        names = sorted({name.split("/")[1] for name in m.verdicts if name.startswith("road/") and name.count("/") == 2})
        anything = bool(common.any())  # without a single image the gaps are still there to say so
        for level, right in zip(LEVELS if anything else (), random if anything else (), strict=True):
            detail: Detail = {"order": "random", "removed": level}
            rows.append(accuracy_row(right, **words, metric="road_acc", detail=detail))
        for name in names:
            if name == "none":
                continue
            most, least = (m.verdicts[f"road/{name}/{order}"][:, common] for order in ("morf", "lerf"))
            for order, curve in (("morf", most), ("lerf", least)) if anything else ():
                for level, right in zip(LEVELS, curve, strict=True):
                    detail = {"explainer": name, "order": order, "removed": level}
                    rows.append(accuracy_row(right, **words, metric="road_acc", detail=detail))
            gap = random.mean(0, dtype=np.float64) - most.mean(0, dtype=np.float64)
            spread = least.mean(0, dtype=np.float64) - most.mean(0, dtype=np.float64)
            control = "random map and centre Gaussian on the same images"
            lost = 1.0 - most.mean(0, dtype=np.float64)
            for metric, values in (("road_gap", gap), ("road_lerf_gap", spread), ("road_aopc", lost)):
                row = mean_row(
                    values, **words, metric=metric, unit="fraction", detail={"explainer": name}, control=control
                )
                if row.status == "skipped":
                    row = replace(row, reason="no explained image is classified correctly by every compared artefact")
                rows.append(row)
    return rows


def difference_rows(one: Measured, other: Measured, *, against: str, seed: int) -> list[Row]:
    """``one`` minus ``other``: accuracies (clean, attacked, corrupted), Gini, share on the sign, ROAD gap.

    Other per-image values, and whatever only one side has, are left alone.
    """
    rows: list[Row] = []
    words: dict[str, Any] = {
        "arm": one.arm, "artefact": one.artefact, "subject": "engine", "runtime": one.runtime,
        "seed": seed, "against": against,
    }  # fmt: skip
    for name in one.verdicts:
        if name not in other.verdicts or one.verdicts[name].shape != other.verdicts[name].shape:
            continue
        a, b = one.verdicts[name], other.verdicts[name]
        kind, _, rest = name.partition("/")
        if kind == "clean":
            rows.append(difference_row(a, b, **words, metric="clean_acc", unit="fraction", split=rest))
        elif kind == "robust":
            detail = attack_words(rest)
            rows.append(
                difference_row(a, b, **words, metric="robust_acc", unit="fraction", split=one.split, detail=detail)
            )
        elif name == "corruption/mean":
            detail = {"corruption": "mean", "severity": "all"}
            rows.append(
                difference_row(a, b, **words, metric="corruption_acc", unit="fraction", split=one.split, detail=detail)
            )
        elif kind in ("gini", "roi") and (~np.isnan(a) & ~np.isnan(b)).any():
            metric = {"gini": "saliency_gini", "roi": "roi_share"}[kind]
            rows.append(difference_row(a, b, **words, metric=metric, split=one.split, detail={"explainer": rest}))
        elif kind == "road" and name.endswith("/morf"):
            explainer = rest.split("/")[0]
            keep = one.verdicts["road/base"] & other.verdicts["road/base"]
            gaps = [(m.verdicts["road/none/random"].mean(0) - m.verdicts[name].mean(0))[keep] for m in (one, other)]
            if keep.any() and explainer not in ("random", "centre_gaussian"):
                detail = {"explainer": explainer}
                rows.append(
                    difference_row(*gaps, **words, metric="road_gap", unit="fraction", split=one.split, detail=detail)
                )
    adjusted = holm([float(row.detail["p"]) for row in rows])
    return [
        replace(row, detail={**row.detail, "p_holm": p, "tests": len(rows)})
        for row, p in zip(rows, adjusted, strict=True)
    ]
