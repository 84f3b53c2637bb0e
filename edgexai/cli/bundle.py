"""``edgexai bundle RUN``: packs what a run ended with, for a board: one file, the same bytes every time."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(add_completion=False)


@app.command()
def bundle(
    run: Annotated[str, typer.Argument(help="A recipe's name (its latest run) or a run folder.")],
    out: Annotated[Path | None, typer.Option("--out", help="The file; default: RECIPE-RUN.tar here.")] = None,
    target: Annotated[str | None, typer.Option("--target", help="Board it is meant for, see deploy/targets.")] = None,
    golden: Annotated[int, typer.Option("--golden", min=32, max=4096, help="Golden images.")] = 1000,
    rebuilds: Annotated[int, typer.Option("--rebuilds", min=4, help="Recalibrations behind the tolerance.")] = 16,
    table: Annotated[
        Path | None, typer.Option("--detection", help="Instead write here how often good and broken engines pass.")
    ] = None,
    key: Annotated[Path | None, typer.Option("--key", help="Sign with this SSH key: FILE.sig beside it.")] = None,
) -> None:
    """Pack the deployed engine with probes, golden vectors, evidence and agent."""
    from edgexai.board.sign import check_key, sign
    from edgexai.cli.report import find_run
    from edgexai.config.home import default_home
    from edgexai.config.targets import target_names
    from edgexai.errors import UserError
    from edgexai.recipe.bundle import bundle_name, bundle_run

    # All that can be refused is refused before minutes of rebuilding.
    for option, file in (("--out", out), ("--detection", table)):
        if file is not None and not file.parent.is_dir():
            raise UserError(
                f"{option} {file}: the folder {file.parent} does not exist", next_step=f"mkdir -p {file.parent}"
            )
        if file is not None and file.is_dir():
            raise UserError(f"{option} {file}: is a folder", next_step="name a file in it")
    if table is not None and (out is not None or key is not None or target is not None):
        raise UserError("--detection writes its table and no bundle: leave out --out, --key and --target")
    if key is not None:
        check_key(key)
    if target is not None and target not in target_names():
        raise UserError(
            f"--target {target}: there are: {', '.join(target_names())}",
            next_step="a target file of your own is named to edgexai flash",
        )
    home = default_home()
    folder = find_run(run, home)
    if table is not None:
        _detection(folder, table, home=home, n=golden, repeats=rebuilds)
        return
    path = out or Path(bundle_name(folder))
    manifest = bundle_run(folder, path, home=home, target=target, n_golden=golden, repeats=rebuilds, progress=_progress)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    print(f"{path}: {manifest['name']}, {manifest['arm']} {manifest['artefact']}, {path.stat().st_size / 1e6:.1f} MB")
    print(f"sha256 {digest}")
    if key is not None:
        print(f"signed: {sign(path, key=key)}")


def _detection(folder: Path, path: Path, *, home: Path, n: int, repeats: int) -> None:
    from edgexai.board.detection import table
    from edgexai.recipe.bundle import GOLDEN_MAPS
    from edgexai.recipe.detection import detection_of_run

    lines = detection_of_run(
        folder, home=home, n=n, n_maps=min(GOLDEN_MAPS, n), pool=3 * n, repeats=repeats, progress=_progress
    )
    path.write_text(table(lines), encoding="utf-8")
    print(table(lines), end="")


def _progress(event: Mapping[str, Any]) -> None:
    of = f" ({event['done']}/{event['total']})" if "total" in event else ""
    print(f"{event['what']}{of}", file=sys.stderr)
