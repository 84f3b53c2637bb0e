"""What ``edgexai measure`` is asked for: the words of its options, and what stands where they are silent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgexai.errors import UserError
from edgexai.measure.twinless import ATTACKS, Asked

_FULL: dict[str, Any] = {"attacks": ATTACKS, "explainers": ("lime", "rise", "occlusion")}


def asked_for(
    path: Path, data: str, *, words: Mapping[str, str | None], numbers: Mapping[str, int | None], seed: int
) -> Asked:
    """A foreign file is measured in full; of a file that edgexai made, and on corrupted data, only what is named.

    Args:
        path: the engine.
        data: name of a card.
        words: option -> its text, comma separated; "none" for nothing, "all" for all corruptions.
        numbers: option -> its number.
        seed: of every draw.

    Raises:
        UserError: a list cannot be read; what it names is checked by ``Asked.check``.
    """
    from edgexai.config.cards import read_card
    from edgexai.config.corruption_names import CORRUPTION_NAMES
    from edgexai.measure.foreign import is_foreign

    corrupted = read_card(data).kind == "corrupted"
    full = not corrupted and is_foreign(path)
    given: dict[str, Any] = {**_FULL, "corruptions": CORRUPTION_NAMES} if full else {}
    for name, text in words.items():
        if text is not None:
            given[name] = listed(text)
    if given.get("corruptions") == ("all",):
        given["corruptions"] = CORRUPTION_NAMES
    if "severities" in given:
        if not all(part.isdecimal() for part in given["severities"]):
            raise UserError(f"--severities {words['severities']}: wanted numbers from 1 to 5, e.g. 1,3,5")
        given["severities"] = tuple(int(part) for part in given["severities"])
    given |= {name: value for name, value in numbers.items() if value is not None}
    asked = Asked(**given, seed=seed)
    asked.check()
    if corrupted and asked.corruptions:
        raise UserError(f"--corruptions: {data} is corrupted already", next_step="give the clean data set")
    return asked


def listed(text: str) -> tuple[str, ...]:
    """``"a, b"`` -> ("a", "b"); "none" -> ()."""
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    return () if parts == ("none",) else parts
