"""How a room lists what it offers: a literal dict of name -> Entry, resolved only when used."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One offer of a room.

    Attributes:
        where: "package.module:function".
        version: raised by hand when the output changes; part of every stage key that uses the entry.
    """

    where: str
    version: int = 1

    def load(self) -> Any:
        """Imports the module and returns the named object."""
        module, _, name = self.where.partition(":")
        return getattr(import_module(module), name)
