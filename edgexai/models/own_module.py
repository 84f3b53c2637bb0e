"""Runs the user's source file and takes the factory out of it: the very bytes whose digest is known.

The module gets a name of its own (with the digest in it), so that neither a file of the same name, nor an older version
that this process has imported, nor stale byte code can take its place. Relative imports work: the package around it is
imported as usual.
"""

from __future__ import annotations

import hashlib
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from edgexai.config.own_network import factory_file
from edgexai.errors import UserError


def load_factory(factory: str, *, sha256: str) -> Callable[..., Any]:
    """The function behind ``"module:function"``.

    Args:
        sha256: of the source file, hex, as it was when the run was planned or the network trained.

    Raises:
        UserError: no such module, a file that has changed, a file that fails when it is run, no such function in it.
    """
    path = factory_file(factory)
    source = path.read_bytes()
    digest = hashlib.sha256(source).hexdigest()
    if digest != sha256:
        raise UserError(
            f'model.factory = "{factory}": {path} is not the file this network was made from '
            f"(SHA-256 {digest[:12]}, expected {sha256[:12]})",
            next_step="put the file back, or run the recipe again: a changed file trains anew",
        )
    module_name, _, function = factory.partition(":")
    package, _, stem = module_name.rpartition(".")
    name = f"{package}.{stem}__{digest[:16]}".lstrip(".")
    if name not in sys.modules:
        _run(source, path, name=name, package=package, factory=factory)
    module = sys.modules[name]
    if not hasattr(module, function):
        raise UserError(f'model.factory = "{factory}": {path} has no "{function}"')
    made = getattr(module, function)
    if not callable(made):
        raise UserError(
            f'model.factory = "{factory}": "{function}" is {type(made).__name__}, not a function',
            next_step="name a function (n_classes, size) that returns a torch.nn.Module",
        )
    call: Callable[..., Any] = made
    return call


def faulty_line(error: BaseException) -> str:
    """Where and what, in one line: the innermost place of a failure in somebody else's code."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""
    said = str(error).strip().splitlines()
    return f"{where}{type(error).__name__}" + (f": {said[0]}" if said else "")


def _run(source: bytes, path: Path, *, name: str, package: str, factory: str) -> None:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # where the file was looked for, what it imports is found too
    spec = spec_from_file_location(name, path)
    if spec is None:
        raise UserError(f'model.factory = "{factory}": {path} is not a Python source file')
    try:
        if package:
            import_module(package)
        module = module_from_spec(spec)
        sys.modules[name] = module
        exec(compile(source, str(path), "exec"), module.__dict__)
    except Exception as error:
        sys.modules.pop(name, None)
        raise UserError(f'model.factory = "{factory}": {path} fails', problems=(faulty_line(error),)) from error
