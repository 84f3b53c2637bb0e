"""Tables of metrics that have no section of their own, so that one that is added to the measurements is seen at once.

Confidence: a line a network. Maps: a line an explainer, of the deployed engine. A column is a metric with what else
defines it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from edgexai.report.evidence import BASELINES, EXPLAINERS, Evidence, Numbered, asked
from edgexai.report.tables import DASH, Cell, Line, Table, cell
from edgexai.report.words import EXPLAINER_NAMES, base_metric, engine_name, metric_name

_CONFIDENCE = ("calibration_error", "aurc", "selective_", "reject", "known_accept", "auroc", "unknown", "ece")
_SHOWN_ELSEWHERE = (
    "saliency_gini", "saliency_top10_mass", "roi_share", "roi_area", "pointing_game", "road_gap", "road_lerf_gap",
    "road_aopc", "road_acc", "relative_input_stability", "map_rank_correlation", "lime_r2", "deletion_auc",
    "deletion_curve", "insertion_curve",
    "insertion_auc", "deletion_auc_normalised", "insertion_auc_normalised", "saliency_fidelity",
    "saliency_top20_overlap",
)  # fmt: skip

_Key = TypeVar("_Key")


def is_calibration(metric: str) -> bool:
    """The metric says what a confidence is worth. (How an int8 file was calibrated is another matter.)"""
    return metric.startswith(_CONFIDENCE)


def calibration_table(evidence: Evidence) -> Table:
    """Calibration, selective accuracy and unknown classes: a line a network, the deployed one first."""
    items = [i for i in evidence.items if is_calibration(i.row.metric) and _whole(i)]

    def name(item: Numbered) -> tuple[str, str, str]:
        return item.row.arm, item.row.artefact, item.row.split

    places = _pivot(items, name)
    columns = _columns(items)
    lines = []
    for key in sorted(places, key=lambda k: k[:2] != evidence.deployed):
        arm, artefact, split = key
        title = engine_name(evidence, arm, artefact) + ("" if split == "test" else f", {split}")
        colour = "int8" if artefact.startswith("int8") else arm
        lines.append(Line(title, colour, _cells(places[key], columns), strong=(arm, artefact) == evidence.deployed))
    return Table("What its confidence is worth", ["Network", *map(_heading, columns)], lines)


def further_map_table(evidence: Evidence) -> Table:
    """Measures of the deployed engine's maps that the main table has no column for; baselines last."""
    items = []
    if evidence.deployed is not None:
        arm, artefact = evidence.deployed
        items = [
            i
            for i in evidence.items
            if i.row.arm == arm and i.row.artefact in (artefact, "twin")
            and "explainer" in i.row.detail and i.row.metric not in _SHOWN_ELSEWHERE and _whole(i)
        ]  # fmt: skip
        items.sort(key=lambda i: i.row.artefact == "twin")  # the engine's row stands first, hence stays

    def name(item: Numbered) -> str:
        return str(item.row.detail["explainer"])

    places, columns = _pivot(items, name), _columns(items)
    order = (*EXPLAINERS, *(n for n in places if n not in (*EXPLAINERS, *BASELINES)), *BASELINES)
    lines = [
        Line(
            EXPLAINER_NAMES.get(n, n) + (" (baseline)" if n in BASELINES else ""),
            "baseline" if n in BASELINES else "natural",
            _cells(places[n], columns),
        )
        for n in order
        if n in places
    ]
    return Table("Further measures of the maps, deployed engine", ["Map", *map(_heading, columns)], lines)


def _whole(item: Numbered) -> bool:
    """Neither a difference nor a step of the drift ledger."""
    return base_metric(item.row.metric) == item.row.metric and "step" not in item.row.detail


def _column(item: Numbered) -> tuple[str, str]:
    about = {k: v for k, v in asked(item.row).items() if k not in ("explainer", "map", "against")}
    return item.row.metric, ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in about.items())


def _columns(items: Sequence[Numbered]) -> list[tuple[str, str]]:
    return list(dict.fromkeys(_column(item) for item in items))


def _heading(column: tuple[str, str]) -> str:
    return metric_name(column[0]) + (f" ({column[1]})" if column[1] else "")


def _pivot(items: Sequence[Numbered], name: Callable[[Numbered], _Key]) -> dict[_Key, dict[tuple[str, str], Numbered]]:
    found: dict[_Key, dict[tuple[str, str], Numbered]] = {}
    for item in items:
        found.setdefault(name(item), {}).setdefault(_column(item), item)
    return found


def _cells(found: dict[tuple[str, str], Numbered], columns: Sequence[tuple[str, str]]) -> list[Cell]:
    return [cell(found[column]) if column in found else DASH for column in columns]
