"""Accuracy under common corruptions: means of the path, each corruption of the deployed engine, and the picture."""

from __future__ import annotations

from edgexai.report.dot_plot import Group, dot_plot
from edgexai.report.evidence import Detail, Evidence, Numbered
from edgexai.report.figures import Chart, Series, row_point
from edgexai.report.tables import DASH, Line, Table, cell
from edgexai.report.words import engine_name

MEAN: Detail = {"corruption": "mean", "severity": "all"}


def corruption_table(evidence: Evidence) -> Table:
    """One line a network of the path: the mean over corruptions, clean accuracy beside."""
    lines = []
    for arm, artefact in evidence.stages:
        mean = evidence.find("corruption_acc", arm=arm, artefact=artefact, detail=MEAN)
        if mean is not None:
            clean = evidence.find("clean_acc", arm=arm, artefact=artefact, split=mean.row.split)
            key = "int8" if artefact.startswith("int8") else arm
            strong = (arm, artefact) == evidence.deployed
            lines.append(Line(engine_name(evidence, arm, artefact), key, [cell(mean), cell(clean)], strong=strong))
    return Table("Under common corruptions", ["Network", "Mean of all corruptions", "Clean, for comparison"], lines)


def corruption_details(evidence: Evidence) -> Table:
    """The deployed engine, one line a corruption, one column a severity."""
    names, severities = _names(evidence), _severities(evidence)
    lines = []
    for name in names if evidence.deployed is not None else ():
        arm, artefact = evidence.deployed or ("", "")
        found = [_row(evidence, arm, artefact, name, severity) for severity in severities]
        if any(item is not None for item in found):
            lines.append(Line(name.replace("_", " "), "baseline", [cell(item) if item else DASH for item in found]))
    columns = ["Corruption", *(f"Severity {severity}" for severity in severities)]
    return Table("Each corruption, deployed engine", columns, lines)


def corruption_chart(evidence: Evidence) -> list[Chart]:
    """A line a corruption: where the deployed engine and the base network stand at every severity."""
    if evidence.deployed is None:
        return []
    severities = _severities(evidence)
    networks = dict.fromkeys([evidence.deployed, ("natural", "fp32")])
    groups = []
    for name in _names(evidence):
        series = []
        for arm, artefact in networks:
            found = [(s, _row(evidence, arm, artefact, name, s)) for s in severities]
            points = [p for s, item in found if item and (p := row_point(float(s), item))]
            key = "int8" if artefact.startswith("int8") else arm
            marker = "circle" if (arm, artefact) == evidence.deployed else "diamond"
            series.append(Series(engine_name(evidence, arm, artefact), key, points, marker=marker))
        if any(s.points for s in series):
            groups.append(Group(name.replace("_", " "), [s for s in series if s.points]))
    if not groups:
        return []
    return [dot_plot("Each corruption; the larger the mark, the more severe", groups, x_label="accuracy")]


def _row(evidence: Evidence, arm: str, artefact: str, name: str, severity: str) -> Numbered | None:
    detail: Detail = {"corruption": name, "severity": severity}
    return evidence.find("corruption_acc", arm=arm, artefact=artefact, detail=detail)


def _names(evidence: Evidence) -> list[str]:
    return [name for name in evidence.values("corruption_acc", "corruption") if name != "mean"]


def _severities(evidence: Evidence) -> list[str]:
    return sorted((s for s in evidence.values("corruption_acc", "severity") if s.isdecimal()), key=int)
