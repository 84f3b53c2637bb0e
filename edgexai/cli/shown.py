"""A resolved recipe as TOML text, every value tagged default, file or override. The text is itself a recipe."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import BaseModel

from edgexai.config.load import LoadedRecipe


def shown_recipe(loaded: LoadedRecipe) -> str:
    """The recipe's text; keys without a value are left out, since TOML cannot say "none"."""
    plain = [(name, value) for name, value in loaded.recipe if not isinstance(value, BaseModel)]
    tables = [(name, value) for name, value in loaded.recipe if isinstance(value, BaseModel)]
    blocks = [("", "", plain), *((f"{name}.", f"[{name}]", list(table)) for name, table in tables)]
    out = []
    for prefix, header, pairs in blocks:
        lines = [
            (f"{_key(key)} = {_toml(value)}", loaded.origin[f"{prefix}{key}"])
            for key, value in pairs
            if value is not None
        ]
        # Long lists must not push every tag to the right.
        width = max((len(text) for text, _ in lines if len(text) <= 60), default=0)
        out.append("\n".join([*([header] if header else []), *(f"{text:<{width}}  # {tag}" for text, tag in lines)]))
    return "\n\n".join(out) + "\n"


def _key(name: str) -> str:
    """Bare where TOML allows it; a gate's column has spaces, hence quotes."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def _toml(value: Any) -> str:
    """One value as a TOML literal."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        # A JSON string is a TOML basic string, except that TOML also wants DEL escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_toml, value))}]"
    return repr(value)
