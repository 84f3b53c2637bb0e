"""Markdown model card with front matter and a model-index, from rows only.

Front matter values are written as JSON, which is YAML: quoting is then never in doubt. Metric values in the model-index
are the raw values of the rows (fractions, not per cent).
"""

from __future__ import annotations

import json
from typing import Any

from edgexai.report import headline, section_tables, tables
from edgexai.report.evidence import Evidence
from edgexai.report.folder import RunFolder
from edgexai.report.provenance import run_command
from edgexai.report.words import detail_text, engine_name, metric_name
from edgexai.types import Row

_INDEXED = {"clean_acc": "accuracy", "robust_acc": "robust_accuracy", "agreement": "agreement"}


def escape_markdown(text: str) -> str:
    """Keeps a cell in its column and a title from being markup."""
    flat = " ".join(text.split())
    for mark, safe in (
        ("\\", "\\\\"),
        ("|", "\\|"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ("`", "\\`"),
        ("[", "\\["),
        ("]", "\\]"),
    ):
        flat = flat.replace(mark, safe)
    return flat


def _index_name(row: Row) -> str:
    about = [metric_name(row.metric), f"subject {row.subject}", f"n {row.n}"]
    if row.detail:
        about.append(detail_text(row))
    if row.low is not None and row.high is not None:
        about.append(f"95 % interval {row.low:.4f} to {row.high:.4f}")
    return "; ".join(about + [f"flag {f}" for f in row.flags])


def _front_matter(run: RunFolder, evidence: Evidence) -> str:
    data = run.recipe.get("data") or {}
    dataset = str(data.get("name", "unknown")) if isinstance(data, dict) else "unknown"
    metrics: dict[str, list[dict[str, Any]]] = {}
    if evidence.deployed is not None:
        arm, artefact = evidence.deployed
        for item in evidence.items:
            row = item.row
            if (row.arm, row.artefact) == (arm, artefact) and row.metric in _INDEXED and row.value is not None:
                entry = {"type": _INDEXED[row.metric], "name": _index_name(row), "value": row.value}
                metrics.setdefault(row.split, []).append(entry)
    results = [
        {
            "task": {"type": "image-classification", "name": "Image classification"},
            "dataset": {"type": dataset, "name": dataset, "split": split},
            "metrics": entries,
        }
        for split, entries in metrics.items()
    ]
    matter: dict[str, Any] = {
        "library_name": "edgexai",
        "pipeline_tag": "image-classification",
        "tags": ["edgexai", "onnx", "traffic-signs", *([evidence.deployed[1]] if evidence.deployed else [])],
        "datasets": [dataset],
    }
    if results:  # an index without results is refused by the hub's schema
        matter["model-index"] = [{"name": run.title, "results": results}]
    return "\n".join(f"{key}: {json.dumps(value)}" for key, value in matter.items())


def _cell(c: tables.Cell) -> str:
    parts = [c.text]
    if c.interval:
        parts.append(f"[{c.interval}]")
    if c.n is not None:
        parts.append(f"n {c.n:,}")
    parts += [f"({tag})" for tag in c.tags] + [f"⚑ {flag}" for flag in c.flags]
    return " ".join(escape_markdown(p) if p != f"[{c.interval}]" else p for p in parts)


def _table(table: tables.Table) -> str:
    head = "| " + " | ".join(escape_markdown(c) for c in table.columns) + " |"
    rule = "|" + " --- |" * len(table.columns)
    body = [
        "| " + " | ".join([escape_markdown(line.name), *(_cell(c) for c in line.cells)]) + " |" for line in table.lines
    ]
    return "\n".join([head, rule, *body])


def model_card(run: RunFolder) -> str:
    """The card as Markdown; sections without rows say so."""
    evidence = Evidence(run.rows, trained=run.trained)
    found = headline.gates(run, evidence)
    deployed = engine_name(evidence, *evidence.deployed) if evidence.deployed else "no engine in this run"
    parts = [
        f"---\n{_front_matter(run, evidence)}\n---",
        f"# {escape_markdown(run.title)}",
        f"Deployed: {deployed}. {escape_markdown(headline.verdict_words(found)[1])}"
        + (f" Trained on {escape_markdown(run.trained_on)}." if run.trained_on else "")
        + (" Measured on the validation split; no test image was looked at." if run.on_validation else ""),
        "Every value stands with its 95 % interval and n. “twin” marks a number of the PyTorch network, not of the "
        "engine. The full report is `report.html`, all rows are in `measurements.csv`.",
        "## Results",
        _table(tables.path_table(evidence)) if evidence.stages else "No rows were measured.",
    ]
    for heading, table in (
        ("Paired differences", section_tables.difference_table(evidence)),
        ("Under attack", section_tables.robust_table(evidence)),
        ("Cost and parity", section_tables.deployment_table(evidence)),
    ):
        if table.lines:
            parts += [f"## {heading}", _table(table)]
    missing = [
        f"- {escape_markdown(what)}: {status}. {escape_markdown(why)}"
        for _, what, status, why in headline.unmeasured(evidence)
    ]
    missing += [f"- {escape_markdown(name)}: no row in this run." for name in headline.absent(evidence)]
    if missing:
        parts += ["## Not measured here", "\n".join(missing)]
    flags = sorted({flag for row in run.rows for flag in row.flags})
    if flags:
        parts += ["## Flags raised", "\n".join(f"- {escape_markdown(f)} (explained in the report)" for f in flags)]
    parts += [
        "## Limits",
        "Robust accuracy holds for the attacks, eps and budgets listed, not for others. Saliency maps tagged “twin” "
        "explain the twin. Deletion and insertion follow confidence and must not rank networks.",
        "## Repeat",
        f"`{run_command(run)}`",
    ]
    return "\n\n".join(parts) + "\n"
