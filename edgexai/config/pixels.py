"""An epsilon as text, ``"8/255"``, and as a number of pixels. Standard library only: the board reads it too."""

from __future__ import annotations

import re
from fractions import Fraction

# Bounded, for a Fraction of "1e999999999" is a number of a billion digits.
_NUMBER = re.compile(r"[+-]?([0-9]{1,12}(\.[0-9]{0,18})?|\.[0-9]{1,18})([eE][+-]?[0-9]{1,3})?(/[0-9]{1,12})?")


def pixels(text: str) -> float:
    """``"8/255"`` or ``"0.03"`` -> 0.0313...; epsilon is always in pixels of [0,1].

    Raises:
        ValueError: not a number of reasonable length.
        ArithmeticError: too large for a float, or a division by zero.
    """
    plain = text.replace(" ", "")
    if not _NUMBER.fullmatch(plain):
        raise ValueError(text)
    return float(Fraction(plain))
