"""Reads a study: TOML text, the schema, and one checked recipe for every arm and seed.

Convention as for recipes: a name that contains ``/`` or ends in ``.toml`` is a path, anything else a study that edgexai
ships. Overrides are laid over every arm's recipe last (``train.epochs=1``); ``seeds=[0]`` replaces the seeds.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgexai.config.load import LoadedRecipe, checked_recipe, parse_toml
from edgexai.config.recipe import Recipe
from edgexai.config.shipped import folder
from edgexai.config.source import locate_recipe
from edgexai.config.study import Study
from edgexai.errors import UserError


@dataclass(frozen=True)
class LoadedStudy:
    """A study that passed every check.

    Attributes:
        study: the resolved values.
        name: the shipped name, or the file's stem.
        path: the file it was read from.
        recipes: (arm, seed) -> recipe; arms that share one have equal ones.
    """

    study: Study
    name: str
    path: Path
    recipes: Mapping[tuple[str, int], LoadedRecipe]


def shipped_studies() -> dict[str, Path]:
    """Name -> file of every study that ships, sorted by name."""
    return {path.stem: path for path in sorted((folder("recipes") / "studies").glob("*.toml"))}


def load_study(name_or_path: str, overrides: Sequence[str] = ()) -> LoadedStudy:
    """Reads and checks one study and the recipes of its arms.

    Raises:
        UserError: there is no such study, it is not TOML, or its content is at fault (all faults are listed).
    """
    name, path = _locate(name_or_path)
    _, raw = parse_toml(path)
    seeds = [text for text in overrides if text.partition("=")[0].strip() == "seeds"]
    for text in seeds:
        raw["seeds"] = _seeds(text)
    try:
        study = Study.model_validate(raw)
    except ValidationError as error:
        faults = [_say(fault) for fault in error.errors(include_url=False)]
        raise UserError(f"{path}: {len(faults)} faults", problems=tuple(faults)) from error
    base = dict(study.base)
    if study.recipe is not None:
        base = _over(parse_toml(locate_recipe(study.recipe)[1])[1], base)
    rest = [text for text in overrides if text not in seeds]
    recipes: dict[tuple[str, int], LoadedRecipe] = {}
    problems: list[str] = []
    for arm, table in study.arms.items():
        own = study.arms[table.like] if table.like else table
        tables = {key: value for key, value in base.items() if isinstance(value, dict) and key != "gate"}
        for seed in study.seeds:
            raw_recipe = {"title": f"{study.title}: {own.title}", **_over(tables, own.tables()), "seed": seed}
            shared = f"{name}.{table.like or arm}"
            try:
                recipes[arm, seed] = checked_recipe(raw_recipe, rest, name=shared, path=path)
            except UserError as error:
                problems += [f"arm {arm}: {problem}" for problem in error.problems or (str(error),)]
                break
        if not problems:
            problems += _without_network(arm, table.network, recipes[arm, study.seeds[0]].recipe)
    if problems:
        raise UserError(f"{name}: {len(problems)} faults", problems=tuple(dict.fromkeys(problems)))
    return LoadedStudy(study, name, path, recipes)


def _without_network(arm: str, network: str | None, recipe: Recipe) -> list[str]:
    """A fault where the arm's recipe does not make the network that the arm asks for, or measures nothing."""
    if recipe.measure is None:
        return [f"arm {arm}: a study needs [measure]"]
    has = {
        "natural": True,
        "refined": recipe.refine is not None,
        "control": recipe.refine is not None and recipe.refine.control != "none",
        "pruned": recipe.prune is not None,
    }
    if network is None or has[network]:
        return []
    return [
        f'arm {arm}: its recipe makes no "{network}" network; it has: {", ".join(n for n, made in has.items() if made)}'
    ]


def _locate(name_or_path: str) -> tuple[str, Path]:
    if "/" in name_or_path or name_or_path.endswith(".toml"):
        return locate_recipe(name_or_path)
    known = shipped_studies()
    if name_or_path not in known:
        near = difflib.get_close_matches(name_or_path, known, n=3, cutoff=0.5)
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        allowed = f"allowed: {', '.join(known)}; or a path with a / or ending in .toml"
        raise UserError(f'no study "{name_or_path}"{meant}', problems=(allowed,), next_step="edgexai study")
    return name_or_path, known[name_or_path]


def _over(tables: Mapping[str, Any], changes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """``changes`` laid over ``tables``, key by key; neither is modified."""
    out = deepcopy(dict(tables))
    for name, keys in changes.items():
        out[name] = {**out.get(name, {}), **deepcopy(dict(keys))}
    return out


def _seeds(text: str) -> list[int]:
    listed = text.partition("=")[2].strip().strip("[]").replace(",", " ").split()
    if not listed or not all(word.isdigit() for word in listed):
        raise UserError(f"{text}: seeds are whole numbers", next_step="write seeds=[0,1,2]")
    return [int(word) for word in listed]


def _say(fault: Any) -> str:
    place = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "value_error":
        said = str(fault["ctx"]["error"])
    elif fault["type"] == "extra_forbidden":
        said = "unknown key"
    else:
        said = str(fault["msg"]).removeprefix("Input ")
    return f"{place}: {said}" if place else said
