"""``table.key=value`` from the command line, parsed as TOML literals and laid over a recipe's text.

Convention: split at the first ``=``; the value is a TOML literal on one line. Bare text is accepted only where the
schema wants text, so ``refine.eps=8/255`` works in a shell without quotes and ``train.epochs=many`` is a fault.
A table that the recipe lacks appears as soon as one of its keys is given; the schema then demands its required keys.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from copy import deepcopy
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def apply_overrides(
    raw: Mapping[str, Any], overrides: Sequence[str], *, schema: type[BaseModel]
) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """Lays ``overrides`` over the parsed recipe ``raw``, which is not modified.

    Returns:
        The new mapping; what was overridden, as dotted key -> the text given; and one line per fault found on the way.
        Unknown keys are kept in the mapping: the schema reports them with the file's own.
    """
    out = deepcopy(dict(raw))
    given: dict[str, str] = {}
    faults: list[str] = []
    for text in overrides:
        dotted, equals, value_text = _split(text, schema)
        parts = dotted.split(".", 1) if _takes_any_key(schema, dotted.partition(".")[0]) else dotted.split(".")
        if not equals or not all(parts):
            faults.append(f'"{text}": not an override; write table.key=value, as in train.epochs=3')
        elif dotted in given:
            faults.append(f"{dotted}: given twice, as {given[dotted]} and {value_text}")
        else:
            given[dotted] = value_text
            fault = _set(out, parts, value_text, schema)
            if fault:
                faults.append(f"{dotted}: {fault} (override)")
    return out, given, faults


def _split(text: str, schema: type[BaseModel]) -> tuple[str, str, str]:
    """Key, "=" and value; a key that names rows has "=" in it, so its value begins at the one before the condition."""
    if _takes_any_key(schema, text.partition(".")[0].strip()) and (at := re.search(r"=(?=\s*[\"']?\s*[<>]=)", text)):
        return text[: at.start()].strip(), "=", text[at.end() :]
    dotted, equals, value = text.partition("=")
    return dotted.strip(), equals, value


def _takes_any_key(schema: type[BaseModel], name: str) -> bool:
    table = table_of(schema, name)
    return table is not None and table.model_config.get("extra") == "allow"


def _set(out: dict[str, Any], parts: list[str], text: str, schema: type[BaseModel]) -> str:
    """Puts one value in place; returns the fault, or an empty string."""
    head, *rest = parts
    table = table_of(schema, head)
    if table is not None and not rest:
        return f"is a table; write {head}.KEY=VALUE with one of {', '.join(table.model_fields)}"
    if len(rest) > 1 or (rest and head in schema.model_fields and table is None):
        return "recipes have tables one level deep; write table.key=value"
    field = (table if rest and table else schema).model_fields.get(parts[-1])
    value: Any = text.strip()
    try:
        literal: Any = None if "\n" in text or "\r" in text else tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # TOMLDecodeError is a ValueError; so is an integer of 5,000 digits
        literal = None
    if (field is None and rest and _takes_any_key(schema, head)) or (field and accepts_text(field.annotation)):
        value = literal if isinstance(literal, str) else value
    elif literal is None:
        # An unknown key is reported once, by the schema, whatever its value looks like.
        if field is not None:
            is_list = get_origin(field.annotation) is tuple or any(
                get_origin(a) is tuple for a in get_args(field.annotation)
            )
            wanted = f'a list, as in {".".join(parts)}=["{text.strip()}"]' if is_list else "a number, true or false"
            return f"{text.strip() or 'nothing'} is not a TOML value; write {wanted}"
    else:
        value = literal
    target = out
    if rest:
        target = out.setdefault(head, {})
        if not isinstance(target, dict):
            return f"{head} is not a table in this recipe"
    target[parts[-1]] = value
    return ""


def table_of(schema: type[BaseModel], name: str) -> type[BaseModel] | None:
    """The table class behind a field of ``schema``; None where the field is a plain value or does not exist."""
    field = schema.model_fields.get(name)
    if field is None:
        return None
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def accepts_text(annotation: Any) -> bool:
    """True where a value of this type may be a string: str, Literal of strings, or a union with one of them."""
    origin = get_origin(annotation)
    if origin is Literal:
        return any(isinstance(choice, str) for choice in get_args(annotation))
    if origin is Annotated:
        return accepts_text(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return any(accepts_text(choice) for choice in get_args(annotation))
    return annotation is str
