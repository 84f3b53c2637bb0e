"""Writes the report of a run folder: ``report.html``, ``card.md`` and ``measurements.csv``.

The page is one file without scripts, fonts or any outside resource. Every printed number is a row of the run (it links
to its line in the appendix) or is counted on the stored pictures, and says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from edgexai.measure.flags import FLAGS
from edgexai.report import corruptions, curves, headline, pictures, section_tables, tables
from edgexai.report.beside import paired, row_words
from edgexai.report.card import model_card
from edgexai.report.csv_rows import to_csv
from edgexai.report.evidence import CUE_SPLITS, Evidence
from edgexai.report.folder import RunFolder, read_run, write_whole
from edgexai.report.words import (
    BOARD_METRIC_NAMES,
    EXPLAINER_NAMES,
    arm_name,
    base_network,
    detail_text,
    engine_name,
    interval_text,
    value_text,
)


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _reasons(evidence: Evidence) -> dict[str, Any]:
    if evidence.deployed is None:
        return {"tables": [], "others": [], "deletion": []}
    steps = [evidence.deployed, *(s for s in evidence.stages if s != evidence.deployed)]
    found = [section_tables.explain_table(evidence, arm=arm, artefact=artefact) for arm, artefact in steps]
    deletion = [section_tables.deletion_table(evidence, arm=arm, artefact=artefact) for arm, artefact in steps]
    return {
        "tables": [t for t in found[:1] if t.lines],
        "others": [t for t in found[1:] if t.lines],
        "deletion": [t for t in deletion if t.lines],
    }


def _refinement(run: RunFolder, evidence: Evidence) -> dict[str, Any]:
    arms = [a for a in ("refined", "control") if a in run.refinements]
    arms += [a for a in run.refinements if a not in arms]
    return {
        "charts": curves.flagged_chart(run, evidence),
        "shares": [(arm_name(evidence, a), per) for a, per in curves.flagged_share(run).items()],
        "arms": [
            {
                "name": arm_name(evidence, a),
                "strips": pictures.refinement_strips(run, a),
                "frequency": pictures.frequency_tiles(run, a),
            }
            for a in arms
        ],
        "seen": bool(run.refinements) or "refined" in evidence.arms,
    }


def _flags(evidence: Evidence) -> list[dict[str, Any]]:
    raised: dict[str, list[str]] = {}
    for item in evidence.items:
        for name in item.row.flags:
            raised.setdefault(name, []).append(item.id)
    found = []
    for name, ids in raised.items():
        flag = FLAGS.get(name)
        text = (flag.raised_if, flag.means, flag.do) if flag is not None else ("", "no description of this flag", "")
        found.append({"name": name, "rows": ids, "raised_if": text[0], "means": text[1], "do": text[2]})
    return found


def _evaluations(evidence: Evidence) -> list[tuple[str, str, int, str]]:
    """(network, split, rows, seeds): how often each split was looked at."""
    counts: dict[tuple[str, str], tuple[int, set[str]]] = {}
    for item in evidence.items:
        if item.row.status == "measured":
            key = (engine_name(evidence, item.row.arm, item.row.artefact), item.row.split)
            number, seeds = counts.get(key, (0, set()))
            counts[key] = (number + 1, seeds | ({str(item.row.seed)} if item.row.seed is not None else set()))
    return [(*key, number, ", ".join(sorted(seeds)) or "–") for key, (number, seeds) in counts.items()]


def _table_of(value: object) -> list[tuple[str, str]]:
    if not isinstance(value, Mapping):
        return []
    return [(str(k), v if isinstance(v, str) else json.dumps(v, sort_keys=True)) for k, v in value.items()]


def _cue(evidence: Evidence) -> dict[str, Any]:
    have = {i.row.split for i in evidence.items}
    splits = [s for s in CUE_SPLITS if s in have]
    if not {"aligned", "conflicting"} & have:
        return {"splits": [], "charts": [], "table": None}
    return {
        "splits": splits,
        "charts": curves.cue_chart(evidence, splits),
        "table": section_tables.cue_table(evidence, splits),
    }


def render(run: RunFolder) -> str:
    """The page as text."""
    evidence = Evidence(run.rows, trained=run.trained)
    verdicts = headline.gates(run, evidence)
    deployed = evidence.deployed
    differences = section_tables.difference_table(evidence)
    arms = [a for a in ("pruned", "refined", "natural", "control") if a in run.pictures]
    arms += [a for a in run.pictures if a not in arms]
    if evidence.final_arm in arms:
        arms.sort(key=lambda a: a != evidence.final_arm)
    cue = _cue(evidence)
    appendix = [
        {
            "id": i.id,
            "row": i.row,
            "value": value_text(i.row),
            "interval": interval_text(i.row),
            "detail": detail_text(i.row),
        }
        for i in evidence.items
    ]
    return (
        _environment()
        .get_template("template.html.j2")
        .render(
            run=run,
            deployed=engine_name(evidence, *deployed) if deployed else None,
            gates=verdicts,
            verdict=headline.verdict_words(verdicts),
            figures=headline.headline_figures(evidence),
            path=tables.path_table(evidence),
            differences=differences,
            robust=section_tables.robust_table(evidence, deployed=True),
            robust_others=section_tables.robust_table(evidence, deployed=False),
            robust_charts=curves.robust_charts(evidence),
            corruption=corruptions.corruption_table(evidence),
            corruption_details=corruptions.corruption_details(evidence),
            corruption_charts=corruptions.corruption_chart(evidence),
            reasons=_reasons(evidence),
            road_charts=curves.road_charts(evidence),
            galleries=[pictures.gallery(run, arm) for arm in arms],
            arm_names={a: arm_name(evidence, a) for a in arms},
            base=base_network(evidence),
            scored=sorted({i.row.metric for i in evidence.items}),
            explainer_names=EXPLAINER_NAMES,
            refinement=_refinement(run, evidence),
            refined_differences=[
                line for line in differences.lines if line.name.startswith("refined") and "control" in line.name
            ],
            cue=cue,
            deployment=section_tables.deployment_table(evidence),
            flags=_flags(evidence),
            unmeasured=headline.unmeasured(evidence),
            absent=headline.absent(evidence),
            on_a_board=list(BOARD_METRIC_NAMES.values()),
            boards=[
                {
                    "name": name,
                    "pairs": paired(run.rows, rows),
                    "missing": [(row_words(r), r) for r in rows if r.value is None],
                }
                for name, rows in run.boards.items()
            ],
            on_board=any("tensorrt" in row.runtime.lower() for row in chain(run.rows, *run.boards.values())),
            nodes=[n for n in run.lock.get("nodes", []) if isinstance(n, dict)],
            environment=_table_of(run.lock.get("environment")),
            recipe_text=json.dumps(run.recipe, indent=1) if run.recipe else "",
            evaluations=_evaluations(evidence),
            runtimes=sorted({i.row.runtime for i in evidence.items if i.row.runtime}),
            appendix=appendix,
            Markup=Markup,
        )
    )


def write_report(run: Path) -> Path:
    """Reads a run folder and writes its report, model card and CSV beside the rows.

    Args:
        run: the run folder; ``recipe.lock.json``, ``measurements.jsonl`` and ``pictures/`` may each be absent.

    Returns:
        Path of ``report.html``.

    Raises:
        UserError: no such folder, or a damaged file in it (named, with its line).
    """
    folder = read_run(run)
    page, card = render(folder), model_card(folder)
    write_whole(run / "measurements.csv", to_csv(folder.rows))
    write_whole(run / "card.md", card)
    write_whole(run / "report.html", page)
    return run / "report.html"
