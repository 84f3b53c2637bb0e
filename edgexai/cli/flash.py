"""``edgexai flash BUNDLE --host user@board``: a bundle into service on a board, verified, and its rows back home.

Exit codes: 2 the bundle, the target, a full disk, another flash at work; 3 the board lacks something; 4 verification
failed; 5 the board cannot be reached or was lost. After each of them the board serves what it served before.
"""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from edgexai.cli.options import JsonOption
from edgexai.errors import UserError

app = typer.Typer(add_completion=False)

_OS = "this does not flash the board's operating system: JetPack must be on it; nothing is written outside {root}"


class Carrier(str, Enum):
    """How the bundle travels."""

    AUTO = "auto"
    RSYNC = "rsync"
    CAT = "cat"


def _list_targets(asked: bool) -> None:
    from edgexai.config.targets import read_target, target_names

    if asked:
        for name in target_names():
            print(f"{name:<24}{read_target(name).title}")
        raise typer.Exit


@app.command()
def flash(
    bundle: Annotated[Path, typer.Argument(help="The bundle, from: edgexai bundle RUN.")],
    host: Annotated[str, typer.Option("--host", help="user@board, or a name of your ssh configuration.")],
    target: Annotated[
        str | None, typer.Option("--target", help="Refuse a board that is not this; see --list-targets.")
    ] = None,
    root: Annotated[str, typer.Option("--root", help="Folder on the board.")] = "~/edgexai",
    python: Annotated[str, typer.Option("--python", help="Interpreter on the board, 3.10 or newer.")] = "python3",
    port: Annotated[int | None, typer.Option("--port", min=1, max=65535, help="Of sshd on the board.")] = None,
    ssh_config: Annotated[
        Path | None, typer.Option("--ssh-config", help="An ssh configuration instead of yours.")
    ] = None,
    signers: Annotated[
        Path | None, typer.Option("--signers", help="OpenSSH allowed_signers: refuse unless one of them signed.")
    ] = None,
    transfer: Annotated[Carrier, typer.Option("--transfer", help="How the bundle travels.")] = Carrier.AUTO,
    timeout_s: Annotated[float, typer.Option("--timeout", min=1, help="Seconds for the longest step.")] = 3600,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print every command; connect to nothing.")] = False,
    as_json: JsonOption = False,
    list_targets: Annotated[
        bool, typer.Option("--list-targets", is_eager=True, callback=_list_targets, help="Name the targets that ship.")
    ] = False,
) -> None:
    """Push a bundle to a board, build, verify, measure, swap it into service, and fetch the board's rows.

    It does not flash the operating system.
    """
    from edgexai.board.flash import Order, planned
    from edgexai.board.flash import flash as flash_it
    from edgexai.board.ssh import Ssh
    from edgexai.cli.flashed import keep
    from edgexai.config.home import default_home

    if ssh_config is not None and not ssh_config.is_file():
        raise UserError(f"{ssh_config}: no such file")
    if target is not None:
        from edgexai.config.targets import read_target

        read_target(target)
    ssh = Ssh(host, port=port, config=ssh_config)
    order = Order(
        bundle,
        ssh,
        root=root,
        python=python,
        target=target,
        signers=signers,
        transfer=transfer.value,
        timeout_s=timeout_s,
    )
    if dry_run:
        print(f"# {_OS.format(root=root)}")
        print("\n".join(planned(order)))
        return
    typer.echo(_OS.format(root=root), err=as_json)
    flashed = flash_it(order, say=lambda line: typer.echo(line, err=as_json))
    kept = keep(flashed, host=host, home=default_home())
    if as_json:
        about = {"release": flashed.release, "host": host, "rows": str(kept.rows), "beside": str(kept.beside)}
        print(json.dumps({**about, "report": str(kept.report) if kept.report else None}))
        return
    print(f"rows: {kept.rows} ({len(flashed.rows)})\nbeside the workstation's: {kept.beside}")
    if kept.report:
        print(f"report: {kept.report}")
