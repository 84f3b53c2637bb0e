"""The drift ledger as a heat-table: a line a step of the path, a column a measure, darker where more has moved.

Convention: rows with ``detail.step`` are of the ledger (``measure.ledger``). Shade 0 is "nothing moved" and 1 the most
that any line of this column moved; agreement counts from 1 downwards, all else from 0 upwards, and an accuracy is no
drift and has no shade. What does not rise above the noise floors (rebuilding, the explainer's seed) is tagged noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgexai.report.evidence import EXPLAINERS, Evidence, Numbered, asked
from edgexai.report.tables import DASH, Cell, cell
from edgexai.report.words import EXPLAINER_NAMES, metric_name

_ORDER = ("step_acc", "agreement", "logit_drift", "map_drift", "top_drift", "centre_shift")
_FIRST = ("step_acc", "agreement", "logit_drift", "map_drift")
_NO_COLUMN = ("step", "against", "floor", "statistic", "map", "samples")

Line = tuple[str, str, str]
Column = tuple[str, str]


@dataclass(frozen=True)
class HeatLine:
    """A step: its name, which noise floor it is ("" for none), and (cell, shade in [0,1] or None) a column."""

    name: str
    floor: str
    cells: Sequence[tuple[Cell, float | None]]


@dataclass(frozen=True)
class HeatTable:
    """Columns (the first names the steps) and lines: the path, then steps against their twin, then noise floors."""

    columns: Sequence[str]
    lines: Sequence[HeatLine]


def ledger(evidence: Evidence) -> list[HeatTable]:
    """The drift ledger: decisions, logits and rank correlation of maps; then the other measures of maps. [] without."""
    items = [item for item in evidence.items if "step" in item.row.detail]
    first = [item for item in items if item.row.metric in _FIRST]
    rest = [item for item in items if item.row.metric not in _FIRST]
    return [_table(part) for part in (first, rest) if part]


def _table(items: Sequence[Numbered]) -> HeatTable:
    columns = sorted(dict.fromkeys(_column(item) for item in items), key=_place)
    found: dict[tuple[Line, Column], Numbered] = {}
    for item in items:
        found.setdefault((_line(item), _column(item)), item)
    most = {c: max((_moved(i) or 0.0 for (_, k), i in found.items() if k == c), default=0.0) for c in columns}
    lines = []
    for line in _lines(items):
        step, against, floor = line
        cells: list[tuple[Cell, float | None]] = []
        for column in columns:
            # An accuracy is of the step alone, so it stands on every line of that step.
            here = found.get((line, column)) or found.get(((step, "", floor), column))
            cells.append((DASH, None) if here is None else (_cell(here), _shade(here, most[column])))
        lines.append(HeatLine(f"{against} → {step}" if against else step, floor, cells))
    return HeatTable(["Step", *(_heading(column) for column in columns)], lines)


def _line(item: Numbered) -> Line:
    detail = item.row.detail
    return str(detail["step"]), str(detail.get("against", "")), str(detail.get("floor", ""))


def _column(item: Numbered) -> Column:
    about = {key: value for key, value in asked(item.row).items() if key not in _NO_COLUMN}
    return item.row.metric, ", ".join(str(value) for value in about.values())


def _place(column: Column) -> tuple[int, str, int]:
    metric, about = column
    return (
        _ORDER.index(metric) if metric in _ORDER else len(_ORDER),
        metric,
        EXPLAINERS.index(about) if about in EXPLAINERS else len(EXPLAINERS),
    )


def _heading(column: Column) -> str:
    metric, about = column
    return metric_name(metric) + (f", {EXPLAINER_NAMES.get(about, about)}" if about else "")


def _lines(items: Sequence[Numbered]) -> list[Line]:
    """Lines of what moved; a step that is compared with nothing is the start of the path."""
    seen = list(dict.fromkeys(_line(item) for item in items))
    compared = {line[0] for line in seen if line[1]}
    lines = [line for line in seen if line[1] or line[0] not in compared]
    first = {
        line[0]: line for line in reversed(lines)
    }  # of two comparisons of a step, the first is with the step before
    return sorted(lines, key=lambda line: 2 if line[2] else 0 if first[line[0]] == line else 1)


def _cell(item: Numbered) -> Cell:
    found = cell(item)
    return replace(found, tags=(*found.tags, "noise")) if item.row.detail.get("above_floor") == "no" else found


def _shade(item: Numbered, most: float) -> float | None:
    moved = _moved(item)
    if moved is None:
        return None
    return moved / most if most > 0 else 0.0


def _moved(item: Numbered) -> float | None:
    row = item.row
    if row.value is None or row.metric.endswith("_acc"):
        return None
    return max(0.0, 1.0 - row.value) if row.metric == "agreement" else abs(row.value)
