"""Writes the report of a run folder: ``report.html``, ``card.md`` and ``measurements.csv``.

The page is one file without scripts, fonts or any outside resource. Every printed number is a row of the run (it links
to its line in the appendix) or is counted on the stored pictures, and says so.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from edgexai.measure.flags import FLAGS
from edgexai.report import corruptions, curves, headline, pictures, section_tables, tables
from edgexai.report.beside import paired, row_words
from edgexai.report.card import model_card
from edgexai.report.classes import class_tables
from edgexai.report.csv_rows import to_csv
from edgexai.report.evidence import CUE_SPLITS, Evidence
from edgexai.report.folder import RunFolder, read_run, write_whole
from edgexai.report.galleries import drift_gallery, galleries
from edgexai.report.ledger import ledger
from edgexai.report.other_tables import calibration_table, further_map_table
from edgexai.report.provenance import command, made_by, run_command
from edgexai.report.row_groups import groups_of, row_groups
from edgexai.report.words import (
    BOARD_METRIC_NAMES,
    arm_name,
    base_network,
    detail_text,
    engine_name,
    interval_text,
    value_text,
)


def report_environment() -> Environment:
    """Where the pages' templates are found; everything put into one is escaped."""
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
    """Each flag once, with the rows that raise it; the many lines of the classes count beside them, not among them."""
    raised: dict[str, tuple[list[str], list[str]]] = {}
    for item in evidence.items:
        for name in item.row.flags:
            raised.setdefault(name, ([], []))[item.row.metric == "class_acc"].append(item.id)
    return [_flag(name) | {"rows": ids, "classes": classes} for name, (ids, classes) in raised.items()]


def _flag(name: str) -> dict[str, Any]:
    flag = FLAGS.get(name)
    raised_if, means, do = (flag.raised_if, flag.means, flag.do) if flag else ("", "no description of this flag", "")
    return {"name": name, "raised_if": raised_if, "means": means, "do": do}


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


_SECTIONS = {
    "headline": "What was deployed",
    "path": "",
    "robustness": "Robustness",
    "reasons": "Why it decides",
    "classes": "Class by class",
    "calibration": "What its confidence is worth",
    "pictures": "Signs and maps",
    "drift": "What changed on the way",
    "refinement": "LIME refinement",
    "cue": "The planted cue",
    "deployment": "Cost and parity",
    "flags": "Flags",
    "missing": "What was not measured",
    "repeat": "How to repeat",
    "rows": "All rows",
}


def _sections(evidence: Evidence, absent: Collection[str]) -> list[tuple[str, str]]:
    """(anchor, title) of the sections that this run has, in their order; their numbers count from 1."""
    titles = _SECTIONS | {"path": f"From {base_network(evidence)} to deployed"}
    return [(anchor, title) for anchor, title in titles.items() if anchor not in absent]


def _nodes(run: RunFolder) -> list[dict[str, str]]:
    found = []
    for node in run.lock.get("nodes", []):
        if isinstance(node, dict):
            name, seconds = str(node.get("name", "")), node.get("seconds")
            found.append(
                {
                    "id": _node_id(name),
                    "name": name,
                    "key": str(node.get("key") or "")[:12],
                    "digest": str(node.get("digest") or "")[:12],
                    "seconds": f"{seconds:.1f}" if isinstance(seconds, (int, float)) else "–",
                    "state": str(node.get("state") or ""),
                    "command": command(run, name),
                }
            )
    return found


def _node_id(name: str) -> str:
    return "node-" + name.replace("[", "-").replace("]", "")


def _appendix(evidence: Evidence, nodes: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    known = {node["id"] for node in nodes}
    rows = []
    for item in evidence.items:
        made = made_by(item.row)
        rows.append(
            {
                "id": item.id,
                "row": item.row,
                "value": value_text(item.row),
                "interval": interval_text(item.row),
                "detail": detail_text(item.row),
                "groups": " ".join(row_groups(item.row)),
                "made_by": made,
                "made_id": _node_id(made) if _node_id(made) in known else "repeat",
            }
        )
    return rows


def render(run: RunFolder, *, signs: int = 8) -> str:
    """The page as text.

    Args:
        run: what was read.
        signs: explained signs a gallery, at most.
    """
    evidence = Evidence(run.rows, trained=run.trained)
    verdicts = headline.gates(run, evidence)
    deployed = evidence.deployed
    differences = section_tables.difference_table(evidence)
    arms = [a for a in ("pruned", "refined", "natural", "control") if a in run.pictures]
    arms += [a for a in run.pictures if a not in arms]
    if evidence.final_arm in arms:
        arms.sort(key=lambda a: a != evidence.final_arm)
    cue, refinement, classes = _cue(evidence), _refinement(run, evidence), class_tables(run, evidence)
    confidence, drift = calibration_table(evidence), ledger(evidence)
    drifted = [drift_gallery(run, arrays, arm=arm, most=signs) for arm, arrays in run.drifts.items()]
    shown = {
        "cue": cue["table"] is not None,
        "refinement": refinement["seen"],
        "classes": bool(classes),
        "calibration": bool(confidence.lines),
        "drift": bool(drift or drifted),
    }
    sections = _sections(evidence, [name for name, here in shown.items() if not here])
    nodes = _nodes(run)
    appendix = _appendix(evidence, nodes)
    raised = _flags(evidence)
    missing, none = headline.unmeasured(evidence), headline.absent(evidence)
    return (
        report_environment()
        .get_template("template.html.j2")
        .render(
            run=run,
            cue=cue,
            refinement=refinement,
            classes=classes,
            calibration=confidence,
            ledger=drift,
            drifted=drifted,
            sections=sections,
            number_of={anchor: k for k, (anchor, _) in enumerate(sections, start=1)},
            title_of=dict(sections),
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
            further=further_map_table(evidence),
            road_charts=curves.road_charts(evidence),
            deletion_charts=curves.deletion_charts(evidence),
            galleries=galleries(run, arms, most=signs),
            arm_names={a: arm_name(evidence, a) for a in (*arms, *run.drifts)},
            base=base_network(evidence),
            scored=sorted({i.row.metric for i in evidence.items}),
            refined_differences=[
                line for line in differences.lines if line.name.startswith("refined") and "control" in line.name
            ],
            deployment=section_tables.deployment_table(evidence),
            flags=raised,
            quiet_flags=[_flag(name) for name in FLAGS if name not in {f["name"] for f in raised}],
            unmeasured=missing,
            absent=none,
            gaps=[*dict.fromkeys(what for _, what, _, _ in missing), *none],
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
            nodes=nodes,
            command_line=run_command(run),
            measured_text=json.dumps(run.lock["measured"], indent=1) if "measured" in run.lock else "",
            environment=_table_of(run.lock.get("environment")),
            recipe_text=json.dumps(run.recipe, indent=1) if run.recipe else "",
            evaluations=_evaluations(evidence),
            runtimes=sorted({i.row.runtime for i in evidence.items if i.row.runtime}),
            appendix=appendix,
            groups=groups_of([item.row for item in evidence.items]),
        )
    )


def write_report(run: Path, *, signs: int = 8) -> Path:
    """Reads a run folder and writes its report, model card and CSV beside the rows.

    Args:
        run: the run folder; ``recipe.lock.json``, ``measurements.jsonl`` and ``pictures/`` may each be absent.
        signs: explained signs a gallery, at most.

    Returns:
        Path of ``report.html``.

    Raises:
        UserError: no such folder, or a damaged file in it (named, with its line).
    """
    folder = read_run(run)
    page, card = render(folder, signs=signs), model_card(folder)
    write_whole(run / "measurements.csv", to_csv(folder.rows))
    write_whole(run / "card.md", card)
    write_whole(run / "report.html", page)
    return run / "report.html"
