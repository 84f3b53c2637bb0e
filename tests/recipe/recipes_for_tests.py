"""Small recipes, as data; the name says which tables they have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgexai.config.load import LoadedRecipe
from edgexai.config.recipe import Recipe

BASE: dict[str, Any] = {
    "title": "a test",
    "data": {"name": "signs", "size": 32, "per_class": 4},
    "model": {"name": "signnet"},
    "train": {"method": "natural", "epochs": 2},
}
ENGINE: dict[str, Any] = {
    "export": {"precision": "int8"},
    "engine": {"runtime": "onnxruntime"},
    "measure": {"n": 10},
}
LIME: dict[str, Any] = {"refine": {"method": "lime", "rounds": 2}}
PRUNE: dict[str, Any] = {"prune": {"method": "channel"}}
RECIPES: dict[str, dict[str, Any]] = {
    "bare": BASE,
    "natural": {**BASE, **ENGINE},
    "lime": {**BASE, **LIME, **ENGINE},
    "pruned": {**BASE, **PRUNE, **ENGINE},
    "pruned_lime": {**BASE, **LIME, **PRUNE, **ENGINE},
    "gated": {**BASE, **ENGINE, "gate": {"clean_acc": ">= 0.97"}},
    "passing": {**BASE, **ENGINE, "gate": {"clean_acc": ">= 0.4"}},
}


def loaded(name: str, changes: dict[str, Any] | None = None) -> LoadedRecipe:
    """The recipe with ``changes`` ("table.key" or "key" -> value; None removes)."""
    content = {key: dict(value) if isinstance(value, dict) else value for key, value in RECIPES[name].items()}
    for dotted, value in (changes or {}).items():
        table, _, key = dotted.rpartition(".")
        place = content.setdefault(table, {}) if table else content
        if value is None:
            place.pop(key)
        else:
            place[key] = value
    return LoadedRecipe(Recipe.model_validate(content), name, Path(f"{name}.toml"), {})
