"""Where a recipe's text is: shipped names, paths, and the list of what ships. TOML only, for a quick listing."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from edgexai.config.shipped import folder
from edgexai.errors import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def shipped_recipes() -> dict[str, Path]:
    """Name -> file of every recipe that ships, sorted by name."""
    return {path.stem: path for path in sorted(folder("recipes").glob("*.toml"))}


def recipe_title(path: Path) -> str:
    """The title a recipe gives itself; empty where the file is broken (``recipe validate`` says how)."""
    try:
        title = tomllib.loads(path.read_text(encoding="utf-8")).get("title", "")
    except (OSError, ValueError):
        return ""
    return title if isinstance(title, str) else ""


def locate_recipe(name_or_path: str) -> tuple[str, Path]:
    """A recipe's name and file.

    Raises:
        UserError: no such file, no such shipped recipe (the nearest names are given), or an unusable file name.
    """
    if "/" not in name_or_path and not name_or_path.endswith(".toml"):
        shipped = shipped_recipes()
        if name_or_path not in shipped:
            import difflib  # only on this path: the listing must not pay for it

            near = difflib.get_close_matches(name_or_path, shipped, n=3, cutoff=0.5)
            meant = f"; did you mean {' or '.join(near)}?" if near else ""
            raise UserError(
                f'no recipe "{name_or_path}"{meant}',
                problems=(f"allowed: {', '.join(shipped)}; or a path with a / or ending in .toml",),
                next_step="edgexai recipe ls",
            )
        return name_or_path, shipped[name_or_path]
    path = Path(name_or_path)
    if not path.is_file():
        raise UserError(f"{path}: {'a folder' if path.is_dir() else 'no such file'}, not a recipe")
    # The stem names the run folder, so it must be an ordinary file name: never "..", never an option.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", path.stem):
        raise UserError(
            f'{path}: "{path.stem}" cannot name a run folder', next_step="use letters, digits, _ . - in the file name"
        )
    return path.stem, path
