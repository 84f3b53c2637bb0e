"""Reads a recipe: TOML text, then overrides, then the schema, then the checks between tables.

Convention: a name that contains ``/`` or ends in ``.toml`` is a path, anything else a recipe that edgexai ships. Every
fault found is reported in one ``UserError``. Imports no torch.
"""

from __future__ import annotations

import difflib
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from edgexai.config.coherence import incoherences
from edgexai.config.overrides import apply_overrides, table_of
from edgexai.config.recipe import Recipe
from edgexai.config.source import locate_recipe
from edgexai.errors import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Origin = Literal["default", "file", "override"]
_NOUNS = {
    "int": "a whole number",
    "float": "a number",
    "string": "text in quotes",
    "tuple": "a [list]",
    "bool": "true or false",
    "model": "a [table]",
    "model_attributes": "a [table]",
    "dict": "a [table]",
}


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe that passed every check.

    Attributes:
        recipe: the resolved values.
        name: the shipped name, or the file's stem.
        path: the file it was read from.
        origin: dotted key -> where its value comes from, for every key of every table that is present.
    """

    recipe: Recipe
    name: str
    path: Path
    origin: Mapping[str, Origin]


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Reads, overrides and checks one recipe.

    Raises:
        UserError: there is no such recipe, it is not TOML, or its content is at fault (all faults are listed).
    """
    name, path = locate_recipe(name_or_path)
    text, raw = parse_toml(path)
    return checked_recipe(raw, overrides, name=name, path=path, text=text, shipped=name == name_or_path)


def checked_recipe(
    raw: Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    name: str,
    path: Path,
    text: str = "",
    shipped: bool = False,
) -> LoadedRecipe:
    """A recipe's parsed content, overridden and checked.

    Args:
        raw: as TOML gives it; not modified.
        overrides: ``table.key=value`` each.
        name: names the run folder.
        path: the file it comes from.
        text: of that file, so that faults can name a line; "" where the content was put together.
        shipped: ``edgexai recipe show`` knows it by name.

    Raises:
        UserError: the content is at fault; all faults are listed.
    """
    resolved, given, faults = apply_overrides(raw, overrides, schema=Recipe)
    faults += _not_finite(resolved)
    recipe: Recipe | None = None
    try:
        recipe = Recipe.model_validate(resolved)
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            faults.append(_describe(fault, raw=raw, resolved=resolved, text=text, given=given))
    else:
        faults += incoherences(recipe)
    if faults or recipe is None:
        faults = list(dict.fromkeys(faults))
        raise UserError(
            f"{name}: {len(faults)} problem{'s' if len(faults) != 1 else ''}",
            problems=tuple(faults),
            next_step=f"edgexai recipe show {name}"
            if shipped
            else "edgexai recipe schema lists every key with its limits",
        )
    return LoadedRecipe(recipe, name, path, _origins(recipe, raw, given))


def parse_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """A TOML file's text and its parsed content.

    Raises:
        UserError: it cannot be read, or is not TOML; the line is named.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{path}:{line}: not UTF-8 text", next_step="save the recipe as UTF-8") from error
    try:
        return text, tomllib.loads(text)
    except RecursionError as error:
        raise UserError(f"{path}: brackets nested too deeply") from error
    except ValueError as error:  # TOMLDecodeError, or an integer too long for Python
        place = re.search(r"\(at (?:line (\d+), column (\d+)|end of document)\)", str(error))
        said = re.sub(r"\s*\(at [^)]*\)", "", str(error))
        where = f":{place[1]}:{place[2]}" if place and place[1] else f":{text.count(chr(10)) + 1}"
        if "Cannot overwrite" in said or "Cannot declare" in said or "twice" in said:
            said += "; this key or table was already written above"
        raise UserError(
            f"{path}{where}: not TOML: {said}", next_step='TOML writes key = value, text in "quotes", tables as [name]'
        ) from error


def _describe(
    fault: Any, *, raw: Mapping[str, Any], resolved: Mapping[str, Any], text: str, given: Mapping[str, str]
) -> str:
    """One pydantic fault in the user's words: key, what is wrong, what is allowed, and where it stands."""
    keys = [part for part in fault["loc"] if isinstance(part, str)]
    place = [part for part in fault["loc"] if isinstance(part, int)]
    dotted = ".".join(keys) + "".join(f"[{index}]" for index in place)
    kind, value, limits = fault["type"], fault["input"], fault.get("ctx", {})
    # A missing key has no line of its own; its table's header has.
    line = _line_of(text, keys if fault["type"] != "missing" else keys[:-1])
    overridden = any(key == ".".join(keys) or key.startswith(f"{'.'.join(keys)}.") for key in given)
    where = " (override)" if overridden and line is None else f" (line {line})" if line else ""
    if ".".join(keys) in given:
        where = " (override)"
    if kind == "extra_forbidden":
        return f"{dotted}: unknown key; {_nearest(keys)}{where}"
    if kind == "missing":
        if len(keys) == 2 and keys[0] not in raw:
            begun = ", ".join(f"{key}={value}" for key, value in given.items() if key.startswith(f"{keys[0]}."))
            return f"{dotted}: missing; this recipe has no [{keys[0]}] and {begun} alone does not make one"
        wanted = "this table" if table_of(Recipe, keys[0]) and len(keys) == 1 else "this key"
        return f"{dotted}: missing; every recipe needs {wanted}" if len(keys) == 1 else f"{dotted}: missing{where}"
    shown = f"{dotted} = {_short(value)}"
    if kind == "literal_error":
        near = difflib.get_close_matches(str(value), re.findall(r"'([^']*)'", limits["expected"]), n=1)
        return f"{shown}: allowed: {limits['expected']}" + (f'; did you mean "{near[0]}"?' if near else "") + where
    if kind == "value_error":
        said = str(limits["error"])
        return f"{'.'.join(keys)}: {said}{where}" if keys else said
    if kind.endswith(("_type", "_parsing")):
        noun = _NOUNS.get(kind.rsplit("_", 1)[0], fault["msg"])
        hint = f', as in {".".join(keys)}=["{value}"]' if noun == "a [list]" and isinstance(value, str) else ""
        return f"{shown}: {noun} is wanted{hint}{where}"
    return f"{shown}: {fault['msg'].removeprefix('Input ')}{where}"


def _nearest(keys: Sequence[str]) -> str:
    """What the writer of an unknown key may have meant: the nearest name in the same table, then in any table."""
    table: type[BaseModel] = (table_of(Recipe, keys[0]) if len(keys) > 1 else None) or Recipe
    prefix = f"{keys[0]}." if len(keys) > 1 else ""
    if near := difflib.get_close_matches(keys[-1], table.model_fields, n=1, cutoff=0.6):
        return f"did you mean {prefix}{near[0]}?"
    elsewhere = [
        f"{name}.{keys[-1]}"
        for name in Recipe.model_fields
        if (other := table_of(Recipe, name)) and keys[-1] in other.model_fields
    ]
    allowed = f"allowed: {', '.join(table.model_fields)}"
    return f"did you mean {' or '.join(elsewhere)}? {allowed}" if elsewhere else allowed


def _line_of(text: str, keys: Sequence[str]) -> int | None:
    """The line on which a key (or the header of a table) is written; None where it is not written plainly."""
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[\s*([\w-]+)\s*\]", line):
            table = header[1]
            if list(keys) == [table]:
                return number
        elif (pair := re.match(r"\s*([\w-]+)\s*=", line)) and [*([table] if table else []), pair[1]] == list(keys):
            return number
    return None


def _not_finite(raw: Mapping[str, Any]) -> list[str]:
    """TOML can say inf and nan; no recipe value may be either."""
    values = [(name, value) for name, value in raw.items() if not isinstance(value, dict)]
    values += [(f"{t}.{k}", v) for t, table in raw.items() if isinstance(table, dict) for k, v in table.items()]
    return [f"{key} = {value}: not a finite number" for key, value in values if _is_infinite(value)]


def _is_infinite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _short(value: Any) -> str:
    """A value as the user would write it, cut to a line."""
    text = f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _keys(table: BaseModel) -> list[str]:
    """Its fields, and in a table that takes further keys those that were written."""
    return [*type(table).model_fields, *(table.model_extra or ())]


def _origins(recipe: Recipe, raw: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Origin]:
    """Where every value comes from."""
    origin: dict[str, Origin] = {}
    for name, value in recipe:
        leaves = [f"{name}.{key}" for key in _keys(value)] if isinstance(value, BaseModel) else [name]
        if value is None:
            continue
        for leaf in leaves:
            table, _, key = leaf.rpartition(".")
            written = key in (raw.get(table, {}) if table else raw)
            origin[leaf] = "override" if leaf in given else "file" if written else "default"
    return origin
