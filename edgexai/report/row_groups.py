"""Groups of rows, by which the list of all rows can be filtered."""

from __future__ import annotations

from collections.abc import Sequence

from edgexai.report.other_tables import is_calibration
from edgexai.report.words import base_metric
from edgexai.types import Row

NAMES = {
    "g-accuracy": "accuracy",
    "g-attack": "attacks and corruptions",
    "g-maps": "explanations",
    "g-parity": "parity and drift",
    "g-cost": "cost",
    "g-confidence": "confidence",
    "g-other": "other",
    "g-difference": "differences",
    "g-flagged": "flagged",
    "g-unmeasured": "without a value",
}
"""Class name -> words, in the order in which they are offered."""
_STARTS = {
    "g-accuracy": ("clean_acc", "class_acc"),
    "g-attack": ("robust_acc", "corruption_acc"),
    "g-maps": (
        "saliency_", "roi_", "pointing", "road_", "deletion", "insertion", "lime_", "relative_", "map_rank", "wsl",
        "ssim", "infidelity", "sufficiency", "comprehensiveness", "sensitivity", "max_sensitivity", "energy", "mprt",
    ),
    "g-parity": ("agreement", "logit_drift", "map_drift", "top_drift", "centre_shift", "step_acc", "calibration_"),
    "g-cost": ("latency", "throughput", "macs", "parameters", "size", "masked"),
}  # fmt: skip


def row_groups(row: Row) -> list[str]:
    """Class names of the groups a row is in: one of its kind, then those of its state."""
    metric = base_metric(row.metric)
    kind = "g-confidence" if is_calibration(metric) else "g-other"
    kind = next((name for name, starts in _STARTS.items() if metric.startswith(starts)), kind)
    state = {
        "g-difference": metric != row.metric,
        "g-flagged": bool(row.flags),
        "g-unmeasured": row.value is None,
    }
    return [kind, *(name for name, true in state.items() if true)]


def groups_of(rows: Sequence[Row]) -> list[tuple[str, str, int]]:
    """(class name, words, rows) of every group that is not empty, after "all"."""
    counts = dict.fromkeys(NAMES, 0)
    for row in rows:
        for name in row_groups(row):
            counts[name] += 1
    return [("g-all", "all", len(rows)), *((name, NAMES[name], count) for name, count in counts.items() if count)]
