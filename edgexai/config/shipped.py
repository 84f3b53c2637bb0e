"""Where the TOML files that come with edgexai lie.

A wheel carries them inside the package (``_recipes``, ``_datasets``, ``_targets``); an editable install reads the
repository's own folders, so that an edited recipe counts at once.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Literal

from edgexai.errors import MissingCapability

_IN_REPOSITORY = {"recipes": "recipes", "datasets": "datasets", "targets": "deploy/targets"}


def folder(kind: Literal["recipes", "datasets", "targets"]) -> Path:
    """The folder that holds the shipped files of one kind.

    Raises:
        MissingCapability: neither a wheel's nor a repository's folder is there.
    """
    package = Path(str(files("edgexai")))
    for place in (package / f"_{kind}", package.parent / _IN_REPOSITORY[kind]):
        if place.is_dir():
            return place
    raise MissingCapability(
        f"the shipped {kind} are missing beside {package}", next_step="install edgexai again; the wheel carries them"
    )
