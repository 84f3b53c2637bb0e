"""Finds the source file behind a recipe's ``model.factory = "module:function"`` and digests it, without running it.

Modules are searched as Python does, in ``sys.path`` (hence PYTHONPATH), and then in the present folder. Only Python
source files count: their bytes are part of the stage key, so that a changed network trains anew. What the file imports
is not followed: a change there is not seen.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from edgexai.errors import UserError


def factory_file(factory: str) -> Path:
    """The source file of the module in ``"module:function"``; neither it nor a package around it is run.

    Raises:
        UserError: there is no such module, or it is not one Python source file.
    """
    module = factory.partition(":")[0]
    importlib.invalidate_caches()  # a file that was written a moment ago counts
    places: Sequence[str] | None = [*sys.path, str(Path.cwd())]
    spec: ModuleSpec | None = None
    parts = module.split(".")
    for k in range(len(parts)):
        spec = None if places is None else PathFinder.find_spec(".".join(parts[: k + 1]), places)
        if spec is None:
            raise UserError(
                f'model.factory = "{factory}": no module "{".".join(parts[: k + 1])}"',
                next_step="run edgexai in the folder that holds it, or add that folder to PYTHONPATH",
            )
        places = None if spec.submodule_search_locations is None else list(spec.submodule_search_locations)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise UserError(
            f'model.factory = "{factory}": "{module}" is not a Python source file',
            next_step="name the .py file that holds the function, as package.file:function",
        )
    return Path(spec.origin)


def network_digests(factory: str, weights: str | None) -> dict[str, str]:
    """SHA-256, hex, of the factory's source file and of the weights, by the names they have in a stage's table.

    Raises:
        UserError: a file is missing or cannot be read.
    """
    files = {"factory_sha256": factory_file(factory)}
    if weights is not None:
        files["weights_sha256"] = Path(weights).expanduser()
    digests = {}
    for name, path in files.items():
        try:
            digests[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            key = name.removesuffix("_sha256")
            raise UserError(
                f"model.{key}: {path} cannot be read: {error.strerror}",
                next_step="paths are taken from the folder edgexai is started in" if key == "weights" else "",
            ) from error
    return digests
