"""The report's charts, drawn from rows (and, for the flagged share, from the flag pictures)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from edgexai.report.evidence import EXPLAINERS, Evidence
from edgexai.report.figures import Chart, Point, Series, line_chart, row_point
from edgexai.report.folder import RunFolder
from edgexai.report.words import ATTACK_NAMES, EXPLAINER_NAMES, arm_name, engine_name

_MARKERS = ("circle", "square", "diamond", "triangle")
_ATTACKS = {
    "noise": ("noise", "dot", "triangle"),
    "fgsm": ("fgsm", "dash", "square"),
    "pgd": ("pgd", "solid", "circle"),
    "apgd-ce": ("apgd", "solid", "square"),
    "apgd-dlr": ("apgd", "dash", "diamond"),
    "square": ("square", "dash", "diamond"),
    "union": ("union", "dot", "circle"),
}
_ORDERS = {
    "morf": ("most relevant first", "pgd", "solid", "circle"),
    "random": ("random order", "noise", "dot", "triangle"),
    "lerf": ("least relevant first", "square", "dash", "diamond"),
}


_CURVES = {
    "deletion_curve": ("most relevant deleted first", "pgd", "solid", "circle"),
    "insertion_curve": ("most relevant inserted first", "square", "dash", "diamond"),
}


def _pixels(eps: object) -> float | None:
    try:
        return float(Fraction(str(eps).replace(" ", "")))
    except (ValueError, ZeroDivisionError):
        return None


def accuracy_at_eps(evidence: Evidence, arm: str, artefact: str, attack: str) -> list[Point]:
    """Clean accuracy at 0 and accuracy under ``attack`` at each eps, in pixels of 255; [] where it was not run."""
    points: dict[float, Point] = {}
    clean = evidence.find("clean_acc", arm=arm, artefact=artefact)
    if clean is not None and (start := row_point(0.0, clean)):
        points[0.0] = start
    found = 0
    for item in evidence.all("robust_acc", arm=arm, artefact=artefact, detail={"attack": attack}):
        eps = _pixels(item.row.detail.get("eps", ""))
        if eps is not None and (point := row_point(255 * eps, item)):
            points[255 * eps] = point
            found += 1
    return [points[x] for x in sorted(points)] if found else []


def robust_charts(evidence: Evidence) -> list[Chart]:
    """Accuracy against eps: every attack on the deployed engine, and PGD on every step of the path."""
    if evidence.deployed is None:
        return []
    steps = evidence.stages
    by_attack = [
        Series(
            ATTACK_NAMES.get(attack, attack), key, accuracy_at_eps(evidence, *evidence.deployed, attack), dash=dash,
            marker=marker,
        )
        for attack, (key, dash, marker) in _ATTACKS.items()
    ]  # fmt: skip
    by_step = [
        Series(
            engine_name(evidence, arm, artefact), "int8" if artefact.startswith("int8") else arm,
            accuracy_at_eps(evidence, arm, artefact, "pgd"), dash="dash" if arm == "control" else "solid",
            marker=_MARKERS[k % 4],
        )
        for k, (arm, artefact) in enumerate(steps) if artefact != "int8-x86"
    ]  # fmt: skip
    charts = []
    for title, series in (("The deployed engine under each attack", by_attack), ("PGD along the path", by_step)):
        ticks = sorted({p.x for s in series for p in s.points})
        if len(ticks) > 1:
            names = [(x, f"{x:g}/255" if x else "0") for x in ticks]
            charts.append(line_chart(title, series, x_label="eps (pixels)", y_label="accuracy", x_ticks=names))
    return charts


def road_charts(evidence: Evidence) -> list[Chart]:
    """One chart an explainer of the deployed engine: accuracy against the share of pixels removed."""
    if evidence.deployed is None:
        return []
    arm, artefact = evidence.deployed
    charts = []
    known = evidence.values("road_acc", "explainer")
    names = [e for e in EXPLAINERS if e in known]
    names += [e for e in known if e not in names and e != "random"]
    for name in names:
        series = []
        for order, (label, key, dash, marker) in _ORDERS.items():
            points: dict[float, Point] = {}
            # Random removal needs no map, so its curve may be stored once, for all explainers.
            for owner in (name, None, "random") if order == "random" else (name,):
                for source in ("twin", artefact):
                    detail = {"order": order, "explainer": owner}
                    for item in evidence.all("road_acc", arm=arm, artefact=source, detail=detail):
                        removed = float(item.row.detail.get("removed", "nan"))
                        if point := row_point(removed, item):
                            points[removed] = point
                if points:
                    break
            series.append(Series(label, key, [points[x] for x in sorted(points)], dash=dash, marker=marker))
        if any(s.points for s in series):
            ticks = [(k / 10, f"{10 * k} %") for k in (1, 3, 5, 7, 9)]
            title = f"ROAD, {EXPLAINER_NAMES.get(name, name)}"
            charts.append(line_chart(title, series, x_label="pixels removed", y_label="accuracy", x_ticks=ticks))
    return charts


def deletion_charts(evidence: Evidence) -> list[Chart]:
    """One chart an explainer of the deployed engine: confidence against the share of pixels deleted, or inserted."""
    if evidence.deployed is None:
        return []
    arm, artefact = evidence.deployed
    charts = []
    for name in evidence.values("deletion_curve", "explainer"):
        series = []
        for metric, (label, key, dash, marker) in _CURVES.items():
            found = evidence.all(metric, arm=arm, artefact=artefact, detail={"explainer": name})
            points = [p for item in found if (p := row_point(float(item.row.detail.get("share", "nan")), item))]
            series.append(Series(label, key, sorted(points, key=lambda p: p.x), dash=dash, marker=marker))
        if any(s.points for s in series):
            ticks = [(k / 4, f"{25 * k} %") for k in range(5)]
            title = EXPLAINER_NAMES.get(name, name)
            charts.append(line_chart(title, series, x_label="pixels", y_label="confidence", x_ticks=ticks))
    return charts


def cue_chart(evidence: Evidence, splits: Sequence[str]) -> list[Chart]:
    """Accuracy per state of the planted cue, one line a step of the path."""
    series = []
    for k, (arm, artefact) in enumerate(evidence.stages):
        found = [(x, evidence.find("clean_acc", arm=arm, artefact=artefact, split=s)) for x, s in enumerate(splits)]
        points = [p for x, item in found if item is not None and (p := row_point(float(x), item))]
        key = "int8" if artefact.startswith("int8") else arm
        dash = "dash" if arm == "control" else "solid"
        if artefact != "int8-x86":
            series.append(Series(engine_name(evidence, arm, artefact), key, points, dash=dash, marker=_MARKERS[k % 4]))
    if not any(s.points for s in series):
        return []
    ticks = [(float(x), s) for x, s in enumerate(splits)]
    return [line_chart("What the planted cue does", series, x_label="planted cue", y_label="accuracy", x_ticks=ticks)]


def flagged_share(run: RunFolder) -> Mapping[str, list[tuple[float, int]]]:
    """arm -> (mean share of flagged cells, images) a round, from the flag pictures."""
    shares = {}
    for arm, arrays in run.refinements.items():
        if (flagged := arrays.get("flagged")) is not None and flagged.ndim == 4:
            shares[arm] = [(float(np.mean(f)), int(f.shape[0])) for f in flagged]
    return shares


def flagged_chart(run: RunFolder, evidence: Evidence) -> list[Chart]:
    """Mean flagged share per round, refined and control."""
    shares = flagged_share(run)
    series = [
        Series(
            arm_name(evidence, arm), arm,
            [
                Point(k + 1.0, s, s, s, "", f"round {k + 1}: {100 * s:.1f} % of cells, n {n:,}")
                for k, (s, n) in enumerate(per)
            ],
            dash="dash" if arm == "control" else "solid", marker="square" if arm == "control" else "circle",
        )
        for arm, per in sorted(shares.items(), key=lambda pair: pair[0] == "control")
    ]  # fmt: skip
    longest = max((len(s.points) for s in series), default=0)
    if longest == 0:
        return []
    largest = max(p.y for s in series for p in s.points)
    top = next((4 * step / 100 for step in (1, 2, 5, 10, 20) if 4 * step / 100 >= largest), 1.0)
    return [
        line_chart(
            "Cells flagged per round", series, x_label="round", y_label="mean share of cells in the pictures kept",
            x_ticks=[(k + 1.0, str(k + 1)) for k in range(longest)], y_range=(0.0, top),
            y_ticks=[(top * k / 4, f"{100 * top * k / 4:.0f} %") for k in range(5)],
        )
    ]  # fmt: skip
