"""Writes a study's folder: ``study.md``, ``study.html``, ``cells.csv``, ``study.json``, ``rows.jsonl``."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from edgexai.config.column import parse_column
from edgexai.config.recipe import Recipe
from edgexai.config.study import Study, TableSpec
from edgexai.recipe.environment import environment
from edgexai.report.folder import write_whole
from edgexai.report.words import ATTACK_NAMES, EXPLAINER_NAMES, metric_name
from edgexai.study.judge import Cell, Judged
from edgexai.study.seeds import OverSeeds
from edgexai.types import Row

_SIGNIFICANT = 0.05
_OWN_NAMES = {
    "confidence": "Confidence",
    "relative_input_stability_median": "Relative input stability",
}


@dataclass(frozen=True)
class Results:
    """Everything a study found.

    Attributes:
        name, study: of the file.
        recipes: arm -> its recipe of the first seed.
        tables: each with its cells, line by line.
        claims, correlations: with verdicts.
        rows: all arms and seeds.
        stage_seconds, stages: computing time of all stages, whenever they ran, and their number.
        seconds: wall time of this call.
        keys: "recipe@seed" -> node -> key.
    """

    name: str
    study: Study
    recipes: Mapping[str, Recipe]
    tables: Sequence[tuple[TableSpec, Sequence[Cell]]]
    claims: Sequence[Judged]
    correlations: Sequence[Judged]
    rows: Sequence[Row]
    stage_seconds: float
    stages: int
    seconds: float
    keys: Mapping[str, Mapping[str, str]]


def write_results(results: Results, folder: Path) -> None:
    """Fills ``folder``, which is made where it is missing; every file is written aside and renamed."""
    folder.mkdir(parents=True, exist_ok=True)
    page = _page(results)
    files = {
        "rows.jsonl": "".join(row.to_json() + "\n" for row in results.rows),
        "cells.csv": _csv(results),
        "study.json": json.dumps(_machine_readable(results), indent=1, ensure_ascii=False) + "\n",
        "study.md": _environment(autoescape=False).get_template("study.md.j2").render(page),
        "study.html": _environment(autoescape=True).get_template("study.html.j2").render(page),
    }
    for name, text in files.items():
        write_whole(folder / name, text)


def number_text(value: float, unit: str) -> str:
    """A value as it is printed: fractions as per cent, small numbers with three significant digits."""
    if unit == "fraction":
        return f"{100 * value:.1f} %"
    if unit in ("count", "bytes"):
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) >= 1000 else f"{value:.3f}"


def difference_text(value: float, unit: str) -> str:
    """A difference with its sign; of fractions in points."""
    if unit == "fraction":
        return f"{100 * value:+.1f}"
    return f"{value:+,.0f}" if unit in ("count", "bytes") else f"{value:+.3f}"


def column_title(column: str) -> str:
    """``"road_gap explainer=ig"`` -> ``"ROAD gap, Integrated gradients"``."""
    metric, wanted = parse_column(column)
    words = {**EXPLAINER_NAMES, **ATTACK_NAMES}
    return ", ".join([_OWN_NAMES.get(metric, metric_name(metric)), *(words.get(v, v) for v in wanted.values())])


def _interval(found: OverSeeds, unit: str, *, signed: bool = False) -> str:
    if found.low is None or found.high is None:
        return "one seed"
    show = difference_text if signed else number_text
    return f"[{show(found.low, unit).removesuffix(' %')}, {show(found.high, unit).removesuffix(' %')}]"


def _page(results: Results) -> dict[str, Any]:
    study = results.study
    tables = []
    for spec, cells in results.tables:
        width = len(spec.columns)
        lines = [cells[k : k + width] for k in range(0, len(cells), width)]
        tables.append(
            {
                "title": spec.title,
                "columns": [column_title(c) for c in spec.columns],
                "n": [max((cell.n for cell in cells[k::width]), default=0) for k in range(width)],
                "lines": [{"title": study.arms[line[0].arm].title, "cells": list(map(_cell, line))} for line in lines],
            }
        )
    found = [(j, "claim") for j in results.claims] + [(j, "correlation") for j in results.correlations]
    return {
        "name": results.name,
        "study": study,
        "artefact": study.artefact,
        "tables": tables,
        "claims": [_judged(j, kind) for j, kind in found],
        "arms": [_arm(results, name) for name in study.arms],
        "hours": results.stage_seconds / 3600,
        "stages": results.stages,
        "environment": environment(),
        "command": f"edgexai study {results.name}",
    }


def _cell(cell: Cell) -> dict[str, Any]:
    if cell.value is None:
        return {"text": "–", "interval": "", "difference": "", "sure": False, "flags": [], "sign": 0}
    difference, sure, sign = "", False, 0
    if cell.difference is not None:
        difference = difference_text(cell.difference.value, cell.unit)
        sure = cell.p_holm is not None and cell.p_holm < _SIGNIFICANT
        sign = (cell.difference.value > 0) - (cell.difference.value < 0)
    return {
        "text": number_text(cell.value.value, cell.unit),
        "interval": _interval(cell.value, cell.unit),
        "difference": difference,
        "sure": sure,
        "flags": list(cell.flags),
        "sign": sign,
    }


def _judged(judged: Judged, kind: str) -> dict[str, Any]:
    """What the page says of a claim, and where its interval lies on a line from -1 to 1."""
    found = judged.found
    out: dict[str, Any] = {**asdict(judged), "kind": kind, "value": "–", "interval": "", "bar": None}
    if found is None:
        return out
    out["value"], out["interval"] = f"{found.value:+.3f}", _interval(found, "unitless", signed=True)
    if found.low is not None and found.high is not None:
        reach = max(abs(found.low), abs(found.high), 1e-12) * 1.1
        out["bar"] = {name: 50 + 50 * at / reach for name, at in _ends(found).items()}
    return out


def _ends(found: OverSeeds) -> dict[str, float]:
    return {"low": found.low or 0.0, "value": found.value, "high": found.high or 0.0}


def _arm(results: Results, name: str) -> dict[str, str]:
    study = results.study
    table = study.arms[name]
    own = study.arms[table.like] if table.like else table
    words = [f"{t}: " + ", ".join(f"{k} = {v}" for k, v in keys.items()) for t, keys in own.tables().items()]
    network = f"the {table.network} network" if table.network else ""
    like = f'recipe of "{own.title}"' if table.like else ""
    return {"name": name, "title": table.title, "how": "; ".join(w for w in (like, network, *words) if w) or "the base"}


def _csv(results: Results) -> str:
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n")
    seeds = results.study.seeds
    names = ["table", "arm", "column", "unit", "n", "value", "low", "high", "difference", "low", "high", "p_holm"]
    write.writerow([*names, "flags", *(f"seed {seed}" for seed in seeds)])
    for spec, cells in results.tables:
        for c in cells:
            value = [c.value.value, c.value.low, c.value.high] if c.value else [None] * 3
            difference = [c.difference.value, c.difference.low, c.difference.high] if c.difference else [None] * 3
            values = c.value.values if c.value else [None] * len(seeds)
            numbers = [*value, *difference, c.p_holm]
            write.writerow([spec.title, c.arm, c.column, c.unit, c.n, *numbers, " ".join(c.flags), *values])
    return out.getvalue()


def _machine_readable(results: Results) -> dict[str, Any]:
    return {
        "name": results.name,
        "study": results.study.model_dump(mode="json"),
        "tables": [
            {"title": spec.title, "cells": [{**asdict(cell), "flags": list(cell.flags)} for cell in cells]}
            for spec, cells in results.tables
        ],
        "claims": [asdict(judged) for judged in results.claims],
        "correlations": [asdict(judged) for judged in results.correlations],
        "stage_seconds": round(results.stage_seconds, 1),
        "stages": results.stages,
        "keys": {name: dict(keys) for name, keys in results.keys.items()},
        "recipes": {
            name: recipe.model_dump(mode="json", exclude_none=True) for name, recipe in results.recipes.items()
        },
        "environment": environment(),
    }


def _environment(*, autoescape: bool) -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
