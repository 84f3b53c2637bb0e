"""Reads board targets: ``deploy/targets/<name>.toml`` of the repository or the wheel, or a file. Imports no torch."""

from __future__ import annotations

import difflib
from pathlib import Path

from pydantic import ValidationError

from edgexai.config.load import parse_toml
from edgexai.config.shipped import folder
from edgexai.config.target import Target
from edgexai.errors import UserError


def target_names() -> tuple[str, ...]:
    """Names of the targets that ship, sorted."""
    return tuple(sorted(path.stem for path in folder("targets").glob("*.toml")))


def read_target(name: str) -> Target:
    """One target, checked.

    Args:
        name: of a shipped target; a path where it contains "/" or ends in ".toml".

    Raises:
        UserError: no such target, not TOML, or it breaks the schema (every fault is listed).
    """
    if "/" in name or name.endswith(".toml"):
        path = Path(name)
    elif name in target_names():
        path = folder("targets") / f"{name}.toml"
    else:
        near = difflib.get_close_matches(name, target_names(), n=1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise UserError(f'no target "{name}"{hint}; there are: {", ".join(target_names())}')
    try:
        return Target.model_validate(parse_toml(path)[1])
    except ValidationError as error:
        found = error.errors(include_url=False)
        faults = tuple(f"{'.'.join(map(str, e['loc'])) or 'target'}: {e['msg']}" for e in found)
        raise UserError(f"{path}: {len(faults)} problem{'s' if len(faults) > 1 else ''}", problems=faults) from error
