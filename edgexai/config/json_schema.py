"""JSON schema of a recipe, for editors that complete and check TOML (Taplo, Even Better TOML). Made from ``Recipe``."""

from __future__ import annotations

from typing import Any

from edgexai.config.recipe import Recipe


def recipe_json_schema() -> dict[str, Any]:
    """The schema as a plain mapping; a recipe that passes it may still fail the checks between tables.

    Source: JSON Schema draft 2020-12.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Recipe.model_json_schema(),
        "title": "edgexai recipe",
    }
