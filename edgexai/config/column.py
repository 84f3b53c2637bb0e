"""How a number is named: its metric, and what of its row's ``detail`` singles it out.

``"robust_acc attack=pgd eps=8/255"``; besides the details, ``split``, ``artefact`` and ``arm`` are words of a row.
"""

from __future__ import annotations

import re

_WORD = r"[A-Za-z0-9_.@/+-]+"


def parse_column(text: str) -> tuple[str, dict[str, str]]:
    """``"road_gap explainer=ig"`` -> metric and the wanted details."""
    metric, *rest = text.split()
    return metric, dict(word.split("=", 1) for word in rest)


def check_column(text: str) -> str:
    """``text``, where it has the form of a column.

    Raises:
        ValueError: it has not; what is wanted is said.
    """
    if not re.fullmatch(rf"{_WORD}( +{_WORD}={_WORD})*", text):
        raise ValueError(f'"{text}": write a metric and details, as in "robust_acc attack=pgd eps=8/255"')
    return text
