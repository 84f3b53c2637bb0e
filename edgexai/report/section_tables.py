"""The tables of the single sections: differences, attacks, explanations, cost, the planted cue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgexai.report.evidence import ARMS, BASELINES, EXPLAINERS, Detail, Evidence, Numbered, asked
from edgexai.report.tables import DASH, Line, Table, cell, lookup, words
from edgexai.report.words import (
    ATTACK_NAMES,
    EXPLAINER_NAMES,
    SOURCE_NAMES,
    against_name,
    base_metric,
    difference_words,
    engine_name,
    metric_name,
    number,
)
from edgexai.types import Row


def _any_metric(evidence: Evidence, metric: str) -> bool:
    return any(i.row.metric == metric for i in evidence.items)


def difference_table(evidence: Evidence, *, metrics: tuple[str, ...] = ()) -> Table:
    """Every paired difference with what it shows in words.

    Args:
        metrics: keep only these base metrics; all when empty.
    """
    lines = []
    tested = any("p" in item.row.detail for item in evidence.items)
    for item in evidence.items:
        base = base_metric(item.row.metric)
        if base == item.row.metric or (metrics and base not in metrics):
            continue
        rest = {k: v for k, v in asked(item.row).items() if k != "against"}
        about = ", ".join(str(v) for v in rest.values())
        against = str(item.row.detail.get("against", "?"))
        lines.append(
            Line(
                f"{engine_name(evidence, item.row.arm, item.row.artefact)} minus {against_name(evidence, against)}",
                item.row.arm,
                [
                    words(metric_name(base) + (f" ({about})" if about else "")),
                    cell(item),
                    *([words(words_of_test(item.row))] if tested else []),
                    words(difference_words(item, evidence)),
                ],
            )
        )
    columns = ["Comparison", "Metric", "Difference", *(["Test"] if tested else []), "In words"]
    return Table("Paired differences, on the same images", columns, lines)


def words_of_test(row: Row) -> str:
    """ "McNemar, p 0.012 (Holm 0.048); 80 % power from 3.1 pp": the test behind a difference, if the row has one."""
    found = []
    if "p" in row.detail:
        name = {"mcnemar": "McNemar", "wilcoxon": "Wilcoxon"}.get(str(row.detail.get("test")), "")
        holm = f" (Holm {_p(row.detail['p_holm'])})" if "p_holm" in row.detail else ""
        found.append(f"{name}, p {_p(row.detail['p'])}{holm}".removeprefix(", "))
    if "detectable" in row.detail:
        smallest = number(float(row.detail["detectable"]), row.unit, difference=True).removeprefix("+")
        found.append(f"80 % power from {smallest}")
    return "; ".join(found) or "–"


def _p(value: str | int | float) -> str:
    return "< 0.001" if float(value) < 0.001 else f"{float(value):.3f}"


def robust_table(evidence: Evidence, *, deployed: bool | None = None) -> Table:
    """Accuracy under attack: source, effort, and noise of the same norm.

    Args:
        deployed: True for the deployed engine only, False for all others, None for all.
    """
    lines = []
    order = {arm: k for k, arm in enumerate(ARMS)}
    items = [i for i in evidence.items if i.row.metric == "robust_acc"]
    for item in sorted(items, key=lambda i: (i.row.artefact != "int8-tensorrt", order.get(i.row.arm, 9))):
        if deployed is not None and deployed != ((item.row.arm, item.row.artefact) == evidence.deployed):
            continue
        d = item.row.detail
        effort = [f"{d[k]} {k}" for k in ("steps", "queries") if k in d]
        source = str(d.get("source", ""))
        attack = str(d.get("attack", "?"))
        lines.append(
            Line(
                engine_name(evidence, item.row.arm, item.row.artefact),
                "int8" if item.row.artefact.startswith("int8") else item.row.arm,
                [
                    words(ATTACK_NAMES.get(attack, attack) + (" (control)" if attack == "noise" else "")),
                    words(
                        str(d["eps"]) if "eps" in d else f"area {100 * float(d['area']):.0f} %" if "area" in d else "?"
                    ),
                    words(SOURCE_NAMES.get(source, source) or "–"),
                    words(", ".join(effort) or "–"),
                    cell(item),
                ],
            )
        )
    return Table(
        "Accuracy under attack", ["Network", "Attack", "eps", "Source", "Steps or queries", "Accuracy"], lines,
        "Noise is random noise of the same norm: what an attack must beat to count as an attack.",
    )  # fmt: skip


def explain_table(evidence: Evidence, *, arm: str, artefact: str) -> Table:
    """One line an explainer, baselines last."""
    metrics = (
        "saliency_gini", "saliency_top10_mass", "roi_share", "pointing_game", "road_gap", "road_lerf_gap",
        "road_aopc", "relative_input_stability", "map_rank_correlation", "lime_r2",
    )  # fmt: skip
    seen = [m for m in metrics if _any_metric(evidence, m)]
    names = [*EXPLAINERS, *(n for m in seen for n in evidence.values(m, "explainer")), *BASELINES]
    names = [n for n in dict.fromkeys(names) if n not in BASELINES] + list(BASELINES)
    lines = []
    for name in names:
        cells = [
            cell(lookup(evidence, m, arm=arm, artefact=artefact, detail={"explainer": name}))
            if m != "lime_r2" or name != "lime"
            else cell(
                lookup(evidence, m, arm=arm, artefact=artefact, detail={"explainer": "lime"})
                or lookup(evidence, m, arm=arm, artefact=artefact)
            )
            for m in seen
        ]
        if any(c is not DASH for c in cells):
            key = "baseline" if name in BASELINES else arm
            suffix = " (baseline)" if name in BASELINES else ""
            lines.append(Line(EXPLAINER_NAMES.get(name, name) + suffix, key, cells))
    area = lookup(evidence, "roi_area", arm=arm, artefact=artefact)
    if area is not None and "roi_share" in seen and lines:
        # The sign's share of the picture is what a map that is the same everywhere would score.
        even = [cell(area) if m == "roi_share" else DASH for m in seen]
        lines.append(Line("Even map (baseline)", "baseline", even))
    return Table(engine_name(evidence, arm, artefact), ["Map", *(metric_name(m) for m in seen)], lines)


def deletion_table(evidence: Evidence, *, arm: str, artefact: str) -> Table:
    """Deletion and insertion of one network: within it only, never across networks."""
    metrics = ("deletion_auc", "insertion_auc", "deletion_auc_normalised", "insertion_auc_normalised")
    lines = []
    found = [i.row.detail for m in metrics for a in (artefact, "twin") for i in evidence.all(m, arm=arm, artefact=a)]
    pairs = dict.fromkeys((str(d.get("explainer", "?")), str(d.get("substrate", "?"))) for d in found)
    order = (*EXPLAINERS, *BASELINES)
    for name, substrate in sorted(pairs, key=lambda p: (order.index(p[0]) if p[0] in order else 99, p[1])):
        detail = {"explainer": name, "substrate": None if substrate == "?" else substrate}
        cells = [cell(lookup(evidence, m, arm=arm, artefact=artefact, detail=detail)) for m in metrics]
        key = "baseline" if name in BASELINES else arm
        lines.append(Line(EXPLAINER_NAMES.get(name, name), key, [words(substrate), *cells]))
    return Table(
        f"Deletion and insertion: {engine_name(evidence, arm, artefact)}",
        ["Map", "Substrate", *(metric_name(m) for m in metrics)],
        lines,
        "These follow the network's confidence. They must not rank networks; read them within this table only.",
    )


def _engines(evidence: Evidence, arm: str) -> list[str]:
    """An arm's engines; its twin only where it has none."""
    found = evidence.artefacts(arm)
    return [a for a in found if a != "twin"] or found


def _own(evidence: Evidence, metric: str, *, arm: str, artefact: str, detail: Detail) -> Numbered | None:
    # Shapes do not change on export, so MACs and parameters may be the twin's; a timing may not.
    if metric in ("macs", "parameters", "macs_removed", "masked_sparsity"):
        return lookup(evidence, metric, arm=arm, artefact=artefact, detail=detail)
    return evidence.find(metric, arm=arm, artefact=artefact, detail=detail)


def deployment_table(evidence: Evidence) -> Table:
    """Cost and parity of every artefact."""
    batch_one: Detail = {"batch": 1, "statistic": "median"}
    columns: list[tuple[str, str, Detail]] = [
        ("MACs", "macs", {}),
        ("MACs removed", "macs_removed", {}),
        ("Weights masked", "masked_sparsity", {}),
        ("Parameters", "parameters", {}),
        ("Size", "size_bytes", {}),
        ("Latency, median", "latency_ms", batch_one),
        ("Latency, p95", "latency_ms", {"batch": 1, "statistic": "p95"}),
        ("Throughput", "throughput", {}),
        ("Agreement with its twin", "agreement", {}),
        ("Logit drift", "logit_drift", {}),
    ]
    if not any(item.row.metric == "macs_removed" for item in evidence.items):
        columns = [column for column in columns if column[1] not in ("macs_removed", "masked_sparsity")]
    lines = []
    for arm in evidence.arms:
        for artefact in _engines(evidence, arm):
            cells = [cell(_own(evidence, m, arm=arm, artefact=artefact, detail=d)) for _, m, d in columns]
            if any(c is not DASH for c in cells):
                key = "int8" if artefact.startswith("int8") else arm
                strong = (arm, artefact) == evidence.deployed
                lines.append(Line(engine_name(evidence, arm, artefact), key, cells, strong=strong))
    note = "Latency is at batch 1, back to back: a processor that idles between frames may clock down and be slower."
    return Table("Cost and parity", ["Artefact", *(c[0] for c in columns)], lines, note)


def cue_table(evidence: Evidence, splits: Sequence[str]) -> Table:
    """Accuracy with the planted cue aligned, absent and conflicting."""
    lines = []
    for arm in evidence.arms:
        for artefact in _engines(evidence, arm):
            cells = [cell(evidence.find("clean_acc", arm=arm, artefact=artefact, split=s)) for s in splits]
            if any(c is not DASH for c in cells):
                key = "int8" if artefact.startswith("int8") else arm
                # The column already names the split.
                cells = [replace(c, tags=tuple(t for t in c.tags if not t.endswith(" split"))) for c in cells]
                lines.append(Line(engine_name(evidence, arm, artefact), key, cells))
    return Table("Accuracy with the planted cue", ["Network", *(f"Cue {s}" for s in splits)], lines)
