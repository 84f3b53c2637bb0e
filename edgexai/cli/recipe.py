"""``edgexai recipe``: ls, show, cp, validate, schema, run, status. Only ``run`` may come to import torch."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from edgexai.cli.options import DataRootOption, Device, DeviceOption, JsonOption
from edgexai.errors import EXIT_USER, UserError

app = typer.Typer(add_completion=False)
Name = Annotated[str, typer.Argument(help="A shipped recipe, or a path with a / or ending in .toml.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="table.key=value, the value in TOML, e.g. train.epochs=3"),
]


@app.command()
def ls(as_json: JsonOption = False) -> None:
    """List the recipes that ship, with their titles."""
    from edgexai.cli.listing import print_recipes

    print_recipes(as_json=as_json)


@app.command()
def show(name: Name, overrides: Overrides = None, as_json: JsonOption = False) -> None:
    """Show a recipe with every value resolved, and whether it is a default, the file's or an override."""
    from edgexai.cli.shown import shown_recipe
    from edgexai.config.load import load_recipe

    loaded = load_recipe(name, overrides or [])
    if as_json:
        content = loaded.recipe.model_dump(mode="json", exclude_none=True)
        print(json.dumps({"name": loaded.name, "recipe": content, "origin": dict(loaded.origin)}, ensure_ascii=False))
    else:
        print(shown_recipe(loaded), end="")


@app.command()
def cp(name: Name, file: Annotated[Path, typer.Argument(help="The new file; never overwritten.")]) -> None:
    """Copy a recipe, comments and all, to a file of your own."""
    from edgexai.config.source import locate_recipe

    _, source = locate_recipe(name)
    if file.is_dir():
        raise UserError(f"{file}: a folder", next_step=f"edgexai recipe cp {name} {file / source.name}")
    if file.suffix != ".toml":
        raise UserError(f"{file}: a recipe's name ends in .toml", next_step=f"edgexai recipe cp {name} {file}.toml")
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(source.read_text(encoding="utf-8"))
    except FileExistsError as error:
        raise UserError(f"{file}: exists, and is never overwritten", next_step="choose another file name") from error
    except FileNotFoundError as error:
        raise UserError(f"{file}: no such folder", next_step=f"mkdir -p {file.parent}") from error
    print(f"wrote {file}; edgexai recipe run {file if '/' in str(file) else f'./{file}'} runs it")


@app.command()
def validate(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME|FILE...", help="Shipped recipes or files."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every recipe that ships.")] = False,
) -> None:
    """Check recipes without running them; all faults are listed, and any of them ends with exit code 2."""
    from edgexai.config.load import load_recipe
    from edgexai.config.source import shipped_recipes

    wanted = [*(shipped_recipes() if every else ()), *(names or ())]
    if not wanted:
        raise UserError("nothing to validate", next_step="name a recipe or a file, or say --all")
    faulty = 0
    for name in wanted:
        try:
            load_recipe(name)
        except UserError as error:
            faulty += 1
            print(f"error: {error}", file=sys.stderr)
        else:
            print(f"ok  {name}")
    if faulty:
        raise typer.Exit(EXIT_USER)


@app.command()
def schema() -> None:
    """Print the JSON schema of a recipe, for editors."""
    from edgexai.config.json_schema import recipe_json_schema

    print(json.dumps(recipe_json_schema(), indent=2, ensure_ascii=False))


@app.command()
def run(
    name: Name,
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run; compute and write nothing.")] = False,
    until: Annotated[str | None, typer.Option(help="Stop after this stage.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="Recompute this stage and all after it.")] = None,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="End with the bundle for a board, in this file.")
    ] = None,
    device: DeviceOption = Device.CPU,
    data_root: DataRootOption = None,
) -> None:
    """Run a recipe: what is stored already is used, never computed again. Under torchrun all processes train."""
    from edgexai.config.home import default_home
    from edgexai.config.load import load_recipe
    from edgexai.recipe.crew import crew
    from edgexai.recipe.run import RecipeGateFailed, run_recipe

    loaded = load_recipe(name, overrides or [])
    if bundle is not None:
        if not bundle.parent.is_dir() or bundle.is_dir():
            raise UserError(
                f"--bundle {bundle}: no such folder, or a folder itself", next_step="name a file in a folder"
            )
        if until is not None or loaded.recipe.export is None or loaded.recipe.measure is None:
            raise UserError("--bundle: a bundle needs [export] and [measure], and a run to its end")
    try:
        with nullcontext() if dry_run else crew(loaded.recipe, device=device.value) as helped:
            if helped is not None and not helped.team.leads:
                helped.follow()
                return
            folder = run_recipe(
                loaded,
                home=default_home(),
                device=device.value,
                data_root=data_root,
                until=until,
                from_=start,
                dry_run=dry_run,
                crew=helped,
            ).folder
    except RecipeGateFailed as failed:
        # The evidence stands, whichever way the gate was decided.
        _ended(failed.result.folder)
        raise
    if not dry_run:
        _ended(folder)
        if bundle is not None:
            from edgexai.recipe.bundle import bundle_run

            bundle_run(folder, bundle, home=default_home())
            print(f"bundle: {bundle}")


@app.command()
def status(
    name: Name,
    overrides: Overrides = None,
    device: DeviceOption = Device.CPU,
    data_root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show every stage of a recipe: its key, whether it is stored, and how large it is."""
    from edgexai.config.home import default_home
    from edgexai.config.load import load_recipe
    from edgexai.recipe.status import recipe_status

    loaded = load_recipe(name, overrides or [])
    nodes = recipe_status(loaded, home=default_home(), device=device.value, data_root=data_root)
    if as_json:
        print(json.dumps([node._asdict() for node in nodes]))
        return
    width = max(len(node.node) for node in nodes)
    for node in nodes:
        state = "stored" if node.stored else "damaged" if node.problem else "checkpoint" if node.checkpoint else "-"
        size = f"{node.size_bytes / 1e6:.1f} MB" if node.size_bytes else ""
        print(f"{node.node:<{width}}  {node.key}  {state:<10}  {size:>9}  {node.problem}".rstrip())


def _ended(folder: Path) -> None:
    from edgexai.cli.ended import print_ended

    print_ended(folder)
