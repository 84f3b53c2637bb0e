"""The list behind ``edgexai recipe ls``. Kept apart so that it costs neither typer nor pydantic."""

from __future__ import annotations

from edgexai.config.source import recipe_title, shipped_recipes


def print_recipes(*, as_json: bool) -> None:
    """Prints name and title of every recipe that ships, one a line or as one JSON list."""
    titles = {name: recipe_title(path) for name, path in shipped_recipes().items()}
    if as_json:
        import json

        print(json.dumps([{"name": name, "title": title} for name, title in titles.items()], ensure_ascii=False))
        return
    width = max(map(len, titles), default=0)
    for name, title in titles.items():
        print(f"{name:<{width}}  {title}")
