"""``edgexai study``: many arms over one store, the tables of the sources, a verdict per claim."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgexai.cli.options import DataRootOption, Device, DeviceOption

if TYPE_CHECKING:
    from edgexai.config.load_study import LoadedStudy

app = typer.Typer(add_completion=False)


class Launcher(str, Enum):
    """Who runs the arms."""

    LOCAL = "local"
    RAY = "ray"


@app.command(no_args_is_help=False)
def study(
    name: Annotated[
        str | None, typer.Argument(help="A shipped study, or a path with a / or ending in .toml; none lists them.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="laid over every arm's recipe: train.epochs=1; or seeds=[0]"),
    ] = None,
    launcher: Annotated[Launcher, typer.Option(help="In this machine's processes, or on a Ray cluster.")] = (
        Launcher.LOCAL
    ),
    workers: Annotated[int, typer.Option(min=1, help="Recipes at one time.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the study and list its recipes.")] = False,
    out: Annotated[Path | None, typer.Option(help="Also write the Markdown tables to this file.")] = None,
    device: DeviceOption = Device.CPU,
    data_root: DataRootOption = None,
) -> None:
    """Run a study: every arm and seed through the store, tables with intervals, a verdict for every claim."""
    from edgexai.config.load_study import load_study, shipped_studies

    if name is None:
        from edgexai.config.source import recipe_title

        titles = {known: recipe_title(path) for known, path in shipped_studies().items()}
        width = max(map(len, titles), default=0)
        for known, title in titles.items():
            print(f"{known:<{width}}  {title}")
        return
    loaded = load_study(name, overrides or [])
    if dry_run:
        recipes = dict.fromkeys((recipe.name, seed) for (_, seed), recipe in loaded.recipes.items())
        print(f"{name}: {len(loaded.study.arms)} arms x {len(loaded.study.seeds)} seeds, {len(recipes)} recipes")
        for recipe, seed in recipes:
            print(f"{recipe}  seed {seed}")
        return
    _run(loaded, launcher=launcher.value, workers=workers, device=device.value, data_root=data_root, out=out)


def _run(
    loaded: LoadedStudy, *, launcher: str, workers: int, device: str, data_root: Path | None, out: Path | None
) -> None:
    from edgexai.config.home import default_home
    from edgexai.recipe.events import show
    from edgexai.study.run import run_study

    with show(sys.stderr) as progress:
        result = run_study(
            loaded,
            home=default_home(),
            device=device,
            data_root=data_root,
            launcher=launcher,
            workers=workers,
            progress=progress,
        )
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text((result.folder / "study.md").read_text(encoding="utf-8"), encoding="utf-8")
    for judged in (*result.results.claims, *result.results.correlations):
        if judged.verdict:
            print(f"{judged.verdict:<13} {judged.says or judged.statistic}")
    print(f"study: {result.folder / 'study.html'}")
