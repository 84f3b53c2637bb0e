"""The comparison as a page and as Markdown: which runs, one table a kind of number, and why a difference is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgexai.report.curves import accuracy_at_eps
from edgexai.report.evidence import BASELINES, Evidence, Numbered, asked
from edgexai.report.figures import Chart, Point, Series, line_chart
from edgexai.report.folder import RunFolder, write_whole
from edgexai.report.headline import gates, verdict_words
from edgexai.report.html import report_environment
from edgexai.report.row_groups import NAMES, row_groups
from edgexai.report.section_tables import words_of_test
from edgexai.report.side_by_side import Compared, Difference, side_by_side, unlike
from edgexai.report.side_by_side_markdown import comparison_markdown
from edgexai.report.tables import Cell, cell
from edgexai.report.words import (
    ATTACK_NAMES,
    EXPLAINER_NAMES,
    HIGHER_IS_BETTER,
    base_metric,
    engine_name,
    interval_text,
    metric_name,
    number,
)
from edgexai.types import Row

_MARKERS = ("circle", "square", "diamond", "triangle")
_COLOURS = ("natural", "pruned", "refined", "int8", "control")


@dataclass(frozen=True)
class Pairs:
    """What the values per image say of one run against the first: rows, or the reason why there are none."""

    rows: Sequence[Row]
    reason: str


@dataclass(frozen=True)
class _Word:
    """A difference in words: text, interval, "up", "down" or "" (better, worse, undecided), and why it is missing."""

    text: str
    interval: str
    way: str
    reason: str


def write_comparison(runs: Sequence[RunFolder], folder: Path, *, paired: Sequence[Pairs] = ()) -> Path:
    """Writes ``compare.html`` and ``compare.md`` into ``folder``.

    Args:
        runs: at least two; the first is what the others are held against.
        folder: made where it is missing.
        paired: one a run after the first.

    Returns:
        Path of the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    heads, sections, tables = _heads(runs), _sections(runs), _paired(paired)
    write_whole(folder / "compare.md", comparison_markdown(heads, sections, tables))
    page = report_environment().get_template("compare.html.j2")
    text = page.render(runs=heads, sections=sections, paired=tables, charts=_charts(runs))
    write_whole(folder / "compare.html", text)
    return folder / "compare.html"


def _letters(count: int) -> list[str]:
    return [chr(ord("A") + k) for k in range(count)]


def _heads(runs: Sequence[RunFolder]) -> list[dict[str, Any]]:
    heads = []
    for letter, run in zip(_letters(len(runs)), runs, strict=True):
        evidence = Evidence(run.rows, trained=run.trained)
        verdicts = gates(run, evidence)
        heads.append(
            {
                "letter": letter,
                "name": run.name,
                "title": run.title,
                "digest": str(run.lock.get("run", ""))[:12],
                "seed": str(run.recipe.get("seed", "–")),
                "deployed": engine_name(evidence, *evidence.deployed) if evidence.deployed else "no engine in this run",
                "trained_on": run.trained_on,
                "verdict": verdict_words(verdicts),
                "why": unlike(runs[0], run) if run is not runs[0] else [],
            }
        )
    return heads


def _sections(runs: Sequence[RunFolder]) -> list[dict[str, Any]]:
    sections = []
    compared = side_by_side(runs)
    for kind, title in NAMES.items():
        lines = [_line(c) for c in compared if kind in row_groups(c.example)[:1]]
        if lines:
            sections.append({"id": kind, "title": title.capitalize(), "lines": lines})
    return sections


def _paired(paired: Sequence[Pairs]) -> list[dict[str, Any]]:
    letters = _letters(len(paired) + 1)[1:]
    return [
        {
            "letter": letter,
            "reason": pairs.reason,
            "lines": [_paired_line(row) for row in pairs.rows if row.detail.get("explainer") not in BASELINES],
        }
        for letter, pairs in zip(letters, paired, strict=True)
    ]


def _line(compared: Compared) -> dict[str, Any]:
    example = compared.example
    about = ", ".join(_word(key, value) for key, value in asked(example).items() if key != "map")
    if example.split not in ("test", "none"):
        about = f"{about}, {example.split} split".removeprefix(", ")
    if example.subject == "twin":
        about = f"{about}, twin".removeprefix(", ")
    return {
        "name": metric_name(compared.metric) + (f" ({about})" if about else ""),
        "cells": [_cell(item) for item in compared.items],
        "differences": [_difference(example, difference) for difference in compared.differences],
    }


def _cell(item: Numbered | None) -> tuple[Cell, str]:
    """The cell without its link, since the row is in the run's own report, and the row's name there."""
    found = cell(item)
    return replace(found, row_id="", flags=()), found.row_id


def _word(key: str, value: str | int | float) -> str:
    names = {"explainer": EXPLAINER_NAMES, "attack": ATTACK_NAMES}.get(key, {})
    if key in ("explainer", "attack", "order", "substrate", "statistic", "source", "corruption"):
        return names.get(str(value), str(value)).replace("_", " ")
    return f"{key.replace('_', ' ')} {value}"


def _difference(example: Row, difference: Difference) -> _Word:
    if difference.value is None:
        return _Word("not subtracted", "", "", difference.reason)
    interval = ""
    if difference.low is not None and difference.high is not None:
        bounds = replace(example, metric=f"{example.metric}_difference", low=difference.low, high=difference.high)
        interval = interval_text(bounds)
    better = HIGHER_IS_BETTER.get(example.metric)
    way = ""
    if difference.excludes_zero and better is not None:
        way = "up" if (difference.value > 0) == better else "down"
    return _Word(number(difference.value, example.unit, difference=True), interval, way, "")


def _paired_line(row: Row) -> dict[str, Any]:
    base = base_metric(row.metric)
    about = ", ".join(_word(k, v) for k, v in asked(row).items() if k != "against")
    shown = Difference(row.value, row.low, row.high)
    name = metric_name(base) + (f" ({about})" if about else "")
    if row.split != "test":
        name += f", {row.split} split"
    example = Row(row.arm, row.artefact, row.subject, base, row.value, row.unit, row.n)
    return {"name": name, "difference": _difference(example, shown), "n": row.n, "test": words_of_test(row)}


def _charts(runs: Sequence[RunFolder]) -> list[Chart]:
    charts = []
    letters = _letters(len(runs))
    evidences = [Evidence(run.rows, trained=run.trained) for run in runs]
    attacks = [a for a in ("pgd", "square", "noise") if any(a in e.values("robust_acc", "attack") for e in evidences)]
    for attack in attacks:
        series = []
        for k, (letter, evidence) in enumerate(zip(letters, evidences, strict=True)):
            if evidence.deployed is not None:
                points = [_unlinked(p) for p in accuracy_at_eps(evidence, *evidence.deployed, attack)]
                colour, mark = _COLOURS[k % len(_COLOURS)], _MARKERS[k % len(_MARKERS)]
                series.append(Series(f"{letter}: {runs[k].name}", colour, points, marker=mark))
        ticks = sorted({p.x for s in series for p in s.points})
        if len(ticks) > 1:
            names = [(x, f"{x:g}/255" if x else "0") for x in ticks]
            title = f"Under {ATTACK_NAMES.get(attack, attack)}"
            charts.append(line_chart(title, series, x_label="eps (pixels)", y_label="accuracy", x_ticks=names))
    return charts


def _unlinked(point: Point) -> Point:
    return replace(point, row_id="")
