"""``edgexai doctor [RECIPE]``: what this machine can do, what is missing, what would install it.

Exit code 3 where a recipe is named and one of its needs is not met.
"""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from typing import Annotated

import typer

from edgexai import __version__
from edgexai.cli.machine import OPTIONAL, Finding, findings
from edgexai.cli.options import DataRootOption, Device, DeviceOption, JsonOption
from edgexai.config.recipe import Recipe
from edgexai.errors import MissingCapability

app = typer.Typer(add_completion=False)


@app.command()
def doctor(
    recipe: Annotated[str | None, typer.Argument(help="A recipe whose needs are to be met.")] = None,
    device: DeviceOption = Device.CPU,
    data_root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what this machine can do, what is missing, and what would install it."""
    from edgexai.config.load import load_recipe

    loaded = load_recipe(recipe) if recipe else None
    found = findings(data_root=data_root)
    wanted = needs(loaded.recipe, device=device) if loaded else {}
    if device is Device.CUDA:
        wanted["cuda"] = "--device cuda"
    unmet = [finding for finding in found if finding.name in wanted and not finding.here]
    if as_json:
        content = {"findings": [asdict(f) for f in found], "needs": wanted, "unmet": [f.name for f in unmet]}
        print(json.dumps(content, ensure_ascii=False))
    else:
        print(
            f"edgexai {__version__}, Python {platform.python_version()}, {platform.platform()}, {os.cpu_count()} cores"
        )
        for finding in found:
            print("\n".join(_lines(finding)))
    if unmet:
        who = loaded.name if loaded else "--device cuda"
        raise MissingCapability(
            f"{who}: {len(unmet)} need{'s are' if len(unmet) > 1 else ' is'} not met here",
            problems=tuple(f"{f.name} ({wanted[f.name]}): {f.detail}; {f.remedy}" for f in unmet),
            next_step="meet the needs above, then: edgexai doctor" + (f" {recipe}" if recipe else ""),
        )
    if loaded and not as_json:
        print(f"{loaded.name}: can run here")


def needs(recipe: Recipe, *, device: Device) -> dict[str, str]:
    """Names of findings that a recipe cannot do without -> the table that asks for them."""
    wanted = {"torch": "[train]", f"data:{recipe.data.name}": "[data]", "home": "the store"}
    if recipe.prune:
        wanted["torch-pruning"] = "[prune]"
    if recipe.export:
        wanted["onnx"] = "[export]"
    if recipe.engine:
        wanted[recipe.engine.runtime] = "[engine]"
    if recipe.measure and recipe.measure.unknown:
        wanted[f"data:{recipe.measure.unknown}"] = "[measure]"
    if recipe.measure or recipe.refine:
        wanted["captum"] = "[measure]" if recipe.measure else "[refine]"
    if device is Device.CUDA:
        wanted["cuda"] = "--device cuda"
    return wanted


def _lines(finding: Finding) -> list[str]:
    """A finding in one or two lines."""
    state = "here" if finding.here else "optional" if finding.name in OPTIONAL else "missing"
    remedy = [f"{'':<10}{'':<20}-> {finding.remedy}"] if finding.remedy else []
    return [f"{state:<10}{finding.name:<20}{finding.detail}", *remedy]
