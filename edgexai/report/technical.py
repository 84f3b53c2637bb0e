"""Technical documentation filled from measured rows: evidence mapped to the parts of a source, never a verdict."""

from __future__ import annotations

from collections.abc import Sequence

from edgexai.errors import UserError
from edgexai.measure.flags import FLAGS
from edgexai.report import headline
from edgexai.report.card import escape_markdown
from edgexai.report.evidence import BASELINES, Evidence, Numbered, asked
from edgexai.report.folder import RunFolder
from edgexai.report.provenance import run_command
from edgexai.report.technical_templates import TEMPLATES, TOPICS, Part
from edgexai.report.words import base_metric, engine_name, interval_text, metric_name, value_text

_WEAKEST = 5


def technical_documentation(run: RunFolder, template: str) -> str:
    """The text, as Markdown.

    Args:
        run: what was read.
        template: of ``TEMPLATES``.

    Raises:
        UserError: no such template.
    """
    if template not in TEMPLATES:
        raise UserError(f'template "{template}" is unknown', next_step=f"one of: {', '.join(TEMPLATES)}")
    chosen, evidence = TEMPLATES[template], Evidence(run.rows, trained=run.trained)
    deployed = engine_name(evidence, *evidence.deployed) if evidence.deployed else "no engine in this run"
    parts = [
        f"# {chosen.title}: {escape_markdown(run.title)}",
        f"Measured evidence mapped to {chosen.source}. This is not an assessment of conformity: nothing here says that "
        "a requirement is met. It says what was measured, on what, how surely, and what was not. Check the headings "
        "against the text in force.",
        f"Subject: {escape_markdown(deployed)}. Every figure stands with its 95 % interval, n, and its row in "
        f"`measurements.jsonl` (line number) of run `{escape_markdown(str(run.lock.get('run', run.path.name))[:12])}`; "
        "“twin” marks a figure of the PyTorch network, not of the deployed file.",
    ]
    for part in chosen.parts:
        parts += _part(run, evidence, part)
    return "\n\n".join(parts) + "\n"


def _part(run: RunFolder, evidence: Evidence, part: Part) -> list[str]:
    texts = [f"## {part.heading}", part.says]
    for topic in part.topics:
        texts += _topic(run, evidence, topic)
    if part.provider:
        texts.append("To be supplied by the provider, since no measurement gives it:\n\n"
                     + "\n".join(f"- [ ] {item}" for item in part.provider))  # fmt: skip
    return texts


def _topic(run: RunFolder, evidence: Evidence, topic: str) -> list[str]:
    if topic == "provenance":
        return [_provenance(run, evidence)]
    if topic == "data":
        return [_data(run, evidence)]
    if topic == "gates":
        return [_gates(run, evidence)]
    if topic == "flags":
        return [_flags(evidence)]
    if topic == "missing":
        return [_missing(evidence)]
    return _measured(run, evidence, topic)


def _measured(run: RunFolder, evidence: Evidence, topic: str) -> list[str]:
    found = _rows(evidence, topic)
    if not found:
        return [f"No evidence in this run on: {topic}."]
    texts = []
    if topic == "classes":
        count = len(found)
        found = sorted(found, key=lambda item: (item.row.value or 0.0, -item.row.n))[:_WEAKEST]
        texts.append(f"The {len(found)} weakest of {count} classes:")
    return [*texts, _table(run, found)]


def _rows(evidence: Evidence, topic: str) -> list[Numbered]:
    if evidence.deployed is None:
        return []
    arm, artefact = evidence.deployed
    found, seen = [], set()
    # The engine's rows first: the twin's stand in only for numbers the engine has none of.
    own = [i for i in evidence.items if (i.row.arm, i.row.artefact) == (arm, artefact)]
    twin = [i for i in evidence.items if (i.row.arm, i.row.artefact) == (arm, "twin")]
    for item in [*own, *twin]:
        row = item.row
        about = {k: v for k, v in asked(row).items() if k not in ("source", "map", "steps")}
        key = (row.metric, row.split, str(sorted(about.items())))
        wanted = row.metric.startswith(TOPICS[topic]) and base_metric(row.metric) == row.metric
        # Of the drift ledger the step that ends in the deployed file, not those on the way.
        here = row.detail.get("step", artefact) == artefact
        if wanted and here and row.value is not None and key not in seen:
            seen.add(key)
            found.append(item)
    return found


def _table(run: RunFolder, items: Sequence[Numbered]) -> str:
    lines = [
        "| Measured | Value | 95 % interval | n | Of | Row | Flags |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for item in items:
        row = item.row
        about = ", ".join(_word(run, key, value) for key, value in asked(row).items())
        name = metric_name(row.metric) + (f" ({about})" if about else "")
        if row.detail.get("explainer") in BASELINES:
            name += ", baseline"
        of = ("twin" if row.subject == "twin" else "engine") + ("" if row.split == "none" else f", {row.split}")
        flags = ", ".join(flag.replace("_", " ") for flag in row.flags)
        cells = [name, value_text(row), interval_text(row) or "–", f"{row.n:,}", of, item.id[1:], flags or "–"]
        lines.append("| " + " | ".join(escape_markdown(cell) for cell in cells) + " |")
    return "\n".join(lines)


def _word(run: RunFolder, key: str, value: str | int | float) -> str:
    if key == "class":
        return run.class_name(value) if isinstance(value, int) else str(value)
    if key == "map":
        return f"map of the {value}"
    return f"{key.replace('_', ' ')} {value}"


def _provenance(run: RunFolder, evidence: Evidence) -> str:
    environment = run.lock.get("environment")
    known = {
        "Recipe": run.name,
        "Run digest": str(run.lock.get("run", "not in the lock")),
        "Command": run_command(run),
        "Deployed": engine_name(evidence, *evidence.deployed) if evidence.deployed else "no engine",
        "Runtimes": "; ".join(sorted({row.runtime for row in run.rows if row.runtime})) or "not named",
        **{str(k): str(v) for k, v in (environment if isinstance(environment, dict) else {}).items()},
    }
    return _list(known)


def _data(run: RunFolder, evidence: Evidence) -> str:
    data = run.recipe.get("data")
    table = {str(k): str(v) for k, v in data.items()} if isinstance(data, dict) else {}
    splits = sorted({row.split for row in run.rows if row.split != "none"})
    return _list({"Trained on": run.trained_on or "not in the lock", "Measured on": ", ".join(splits) or "nothing",
                  "Seed": str(run.recipe.get("seed", "not in the lock")), **table})  # fmt: skip


def _list(known: dict[str, str]) -> str:
    return "\n".join(f"- {escape_markdown(key)}: {escape_markdown(value)}" for key, value in known.items())


def _gates(run: RunFolder, evidence: Evidence) -> str:
    found = headline.gates(run, evidence)
    if not found:
        return "The recipe sets no gate: no target value was held against these figures."
    lines = [
        f"- {escape_markdown(g.name)} {escape_markdown(g.condition)}: {g.verdict}, measured "
        f"{escape_markdown(g.cell.text)}" + (f" (row {g.cell.row_id[1:]})" if g.cell.row_id else "")
        for g in found
    ]
    return "Gates of the recipe, decided on the interval’s bound:\n\n" + "\n".join(lines)


def _flags(evidence: Evidence) -> str:
    counts: dict[str, int] = {}
    for item in evidence.items:
        for flag in item.row.flags:
            counts[flag] = counts.get(flag, 0) + 1
    if not counts:
        return "No flag was raised on any row."
    lines = []
    for name, count in counts.items():
        means = FLAGS[name].means if name in FLAGS else "no description of this flag"
        lines.append(f"- {escape_markdown(name.replace('_', ' '))} ({count} rows): {escape_markdown(means)}")
    return "Flags raised on rows of this run:\n\n" + "\n".join(lines)


def _missing(evidence: Evidence) -> str:
    lines = [f"- {escape_markdown(what)}: {status}. {escape_markdown(why)}"
             for _, what, status, why in headline.unmeasured(evidence)]  # fmt: skip
    lines += [f"- {escape_markdown(name)}: no row in this run." for name in headline.absent(evidence)]
    if not any("tensorrt" in item.row.runtime.lower() for item in evidence.items):
        lines.append("- Nothing in this run was executed on a Jetson.")
    return "\n".join(lines) or "Every measurement of a full report has a row."
