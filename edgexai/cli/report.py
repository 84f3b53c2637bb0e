"""``edgexai report RUN...``: report, card and CSV of run folders again, and documentation filled from their rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from edgexai.errors import UserError

app = typer.Typer(add_completion=False)


def find_run(name: str, home: Path) -> Path:
    """The run folder meant by ``name``: a folder, or a recipe's newest run.

    Args:
        name: a path, or a recipe's name.
        home: EDGEXAI_HOME.

    Raises:
        UserError: neither is there.
    """
    given = Path(name)
    if "/" in name or name in (".", ".."):
        if given.is_dir():
            return given
        raise UserError(f"{name}: no such run folder", next_step="edgexai recipe run NAME makes one")
    folder = home / "runs" / name
    runs = [] if not folder.is_dir() else [p for p in folder.iterdir() if p.is_dir() and not p.is_symlink()]
    if runs:
        return max(runs, key=_age)
    if given.is_dir():
        return given
    raise UserError(
        f"{name}: no run of a recipe of this name under {home / 'runs'}, and no folder of this name here",
        next_step=f"edgexai recipe run {name}",
    )


def _age(run: Path) -> tuple[int, str]:
    # Making a report again touches the folder, so the lock's age decides.
    lock = run / "recipe.lock.json"
    return (lock if lock.is_file() else run).stat().st_mtime_ns, run.name


@app.command()
def report(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="RUN...", help="Run folder, or a recipe's name: its latest run.")
    ] = None,
    template: Annotated[
        str, typer.Option(help="Also fill technical documentation: annex-iv, iso-pas-8800, iso-21448.")
    ] = "",
    signs: Annotated[int, typer.Option(min=0, max=100_000, help="Explained signs a gallery, at most.")] = 8,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of a row and stop.")] = False,
) -> None:
    """Make a run's report again from its rows and pictures."""
    from edgexai.config.home import default_home
    from edgexai.report.folder import read_run, write_whole
    from edgexai.report.html import write_report

    if schema:
        from edgexai.report.row_schema import row_schema

        print(json.dumps(row_schema(), indent=1))
        return
    if not runs:
        raise UserError("no run given", next_step="edgexai report RUN, a run folder or a recipe's name")
    home = default_home()
    for folder in [find_run(name, home) for name in runs]:
        if template:
            from edgexai.report.technical import technical_documentation

            text = technical_documentation(read_run(folder), template)  # an unknown name is refused before any work
        print(write_report(folder, signs=signs))
        if template:
            write_whole(folder / f"technical_{template}.md", text)
            print(folder / f"technical_{template}.md")
