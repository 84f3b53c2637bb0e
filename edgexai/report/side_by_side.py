"""Two or more runs beside each other: the deployed engines' numbers that are of one thing, and what may be subtracted.

Convention: two rows are of one number where metric, subject, split and every detail that was asked for agree (what was
merely counted on the way, such as queries spent, does not count). A difference is the other run minus the first. It is
formed only where both looked at the same images; else the reason stands in its place. Its interval takes the two as
independent (MOVER: Zou and Donner, Statistics in Medicine 2008; of two Wilson intervals it is Newcombe's), which is
wider than one paired by image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgexai.config.coherence import RENDERED
from edgexai.report.evidence import Evidence, Numbered, asked
from edgexai.report.folder import RunFolder
from edgexai.report.words import base_metric
from edgexai.types import Row

_OF_THE_NETWORK = ("macs", "parameters", "macs_removed", "masked_sparsity", "size_bytes")
_TIMED = ("latency_ms", "throughput")
_LEFT_OUT = ("road_acc", "deletion_curve", "insertion_curve", "gate")

Key = tuple[str, str, str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class Difference:
    """The other run minus the first, or why it was not formed.

    Attributes:
        value, low, high: None where there is none; ``low`` and ``high`` also where the value is exact.
        reason: "" where the difference was formed.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""

    @property
    def excludes_zero(self) -> bool:
        """The interval is there and lies on one side of zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Compared:
    """One number in every run.

    Attributes:
        metric: of all of them.
        example: the first row found: its unit and detail stand for all.
        items: one a run; None where it has no such row.
        differences: one a run after the first.
    """

    metric: str
    example: Row
    items: Sequence[Numbered | None]
    differences: Sequence[Difference]


def side_by_side(runs: Sequence[RunFolder]) -> list[Compared]:
    """Every number of the deployed engines, in the order of the first run that has it.

    Differences between arms, points of curves, steps of the drift ledger and gate verdicts are left out: they belong to
    one run.

    Args:
        runs: at least two.
    """
    found = [_deployed(run) for run in runs]
    keys = dict.fromkeys(key for rows in found for key in rows)
    compared = []
    for key in keys:
        items = [rows.get(key) for rows in found]
        example = next(item.row for item in items if item is not None)
        others = [_difference(runs[0], run, items[0], item) for run, item in zip(runs[1:], items[1:], strict=True)]
        compared.append(Compared(key[0], example, items, others))
    return compared


def unlike(first: RunFolder, other: RunFolder) -> list[str]:
    """Why no number of the two runs is of the same images; [] where some may be."""
    a, b = _data(first), _data(other)
    if not a or not b:
        return ["a run has no recipe.lock.json, so its data are unknown"]
    names = {"name": "other data set", "size": "other image size", "drop_duplicates": "other test images left out"}
    found = [
        f"{words} ({a.get(key, 'unset')} and {b.get(key, 'unset')})"
        for key, words in names.items()
        if a.get(key) != b.get(key)
    ]
    if not found and _packed(first) != _packed(other) and a.get("name") in RENDERED:
        found.append("the images were rendered anew (other seed or other code)")
    return found


def _data(run: RunFolder) -> Mapping[str, Any]:
    data = run.recipe.get("data", {})
    return data if isinstance(data, dict) else {}


def _packed(run: RunFolder) -> str:
    nodes = run.lock.get("nodes", [])
    return next((str(n.get("digest")) for n in nodes if isinstance(n, dict) and n.get("name") == "data"), "")


def _key(row: Row) -> Key:
    detail = tuple(sorted((k, str(v)) for k, v in asked(row).items()))
    return row.metric, row.subject, row.split, detail


def _deployed(run: RunFolder) -> dict[Key, Numbered]:
    evidence = Evidence(run.rows, trained=run.trained)
    if evidence.deployed is None:
        return {}
    arm, artefact = evidence.deployed
    found: dict[Key, Numbered] = {}
    for item in evidence.items:
        row = item.row
        mine = row.arm == arm and row.artefact in (artefact, "twin")
        whole = row.metric not in _LEFT_OUT and base_metric(row.metric) == row.metric and "step" not in row.detail
        if mine and whole:
            found.setdefault(_key(row), item)
    return found


def _difference(first: RunFolder, other: RunFolder, a: Numbered | None, b: Numbered | None) -> Difference:
    if a is None or b is None:
        return Difference(None, reason="only one of the runs has this row")
    reason = _reason(first, other, a.row, b.row)
    if reason or a.row.value is None or b.row.value is None:
        return Difference(None, reason=reason)
    value = b.row.value - a.row.value
    bounds = (a.row.low, a.row.high, b.row.low, b.row.high)
    if any(bound is None for bound in bounds):
        return Difference(value)
    a_low, a_high, b_low, b_high = (float(bound or 0.0) for bound in bounds)
    down = math.hypot(b.row.value - b_low, a_high - a.row.value)
    up = math.hypot(b_high - b.row.value, a.row.value - a_low)
    return Difference(value, value - down, value + up)


def _reason(first: RunFolder, other: RunFolder, a: Row, b: Row) -> str:
    for row in (a, b):
        if row.value is None:
            return f"{row.status} in one of the runs"
    if a.metric in _OF_THE_NETWORK:
        return ""
    if a.metric in _TIMED:
        machines = [str((run.lock.get("environment") or {}).get("machine", "")) for run in (first, other)]
        return "" if machines[0] == machines[1] != "" else "timed on other machines"
    if why := unlike(first, other):
        return why[0]
    if a.n != b.n:
        return f"other n ({a.n:,} and {b.n:,}): not the same images"
    if a.metric.startswith("road"):
        return "formed on the images that each run's own networks get right"
    if a.seed != b.seed:
        return f"other seed ({a.seed} and {b.seed}): not the same draw of images"
    if a.split != "test" and _packed(first) != _packed(other):
        return f"the {a.split} images differ (other data digest)"
    return ""
