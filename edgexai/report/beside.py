"""A board's rows beside the workstation's: the same network, the same number, where it was measured.

Convention: two rows are of one number where arm, artefact, metric, split and every detail agree. A row of the board
without such a partner stands alone, and what the board could not measure is listed with its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgexai.report.words import ARTEFACT_NAMES, interval_text, metric_name, value_text
from edgexai.types import Row

_DASH = "–"


@dataclass(frozen=True)
class Pair:
    """One number in two places.

    Attributes:
        what: metric and what else defines the number.
        network: arm and artefact.
        workstation: the row of the run; None where it has none.
        board: the board's row, always measured.
    """

    what: str
    network: str
    workstation: Row | None
    board: Row

    @property
    def texts(self) -> tuple[str, str]:
        """Value, interval and n, of the workstation and of the board."""
        return (_text(self.workstation) if self.workstation else _DASH), _text(self.board)


def paired(workstation: Sequence[Row], board: Sequence[Row]) -> list[Pair]:
    """The board's measured rows in their order, each with the workstation's row of the same number."""
    known = {_key(row): row for row in workstation if row.value is not None}
    return [
        Pair(row_words(row), f"{row.arm} {ARTEFACT_NAMES.get(row.artefact, row.artefact)}", known.get(_key(row)), row)
        for row in board
        if row.value is not None
    ]


def beside(workstation: Sequence[Row], board: Sequence[Row], *, board_name: str) -> str:
    """A Markdown page of all of it.

    Args:
        workstation: rows that came with the bundle.
        board: rows that its agent measured.
        board_name: how the user names the board.
    """
    pairs = paired(workstation, board)
    lines = [f"# {_cell(board_name)} beside the workstation", ""]
    for where, rows in (("workstation", [p.workstation for p in pairs]), ("board", [p.board for p in pairs])):
        runtimes = sorted({row.runtime for row in rows if row is not None and row.runtime})
        lines.append(f"- {where}: {_cell(', '.join(runtimes)) or 'no runtime named'}")
    lines += ["", "| measured | network | workstation | board |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(map(_cell, (p.what, p.network, *p.texts)))} |" for p in pairs]
    if missing := [row for row in board if row.value is None]:
        lines += ["", "Not measured on the board:", ""]
        lines += [f"- {_cell(row_words(row))}: {row.status}: {_cell(row.reason)}" for row in missing]
    return "\n".join(lines) + "\n"


def _key(row: Row) -> tuple[object, ...]:
    return (row.arm, row.artefact, row.metric, row.split, tuple(sorted((k, str(v)) for k, v in row.detail.items())))


def row_words(row: Row) -> str:
    """Metric and all details: what the number is of."""
    details = ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in sorted(row.detail.items())
    )
    return metric_name(row.metric) + (f" ({details})" if details else "")


def _text(row: Row) -> str:
    interval = interval_text(row)
    return value_text(row) + (f" ({interval})" if interval else "") + f", n {row.n:,}"


def _cell(text: str) -> str:
    """Text that cannot end a table's cell or begin markup: the board's words are not ours."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
