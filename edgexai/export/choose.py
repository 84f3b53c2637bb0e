"""Which calibration an int8 file gets, by what it does on validation images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from edgexai.export.calibrate import METHODS


class Score(NamedTuple):
    """What one candidate file does on validation images.

    Attributes:
        agreement: share of images that it decides as the twin.
        map_correlation: mean rank correlation of its saliency output with the twin's map; NaN without such an output.
    """

    agreement: float
    map_correlation: float = math.nan


def choose_calibration(
    score: Callable[[str], Score], *, methods: Sequence[str] = METHODS
) -> tuple[str, dict[str, Score]]:
    """Tries every method: most decisions kept wins, then the map nearest to the twin's, then the first of the list.

    Args:
        score: makes the file of a method and judges it; never on test images.

    Returns:
        The method, and every candidate's score.
    """
    scores = {method: score(method) for method in methods}

    def worth(method: str) -> tuple[float, float, int]:
        agreement, correlation = scores[method]
        return agreement, -1.0 if math.isnan(correlation) else correlation, -methods.index(method)

    return max(methods, key=worth), scores
