"""Class by class, the deployed engine: the weakest sign first, its interval drawn in the line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from edgexai.report.evidence import Evidence, Numbered
from edgexai.report.folder import RunFolder
from edgexai.report.tables import Cell, cell
from edgexai.report.words import engine_name

FEW = "few_images"
_WIDTH, _HEIGHT = 220, 14


@dataclass(frozen=True)
class ClassLine:
    """One class: its name, accuracy, interval as a picture, and what it is mostly taken for."""

    name: str
    cell: Cell
    bar: Markup
    taken_for: str


@dataclass(frozen=True)
class ClassTable:
    """Lines from the weakest class to the strongest, of one network on one split.

    Attributes:
        network, split: what was measured.
        lines: one a class, without the flag that ``few`` counts.
        few: classes with too few images ("few_images"): told once, since nearly every class of a small run has too few.
    """

    network: str
    split: str
    lines: Sequence[ClassLine]
    few: int


def class_tables(run: RunFolder, evidence: Evidence) -> list[ClassTable]:
    """One table a split that has "class_acc" rows of the deployed engine; [] where there are none."""
    if evidence.deployed is None:
        return []
    arm, artefact = evidence.deployed
    found = [i for i in evidence.all("class_acc", arm=arm, artefact=artefact) if i.row.value is not None]
    tables = []
    for split in dict.fromkeys(item.row.split for item in found):
        here = [item for item in found if item.row.split == split]
        # Of two classes equally weak, the one with more images is the surer finding.
        here.sort(key=lambda item: (item.row.value, -item.row.n))
        few = sum(FEW in item.row.flags for item in here)
        tables.append(ClassTable(engine_name(evidence, arm, artefact), split, [_line(run, i) for i in here], few))
    return tables


def _line(run: RunFolder, item: Numbered) -> ClassLine:
    detail = item.row.detail
    taken = ""
    if "taken_for" in detail:
        taken = f"{_name(run, detail['taken_for'])}, {detail.get('taken_for_n', '?')} of {item.row.n}"
    shown = cell(item)
    flags = tuple(flag for flag in shown.flags if flag != FEW)
    return ClassLine(_name(run, detail.get("class", "?")), replace(shown, flags=flags), _bar(item), taken)


def _name(run: RunFolder, label: str | int | float) -> str:
    return run.class_name(label) if isinstance(label, int) else str(label)


def _bar(item: Numbered) -> Markup:
    row = item.row
    value = float(row.value or 0.0)
    low, high = (value if bound is None else bound for bound in (row.low, row.high))
    at, left, right = (_WIDTH * min(max(x, 0.0), 1.0) for x in (value, low, high))
    middle = _HEIGHT / 2
    return Markup(
        f'<svg class="range" viewBox="-4 0 {_WIDTH + 8} {_HEIGHT}" aria-hidden="true"><path class="grid" '
        f'd="M0 {middle}H{_WIDTH}"/><path class="span" d="M{left:.1f} {middle}H{right:.1f}"/>'
        f'<circle class="at" cx="{at:.1f}" cy="{middle}" r="3.4"/></svg>'
    )
