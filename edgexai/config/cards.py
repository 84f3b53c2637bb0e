"""Reads dataset cards: ``datasets/<name>.toml`` of the repository or the wheel, or the user's own. Imports no torch."""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import ValidationError

from edgexai.config.card import Card
from edgexai.config.card_files import card_files, unknown_card
from edgexai.errors import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def card_names() -> tuple[str, ...]:
    """Names of all cards, sorted."""
    return tuple(card_files())


def read_card(name: str, *, place: Path | None = None) -> Card:
    """One card, checked.

    Args:
        name: e.g. "gtsrb".
        place: folder of cards; the shipped ones and the user's own when absent.

    Raises:
        UserError: no such card, not TOML, or it breaks the schema (every fault is listed).
    """
    path = place / f"{name}.toml" if place else card_files().get(name)
    if path is None or not path.is_file():
        raise UserError(unknown_card(name) or f"{path} is not there", next_step="edgexai data ls")
    try:
        return Card.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not TOML: {error}") from error
    except ValidationError as error:
        faults = tuple(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise UserError(f"{path}: {len(faults)} faults", problems=faults) from error
