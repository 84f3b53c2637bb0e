"""``edgexai bench [NAME]``: the speed claims as ratios measured in one run, each with its aim, met or missed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from edgexai.cli.options import DataRootOption, JsonOption
from edgexai.errors import UserError

app = typer.Typer(add_completion=False)


@app.command()
def bench(
    name: Annotated[str | None, typer.Argument(help="One family, e.g. epoch, lime or memory. Default: all.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer rounds: a look, not a figure to quote.")] = False,
    as_json: JsonOption = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Also write it to this file; JSON where its name ends in .json.")
    ] = None,
    data_root: DataRootOption = None,
) -> None:
    """Measure the speed claims side by side with the peers; use a quiet machine."""
    _check_out(out)
    from edgexai.bench import FAMILIES
    from edgexai.bench.run import check_family, run_bench
    from edgexai.bench.settings import FULL, QUICK
    from edgexai.bench.table import as_data, as_text, versions

    if name is not None:
        check_family(name)
    about = versions()
    if float(about["load"]) > 0.5:
        # threads that wait for each other lose ten-fold to a busy core: seen, and not seen in the ratio's interval
        print(f"load {about['load']}: the machine is busy; these figures are not to be quoted", file=sys.stderr)
    total = 1 if name else len(FAMILIES)
    done = iter(range(1, total + 1))
    lines = run_bench(
        [name] if name else [],
        QUICK if quick else FULL,
        data_root=data_root,
        starting=lambda family: print(f"bench {next(done)}/{total}: {family}", file=sys.stderr, flush=True),
    )
    text, data = as_text(lines, about), json.dumps(as_data(lines, about), ensure_ascii=False, indent=1)
    print(data if as_json else text)
    if out is not None:
        out.write_text((data if as_json or out.suffix == ".json" else text) + "\n", encoding="utf-8")


def _check_out(out: Path | None) -> None:
    """Finds out before minutes of work that the file cannot be written."""
    if out is None:
        return
    if out.is_dir():
        raise UserError(f"--out {out}: is a folder", next_step="give a file name")
    if not out.parent.is_dir():
        raise UserError(f"--out {out}: the folder {out.parent} does not exist", next_step=f"mkdir -p {out.parent}")
