"""What a reader must see first: what was deployed, what the gates said, its numbers, and what stands beside each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgexai.report.evidence import Detail, Evidence, Numbered
from edgexai.report.folder import RunFolder
from edgexai.report.tables import Cell, cell, lookup
from edgexai.report.words import EXPLAINER_NAMES, METRIC_NAMES, arm_name, value_text


@dataclass(frozen=True)
class Figure:
    """One headline number, the question it answers, and the numbers it must be read beside."""

    question: str
    name: str
    cell: Cell
    beside: Sequence[tuple[str, Cell]]
    control: str


@dataclass(frozen=True)
class Gate:
    """One gate: condition, verdict ("passed", "failed", "not decided"), the row it is about, why it failed."""

    name: str
    condition: str
    verdict: str
    cell: Cell
    reason: str = ""


def headline_figures(evidence: Evidence) -> list[Figure]:
    """The deployed engine's numbers; measured or not, a row is shown; what has no row is left to section 10."""
    if evidence.deployed is None:
        return []
    arm, artefact = evidence.deployed
    eps = evidence.largest_eps("pgd")
    main = {m: evidence.main_explainer(m) for m in ("road_gap", "roi_share")}
    reasons = [
        (f"{METRIC_NAMES[metric]}, {EXPLAINER_NAMES[name]}", metric, {"explainer": name})
        for metric, name in main.items()
        if name
    ]
    # The first four are what a reviewer asks first; a run without attacks or maps shows the next ones in their place.
    wanted: list[tuple[str, str, str, Detail]] = [("Is it right?", "Clean accuracy", "clean_acc", {})]
    if eps:
        title = f"Robust accuracy, PGD {eps}"
        wanted.append(("Is it hard to fool?", title, "robust_acc", {"attack": "pgd", "eps": eps}))
    wanted += [("For the right reasons?", *reason) for reason in reasons[:1]]
    latency: Detail = {"batch": 1, "statistic": "median"}
    wanted.append(("Is it fast enough?", "Latency, batch 1, median", "latency_ms", latency))
    if evidence.values("corruption_acc", "corruption"):
        mean: Detail = {"corruption": "mean"}
        wanted.append(("In bad weather?", "Accuracy under corruptions, mean", "corruption_acc", mean))
    wanted.append(("Is it what was trained?", "Decisions shared with the twin", "agreement", {}))
    wanted += [("For the right reasons?", *reason) for reason in reasons[1:]]
    wanted += [("Is it small?", "Size", "size_bytes", {}), ("Is it small?", "MACs", "macs", {})]
    figures = []
    for question, title, metric, detail in wanted:
        item = lookup(evidence, metric, arm=arm, artefact=artefact, detail=detail)
        if item is not None:
            control = item.row.control
            figures.append(
                Figure(question, title, cell(item), _beside(evidence, metric, arm, artefact, detail), control)
            )
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
    reasons = {str(g.get("name")): str(g.get("reason") or "") for g in run.gates}
    for item in evidence.items:
        if item.row.metric == "gate" and item.row.value is not None:
            name = str(item.row.detail.get("gate", ""))
            verdicts[name] = item.row.value >= 1
            conditions.setdefault(name, str(item.row.detail.get("condition", "")))
    decided_by = {str(g.get("name")): g["row"] for g in run.gates if isinstance(g.get("row"), dict)}
    found = []
    for name in dict.fromkeys([*conditions, *verdicts]):
        passed = verdicts.get(name)
        verdict = "not decided" if passed is None else "passed" if passed else "failed"
        about: Numbered | None = None
        metric, _, selectors = name.partition(" ")
        if evidence.deployed is not None:
            arm, artefact = evidence.deployed
            details: dict[str, Detail] = {
                "robust_acc": {"attack": "pgd", "eps": evidence.largest_eps("pgd") or ""},
                "latency_ms": {"batch": 1, "statistic": "median"},
                "roi_share": {"explainer": evidence.main_explainer("roi_share") or ""},
            }
            chosen = dict(word.split("=", 1) for word in selectors.split() if "=" in word) or details.get(metric)
            about = lookup(evidence, metric, arm=arm, artefact=artefact, detail=chosen)
        title = f"{METRIC_NAMES.get(metric, metric)} {selectors}".strip()
        about = _decider(evidence, metric, decided_by.get(name)) or about
        found.append(Gate(title, conditions.get(name, ""), verdict, cell(about), reasons.get(name, "")))
    return found


def _decider(evidence: Evidence, metric: str, words: Mapping[str, Any] | None) -> Numbered | None:
    """The row that a verdict names as the one that decided it."""
    if words is None:
        return None
    wanted = {key: str(value) for key, value in words.items()}
    for item in evidence.items:
        row = item.row
        if row.metric == metric:
            own = {"arm": row.arm, "artefact": row.artefact, "split": row.split}
            if {**own, **{key: str(value) for key, value in row.detail.items()}} == wanted:
                return item
    return None


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


_ONLY_WITH_THEIR_STEP = (
    "roi_area", "robust_acc", "saliency_fidelity", "saliency_top20_overlap", "calibration_agreement",
    "calibration_fidelity", "qat_accuracy", "qat_agreement",
)  # fmt: skip
"""Not missing where a run has no such gate, choice or training: the first two are told otherwise."""


def absent(evidence: Evidence) -> list[str]:
    """What a full report has and this run has no row of at all."""
    have = {i.row.metric for i in evidence.items}
    attacks = set(evidence.values("robust_acc", "attack"))
    told = [METRIC_NAMES[m] for m in METRIC_NAMES if m not in have and m not in _ONLY_WITH_THEIR_STEP]
    told += [f"Accuracy under {a}" for a in ("PGD", "Square", "noise") if a.lower() not in attacks]
    if "control" not in evidence.arms and "refined" in evidence.arms:
        told.append("The control arm (the same budget with random cells)")
    return told
