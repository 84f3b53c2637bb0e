"""What a reader must see first: what was deployed, what the gates said, its numbers, and what stands beside each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgexai.report.evidence import Detail, Evidence, Numbered
from edgexai.report.folder import RunFolder
from edgexai.report.tables import Cell, cell, lookup
from edgexai.report.words import EXPLAINER_NAMES, METRIC_NAMES, arm_name, value_text


@dataclass(frozen=True)
class Figure:
    """One headline number and the numbers it must be read beside."""

    name: str
    cell: Cell
    beside: Sequence[tuple[str, Cell]]
    control: str


@dataclass(frozen=True)
class Gate:
    """One gate: its condition as written, its verdict ("passed", "failed", "not decided"), the row it is about."""

    name: str
    condition: str
    verdict: str
    cell: Cell


def headline_figures(evidence: Evidence) -> list[Figure]:
    """The deployed engine's numbers; measured or not, a row is shown; what has no row is left to section 10."""
    if evidence.deployed is None:
        return []
    arm, artefact = evidence.deployed
    eps = evidence.largest_eps("pgd")
    wanted: list[tuple[str, str, Detail]] = [("Clean accuracy", "clean_acc", {})]
    if eps:
        wanted.append((f"Robust accuracy, PGD {eps}", "robust_acc", {"attack": "pgd", "eps": eps}))
    if evidence.values("corruption_acc", "corruption"):
        wanted.append(("Accuracy under corruptions, mean", "corruption_acc", {"corruption": "mean"}))
    wanted.append(("Decisions shared with the twin", "agreement", {}))
    for metric in ("roi_share", "road_gap"):
        explainer = evidence.main_explainer(metric)
        if explainer:
            title = f"{METRIC_NAMES[metric]}, {EXPLAINER_NAMES[explainer]}"
            wanted.append((title, metric, {"explainer": explainer}))
    wanted += [
        ("Latency, batch 1, median", "latency_ms", {"batch": 1, "statistic": "median"}),
        ("Size", "size_bytes", {}),
        ("MACs", "macs", {}),
    ]
    figures = []
    for title, metric, detail in wanted:
        item = lookup(evidence, metric, arm=arm, artefact=artefact, detail=detail)
        if item is not None:
            control = item.row.control
            figures.append(Figure(title, cell(item), _beside(evidence, metric, arm, artefact, detail), control))
    return figures


def _beside(evidence: Evidence, metric: str, arm: str, artefact: str, detail: Detail) -> list[tuple[str, Cell]]:
    wanted: list[tuple[str, str, str, Detail]] = []
    base = arm_name(evidence, "natural")
    if metric in ("clean_acc", "corruption_acc", "macs", "size_bytes", "latency_ms") and (arm, artefact) != (
        "natural",
        "fp32",
    ):
        wanted.append((f"{base} fp32", "natural", "fp32", detail))
    if metric in ("clean_acc", "corruption_acc"):
        wanted.append(("control fp32", "control", "fp32", detail))
    if metric == "robust_acc":
        wanted += [
            ("Square", arm, artefact, {"attack": "square", "eps": detail["eps"]}),
            ("noise", arm, artefact, {"attack": "noise", "eps": detail["eps"]}),
            (base, "natural", "fp32", detail),
            ("control", "control", "fp32", detail),
        ]
    if metric in ("roi_share", "road_gap"):
        wanted += [
            ("random map", arm, artefact, {"explainer": "random"}),
            ("centre Gaussian", arm, artefact, {"explainer": "centre_gaussian"}),
        ]
    found = [(name, lookup(evidence, metric, arm=a, artefact=f, detail=d)) for name, a, f, d in wanted]
    return [(name, cell(item)) for name, item in found if item is not None]


def gates(run: RunFolder, evidence: Evidence) -> list[Gate]:
    """Verdicts from gate rows or gates.json; a gate of the recipe without a verdict is "not decided"."""
    conditions = {k: str(v) for k, v in (run.recipe.get("gate") or {}).items() if v is not None}
    verdicts = {str(g.get("name")): bool(g["passed"]) for g in run.gates if isinstance(g.get("passed"), bool)}
    conditions |= {str(g.get("name")): str(g["condition"]) for g in run.gates if "condition" in g}
    for item in evidence.items:
        if item.row.metric.startswith("gate_") and item.row.value is not None:
            name = item.row.metric.removeprefix("gate_")
            verdicts[name] = item.row.value >= 1
            conditions.setdefault(name, str(item.row.detail.get("condition", "")))
    found = []
    for name in dict.fromkeys([*conditions, *verdicts]):
        passed = verdicts.get(name)
        verdict = "not decided" if passed is None else "passed" if passed else "failed"
        about: Numbered | None = None
        if evidence.deployed is not None:
            arm, artefact = evidence.deployed
            details: dict[str, Detail] = {
                "robust_acc": {"attack": "pgd", "eps": evidence.largest_eps("pgd") or ""},
                "latency_ms": {"batch": 1, "statistic": "median"},
                "roi_share": {"explainer": evidence.main_explainer("roi_share") or ""},
            }
            about = lookup(evidence, name, arm=arm, artefact=artefact, detail=details.get(name))
        found.append(Gate(METRIC_NAMES.get(name, name), conditions.get(name, ""), verdict, cell(about)))
    return found


def verdict_words(found: Sequence[Gate]) -> tuple[str, str]:
    """(css key, sentence) over all gates."""
    if not found:
        return "none", "This recipe sets no gate: nothing here was passed or failed."
    failed = [g.name for g in found if g.verdict == "failed"]
    open_ = [g.name for g in found if g.verdict == "not decided"]
    if failed:
        return "failed", f"{len(failed)} of {len(found)} gates failed: {', '.join(failed)}."
    if open_:
        return "open", f"{len(open_)} of {len(found)} gates were not decided: {', '.join(open_)}."
    return "passed", f"All {len(found)} gates passed, each decided on the bound of its interval."


def unmeasured(evidence: Evidence) -> list[tuple[str, str, str, str]]:
    """(row id, what, status, reason) of every row without a value."""
    return [
        (
            i.id,
            f"{METRIC_NAMES.get(i.row.metric, i.row.metric)}, {arm_name(evidence, i.row.arm)} {i.row.artefact}"
            + (f" ({', '.join(f'{k} {v}' for k, v in i.row.detail.items())})" if i.row.detail else ""),
            value_text(i.row),
            i.row.reason,
        )
        for i in evidence.items
        if i.row.value is None
    ]


def absent(evidence: Evidence) -> list[str]:
    """What a full report has and this run has no row of at all."""
    have = {i.row.metric for i in evidence.items}
    attacks = set(evidence.values("robust_acc", "attack"))
    told = [METRIC_NAMES[m] for m in METRIC_NAMES if m not in have and m not in ("roi_area", "robust_acc")]
    told += [f"Accuracy under {a}" for a in ("PGD", "Square", "noise") if a.lower() not in attacks]
    if "control" not in evidence.arms and "refined" in evidence.arms:
        told.append("The control arm (the same budget with random cells)")
    return told
