"""``edgexai compare RUN RUN...``: runs side by side, with differences where they looked at the same images."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from edgexai.cli.report import find_run
from edgexai.errors import UserError

_MOST = 6
app = typer.Typer(add_completion=False)


@app.command()
def compare(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN RUN...", help="Run folders, or recipes' names: their latest runs.")
    ],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the page; default: under EDGEXAI_HOME.")] = None,
) -> None:
    """Put two or more runs side by side; the first is what the others are held against."""
    from edgexai.config.home import default_home
    from edgexai.recipe.paired_runs import paired_rows
    from edgexai.report.folder import read_run
    from edgexai.report.side_by_side_page import Pairs, write_comparison

    if not 2 <= len(runs) <= _MOST:
        raise UserError(f"{len(runs)} run(s) given; a comparison takes 2 to {_MOST}", next_step="edgexai compare A B")
    home = default_home()
    folders = [find_run(name, home) for name in runs]
    resolved = [str(folder.resolve()) for folder in folders]
    if len(set(resolved)) < len(resolved):
        raise UserError("one run is given twice", problems=tuple(resolved), next_step="edgexai recipe ls")
    found = [read_run(folder) for folder in folders]
    if empty := [str(run.path) for run in found if not run.rows]:
        raise UserError(
            f"{', '.join(empty)}: no rows (measurements.jsonl) to compare", next_step="edgexai recipe run NAME"
        )
    named = "-".join(run.name for run in found) + hashlib.sha256("\0".join(resolved).encode()).hexdigest()[:8]
    folder = out or home / "comparisons" / named
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: not a folder", next_step="give --out a folder")
    paired = [Pairs(*paired_rows(found[0], run, home=home)) for run in found[1:]]
    print(write_comparison(found, folder, paired=paired))
    print(folder / "compare.md")
