"""From the values of all images to rows, once: accuracy, attacks, corruptions, explanations, timings, and what a
classifier without a twin cannot be asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexai.data.corrupted import corruption_of
from edgexai.errors import UserError
from edgexai.explain.conventions import CONVENTIONS
from edgexai.measure.compare import Measured, road_rows
from edgexai.measure.confidence import confidence_rows
from edgexai.measure.flags import check
from edgexai.measure.latency import Timing
from edgexai.measure.rows import Detail, accuracy_row, mean_row
from edgexai.measure.subject import Subject
from edgexai.measure.twinless import Plan, main_split
from edgexai.measure.twinless_batch import DELETION_STEPS, THROUGHPUT_BATCHES
from edgexai.measure.twinless_store import Found
from edgexai.types import Images, Logits, Row

_MOST_RESAMPLED = 20_000
TIMED = ("latency_ms", "throughput")
"""Metrics of time: the only rows in which two measurements of one plan differ."""
NO_TWIN = "not available: no twin"
_GRADIENT_ATTACKS = ("fgsm", "pgd", "apgd")
_GRADIENT_EXPLAINERS = ("vg", "ig", "smoothgrad", "gradcam")
_OF_MAPS = (
    ("gini", "saliency_gini", "unitless"),
    ("top", "saliency_top10_mass", "fraction"),
    ("roi", "roi_share", "fraction"),
    ("pointing", "pointing_game", "fraction"),
    ("deletion", "deletion_auc", "unitless"),
    ("insertion", "insertion_auc", "unitless"),
    ("deletion_normalised", "deletion_auc_normalised", "unitless"),
    ("insertion_normalised", "insertion_auc_normalised", "unitless"),
)


def twinless_rows(plan: Plan, found: Found) -> list[Row]:
    """All rows of a plan, flags set.

    Args:
        plan: what was measured.
        found: of ``BatchStore.gather`` or ``merge_parts``.
    """
    words: dict[str, Any] = {
        "arm": plan.arm, "artefact": plan.artefact, "subject": "engine", "runtime": plan.runtime,
    }  # fmt: skip
    about: Detail = {"data": plan.data, "trained_on": plan.trained_on}
    rows: list[Row] = []
    for split in plan.splits:
        rows += [replace(row, detail={**row.detail, **about}) for row in _clean(plan, words, split, found)]
    main = main_split(plan.splits)
    words["split"] = main
    rows += _attacks(plan, words, found.get((main, "noise"), {}) | found.get((main, "square"), {}))
    if (main, "corruption") in found:
        rows += _corruptions(plan, words, found[main, "corruption"])
    if (main, "explain") in found:
        rows += _explanations(plan, words, found[main, "explain"])
    rows += _latency(plan, words, found.get((main, "latency"), {}))
    if plan.arm == "foreign":
        rows += _not_available(words)
    return check(rows)


def _clean(plan: Plan, words: Mapping[str, Any], split: str, found: Found) -> list[Row]:
    values = found[split, "clean"]
    right: NDArray[np.bool_] = values["right"]
    if which := corruption_of(split):
        detail: Detail = {"corruption": which[0], "severity": which[1]}
        return [accuracy_row(right, **words, split=split, metric="corruption_acc", detail=detail)]
    kinds = set(values["kind"].tolist())
    flat = kinds == {"constant"} and np.ptp(values["first"]) == 0
    kind = "constant" if flat else "probabilities" if kinds == {"probabilities"} else "logits"
    rows = [accuracy_row(right, **words, split=split, detail={"output": kind})]
    per_class = []
    for k in np.unique(values["label"]):
        of_class = values["label"] == k
        detail = {"class": plan.classes[k], **_taken_for(plan, values["decided"][of_class & ~right])}
        per_class.append(accuracy_row(right[of_class], **words, metric="class_acc", split=split, detail=detail))
    rows += sorted(per_class, key=lambda row: row.value or 0.0)
    return rows + (_confidence(plan, values, split) if split == main_split(plan.splits) else [])


def _taken_for(plan: Plan, outputs: NDArray[np.int64]) -> Detail:
    """What most of these wrong decisions are for (the lowest output of tied ones), and how many."""
    if not len(outputs):
        return {}
    found, counts = np.unique(outputs, return_counts=True)
    output = int(found[counts.argmax()])
    named = plan.classes[plan.output_of.index(output)] if output in plan.output_of else f"output {output}, no class"
    return {"taken_for": named, "taken_for_n": int(counts.max())}


def _confidence(plan: Plan, values: Mapping[str, NDArray[Any]], split: str) -> list[Row]:
    words: dict[str, Any] = {"arm": plan.arm, "artefact": plan.artefact, "subject": "engine", "runtime": plan.runtime}
    n = len(values["right"])
    if n > _MOST_RESAMPLED:
        reason = f"{n} images: its interval resamples at most {_MOST_RESAMPLED}; measure with --n {_MOST_RESAMPLED}"
        gap = Row(**words, metric="calibration_error", value=None, unit="fraction", n=0, split=split, reason=reason,
                  status="skipped")  # fmt: skip
        return [gap]
    who = Subject(_elsewhere, **words)
    return confidence_rows(
        who, values["confidence"].astype(np.float64), values["right"], split=split, seed=plan.asked.seed
    )


def _elsewhere(images: Images) -> Logits:
    raise UserError("rows are made from what was measured: no engine runs here")


def _attacks(plan: Plan, words: Mapping[str, Any], values: Mapping[str, NDArray[Any]]) -> list[Row]:
    rows = []
    for name, standing in values.items():
        if not name.startswith("robust/"):
            continue
        attack, eps = name.removeprefix("robust/").split("@")
        detail: Detail = {"attack": attack, "eps": eps, "source": "none"}
        if attack == "square":
            spent = int(values["queries"].sum())
            detail |= {"source": "black_box", "queries": plan.asked.square_queries, "queries_spent": spent}
        control = "" if attack == "noise" else "noise of the same norm"
        rows.append(
            accuracy_row(standing, **words, metric="robust_acc", detail=detail, seed=plan.asked.seed, control=control)
        )
    return rows


def _corruptions(plan: Plan, words: Mapping[str, Any], values: Mapping[str, NDArray[Any]]) -> list[Row]:
    rows, rights = [], []
    for name in plan.asked.corruptions:
        for severity in plan.asked.severities:
            right = values[f"corruption/{name}_{severity}"]
            rights.append(right)
            detail: Detail = {"corruption": name, "severity": severity}
            rows.append(accuracy_row(right, **words, metric="corruption_acc", detail=detail, seed=plan.asked.seed))
    mean: NDArray[np.float64] = np.mean(rights, axis=0, dtype=np.float64)
    detail = {"corruption": "mean", "severity": "all"}
    shared: dict[str, Any] = {"metric": "corruption_acc", "unit": "fraction", "seed": plan.asked.seed}
    return [*rows, mean_row(mean, **words, **shared, detail=detail)]


def _explanations(plan: Plan, words: Mapping[str, Any], values: Mapping[str, NDArray[Any]]) -> list[Row]:
    rows: list[Row] = []
    seeded = {**words, "seed": plan.asked.seed}
    if not np.isnan(values["roi_area"]).all():
        rows.append(mean_row(values["roi_area"], **seeded, metric="roi_area", unit="fraction"))
    for name in (*plan.asked.explainers, "random", "centre_gaussian"):
        detail: Detail = {"explainer": name, "map": "baseline" if name in ("random", "centre_gaussian") else "engine"}
        if name in CONVENTIONS and CONVENTIONS[name].offset:
            detail["offset"] = "each map's lowest value counts as 0"
        if name == "lime":
            rows.append(mean_row(values["lime_r2"], **seeded, metric="lime_r2", detail=detail))
        for short, metric, unit in _OF_MAPS:
            if f"{short}/{name}" not in values or (detail["map"] == "baseline" and short in ("gini", "top")):
                continue
            more: Detail = {"substrate": "grey", "steps": DELETION_STEPS} if metric.endswith(("auc", "ised")) else {}
            control = "roi_area: what an even map would give; centre Gaussian" if short == "roi" else ""
            rows.append(
                mean_row(
                    values[f"{short}/{name}"],
                    **seeded,
                    metric=metric,
                    unit=unit,
                    detail={**detail, **more},
                    control=control,
                )
            )
    # Measured.verdicts have the levels first.
    verdicts = {name: array.T for name, array in values.items() if name.startswith("road/")}
    return rows + road_rows(
        [Measured(plan.arm, plan.artefact, plan.runtime, verdicts, str(words["split"]))], seed=plan.asked.seed
    )


def _latency(plan: Plan, words: Mapping[str, Any], values: Mapping[str, NDArray[Any]]) -> list[Row]:
    bare: dict[str, Any] = {**words, "split": "none"}
    rows = [Row(**bare, metric="size_bytes", value=float(plan.engine_bytes), unit="bytes", n=1, interval="exact")]
    if "ms" not in values:
        return rows
    timing = Timing(values["ms"], 1)
    low, high = timing.median_interval_ms
    shared: dict[str, Any] = {**bare, "metric": "latency_ms", "unit": "ms", "n": timing.n}
    median: Detail = {"batch": 1, "statistic": "median"}
    rows.append(Row(**shared, value=timing.median_ms, low=low, high=high, interval="order-statistics", detail=median))
    rows.append(Row(**shared, value=timing.p95_ms, detail={"batch": 1, "statistic": "p95"}))
    tried = [Timing(values[f"ms@{size}"], size) for size in THROUGHPUT_BATCHES if f"ms@{size}" in values]
    best = max(tried, key=lambda t: t.images_per_second)
    shared = {**bare, "metric": "throughput", "unit": "images/s", "n": best.n}
    return [*rows, Row(**shared, value=best.images_per_second, detail={"batch": best.batch})]


def _not_available(words: Mapping[str, Any]) -> list[Row]:
    """The part that needs gradients: one row for each thing that a run with a twin would have."""
    gaps: list[tuple[str, str, Detail]] = [
        ("robust_acc", "fraction", {"attack": attack, "source": "white_box"}) for attack in _GRADIENT_ATTACKS
    ]
    gaps += [
        (metric, unit, {"explainer": name, "map": "twin"})
        for name in _GRADIENT_EXPLAINERS
        for metric, unit in (("saliency_gini", "unitless"), ("roi_share", "fraction"), ("road_gap", "fraction"))
    ]
    gaps += [("agreement", "fraction", {"against": "twin"}), ("logit_drift", "logit", {"against": "twin"})]
    reason = f"{NO_TWIN}; an ONNX file gives no gradients: edgexai recipe run makes an engine together with its twin"
    return [
        Row(**words, metric=metric, value=None, unit=unit, n=0, detail=detail, status="skipped", reason=reason)
        for metric, unit, detail in gaps
    ]
