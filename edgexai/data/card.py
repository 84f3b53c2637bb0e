"""Reads dataset cards: ``datasets/<name>.toml`` of the repository or the wheel."""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import ValidationError

from edgexai.config.card import Card
from edgexai.config.shipped import folder
from edgexai.errors import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def card_names() -> tuple[str, ...]:
    """Names of all shipped cards, sorted."""
    return tuple(sorted(path.stem for path in folder("datasets").glob("*.toml")))


def read_card(name: str, *, place: Path | None = None) -> Card:
    """One card, checked.

    Args:
        name: e.g. "gtsrb".
        place: folder of cards; the shipped one when absent.

    Raises:
        UserError: no such card, not TOML, or it breaks the schema (every fault is listed).
    """
    path = (place or folder("datasets")) / f"{name}.toml"
    if not path.is_file():
        raise UserError(f'no data set "{name}"; there are: {", ".join(card_names())}', next_step="edgexai data ls")
    try:
        return Card.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not TOML: {error}") from error
    except ValidationError as error:
        faults = tuple(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise UserError(f"{path}: {len(faults)} faults", problems=faults) from error
