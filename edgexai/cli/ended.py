"""What a person sees when a run has ended: the short table of its networks, its gates, and where the report is."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from edgexai.types import Row


def print_ended(folder: Path) -> None:
    """Prints the summary of a run folder's rows (nothing where there are none) and the path of its report.

    Where the recipe has gates also how many were kept, and the files that tell a pipeline so.
    """
    from edgexai.report.tables import summary_table

    source = folder / "measurements.jsonl"
    rows = [Row.from_json(line) for line in source.read_text().splitlines()] if source.is_file() else []
    heading, *lines = summary_table(rows) or [[]]
    if lines and sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(*heading)
        for line in lines:
            table.add_row(*map(Text, line))  # Text: an interval's brackets are not markup
        Console().print(table)
    elif lines:
        widths = [max(map(len, column)) for column in zip(heading, *lines, strict=True)]
        for line in (heading, *lines):
            print("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
    if lines and any("!" in cell for line in lines for cell in line):
        print("! a flag was raised; the report says which and what it means")
    decided = folder / "gates.json"
    if gates := json.loads(decided.read_text()) if decided.is_file() else []:
        kept = sum(bool(gate["passed"]) for gate in gates)
        print(f"gates: {kept} of {len(gates)} kept; for a pipeline: {folder / 'results.sarif'} and junit.xml beside it")
    page = folder / "report.html"
    print(f"report: {page}" if page.is_file() else f"run folder: {folder}")
