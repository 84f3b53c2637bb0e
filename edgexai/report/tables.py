"""Tables as plain structure: every cell is one row of the run, with its interval, n, flags and place.

A cell without a row is a dash; a skipped row is printed as skipped. Where an engine has no row of a metric, the twin's
row stands in and is tagged "twin", never passed off as the engine's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edgexai.report.evidence import Detail, Evidence, Numbered
from edgexai.report.words import (
    EXPLAINER_NAMES,
    base_network,
    beside,
    engine_name,
    interval_text,
    metric_name,
    value_text,
)
from edgexai.types import Row


@dataclass(frozen=True)
class Cell:
    """One place of a table.

    Attributes:
        text: the value or words.
        row_id: the row it came from; "" where it is words or a dash.
        interval: 95 % interval, "" where the row has none.
        n: images or repetitions; None where there is no row.
        tags: "twin", "val split".
        flags: honesty rules that fired.
        muted: not a measured value.
        hint: reason of a skip, or kind of interval.
    """

    text: str
    row_id: str = ""
    interval: str = ""
    n: int | None = None
    tags: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    muted: bool = False
    hint: str = ""


@dataclass(frozen=True)
class Line:
    """One table line: its heading, the colour key of its arm, its cells."""

    name: str
    key: str
    cells: Sequence[Cell]
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """Caption, column names (the first names the line headings), lines, and a note below."""

    caption: str
    columns: Sequence[str]
    lines: Sequence[Line] = field(default_factory=tuple)
    note: str = ""


DASH = Cell("–", muted=True, hint="no row in this run")


def cell(item: Numbered | None) -> Cell:
    """The cell of a row, or a dash."""
    if item is None:
        return DASH
    row = item.row
    measured = row.value is not None
    return Cell(
        text=value_text(row),
        row_id=item.id,
        interval=interval_text(row),
        # A count has no sample: "n 1" would say nothing.
        n=row.n if measured and not (row.n == 1 and row.unit in ("count", "bytes")) else None,
        tags=tuple(beside(row)),
        flags=row.flags,
        muted=not measured,
        hint=row.reason if not measured else "" if row.interval == "none" else f"{row.interval} interval",
    )


def words(text: str) -> Cell:
    """A cell of words."""
    return Cell(text)


def lookup(
    evidence: Evidence, metric: str, *, arm: str, artefact: str, split: str | None = None, detail: Detail | None = None
) -> Numbered | None:
    """The artefact's row, else its twin's."""
    found = evidence.find(metric, arm=arm, artefact=artefact, split=split, detail=detail)
    return found or evidence.find(metric, arm=arm, artefact="twin", split=split, detail=detail)


def path_columns(evidence: Evidence) -> list[tuple[str, str, Detail]]:
    """(heading, metric, detail) of the end-of-run table's columns."""
    eps = evidence.largest_eps("pgd")
    columns: list[tuple[str, str, Detail]] = [
        ("Clean", "clean_acc", {}),
        (f"Robust (PGD {eps})" if eps else "Robust (PGD)", "robust_acc", {"attack": "pgd", "eps": eps or ""}),
    ]
    if evidence.values("corruption_acc", "corruption"):
        columns.append(("Corrupted, mean", "corruption_acc", {"corruption": "mean"}))
    for metric in ("saliency_gini", "road_gap", "roi_share"):
        name = evidence.main_explainer(metric)
        heading = metric_name(metric).replace("Saliency ", "")
        columns.append((f"{heading} ({EXPLAINER_NAMES[name]})" if name else heading, metric, {"explainer": name or ""}))
    columns += [
        ("MACs", "macs", {}),
        ("Size", "size_bytes", {}),
        ("Latency, batch 1", "latency_ms", {"batch": 1, "statistic": "median"}),
    ]
    return columns


def path_table(evidence: Evidence) -> Table:
    """natural -> refined, control beside -> pruned -> int8, with intervals."""
    columns = path_columns(evidence)
    lines = [
        Line(
            engine_name(evidence, arm, artefact),
            "int8" if artefact.startswith("int8") else arm,
            [
                cell(lookup(evidence, metric, arm=arm, artefact=artefact, detail=detail))
                for _, metric, detail in columns
            ],
            strong=(arm, artefact) == evidence.deployed,
        )
        for arm, artefact in evidence.stages
    ]
    return Table(f"From {base_network(evidence)} to deployed", ["Network", *(c[0] for c in columns)], lines)


def summary_table(rows: Sequence[Row]) -> list[list[str]]:
    """The end-of-run table of the command line: a heading line, then a line a network.

    Args:
        rows: all rows of a run.

    Returns:
        Lists of equal length; line 0 is the heading, with n where the whole column shares it. Each value carries its
        interval in brackets, its own n where n differs, "(twin)" and "!" for a flag. [] for no rows.
    """
    evidence = Evidence(rows)
    if not rows:
        return []
    table = path_table(evidence)
    heading, columns = [table.columns[0]], []
    for index, name in enumerate(table.columns[1:]):
        cells = [line.cells[index] for line in table.lines]
        counts = {c.n for c in cells if c.n is not None}
        shared = len(counts) == 1
        heading.append(f"{name}, n={counts.pop():,}" if shared else name)
        columns.append([_plain(c, with_n=not shared) for c in cells])
    names = [f"{arm} {artefact}" for arm, artefact in evidence.stages]
    return [heading, *([name, *(c[i] for c in columns)] for i, name in enumerate(names))]


def _plain(c: Cell, *, with_n: bool) -> str:
    parts = [c.text]
    if c.interval:
        parts.append("[" + ", ".join(bound.split(" ")[0] for bound in c.interval.split(" to ")) + "]")
    if with_n and c.n is not None:
        parts.append(f"n={c.n:,}")
    parts += [f"({tag})" for tag in c.tags]
    return " ".join([*parts, *(["!"] if c.flags else [])])
