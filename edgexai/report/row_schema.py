"""JSON Schema (draft 2020-12) of one line of ``measurements.jsonl``, made from ``types.Row``.

``docs/schema/rows.schema.json`` is this, written out; ``python -m edgexai report --schema`` prints it.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from dataclasses import MISSING, fields
from typing import Any

from edgexai.types import Row

_SCALARS: dict[object, str] = {str: "string", int: "integer", float: "number", type(None): "null"}


def row_schema() -> dict[str, Any]:
    """The schema: every field with its type and meaning; unknown fields are refused."""
    hints = typing.get_type_hints(Row)
    meanings = _meanings(inspect.getdoc(Row) or "")
    properties: dict[str, Any] = {}
    for field in fields(Row):
        # What Row writes is what a reader finds: from_json alone tolerates absent defaults.
        properties[field.name] = {**_type(hints[field.name]), "description": meanings.get(field.name, "")}
    required = [field.name for field in fields(Row) if field.default is MISSING and field.default_factory is MISSING]
    measured = {"properties": {"status": {"const": "measured"}}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "edgexai row: one measured number, or why it was not measured",
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
        "if": measured,
        "then": {"properties": {"value": {"type": "number"}}},
        "else": {"properties": {"value": {"type": "null"}}},
    }


def _type(hint: Any) -> dict[str, Any]:
    if hint in _SCALARS:
        return {"type": _SCALARS[hint]}
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return {"enum": list(inner)}
    if origin in (typing.Union, types.UnionType):
        # Every float may be written as a whole number: "number" covers both.
        names = [_SCALARS[kind] for kind in inner]
        return {"type": [n for n in names if n != "integer" or "number" not in names]}
    if origin is tuple:
        return {"type": "array", "items": _type(inner[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _type(inner[1])}
    raise TypeError(f"no schema for {hint!r}")


def _meanings(doc: str) -> dict[str, str]:
    """Field -> its words in the docstring's "Attributes"; one entry may name several fields."""
    body = doc.partition("Attributes:")[2]
    found: dict[str, str] = {}
    for names, words in re.findall(r"^ {4}(\w[\w, ]*): ((?:.+\n?)(?:^ {8}.*\n?)*)", body, re.M):
        for name in names.split(", "):
            found[name] = " ".join(words.split())
    return found
