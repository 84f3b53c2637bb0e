"""How well one method's maps point at what is marked on the pictures, with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import UserError
from edgexai.measure.localisation import pointing_game, roi_share
from edgexai.measure.proportions import Interval, wilson
from edgexai.measure.stats import bootstrap_mean
from edgexai.types import Maps

TOLERANCE = 15 / 224
"""Of the pointing game, as a share of the input's shorter side: TorchRay's 15 pixels at 224."""


@dataclass(frozen=True)
class Located:
    """One method's score.

    Attributes:
        n: pictures whose map points anywhere and whose mark lies in the input.
        pointing: share of them whose maximum is on the mark or within ``tolerance`` of it; Wilson.
        inside: mean share of the map's mass on the mark; bootstrap over pictures.
        area: mean share of the input that is marked: what an even map gets inside.
        tolerance: pixels.
    """

    n: int
    pointing: Interval
    inside: Interval
    area: float
    tolerance: int


def located(maps: Maps, relevance: NDArray[np.bool_], *, seed: int) -> Located:
    """Scores maps against marks.

    Args:
        maps: (N,H,W), signed.
        relevance: bool (N,H,W), True on the mark.
        seed: of the bootstrap.

    Raises:
        ShapeError: shapes differ.
        UserError: not a single map points anywhere.
    """
    tolerance = round(TOLERANCE * min(maps.shape[1:]))
    hits, shares = pointing_game(maps, relevance, tolerance=tolerance), roi_share(maps, relevance)
    used = np.isfinite(hits) & np.isfinite(shares)
    if not used.any():
        raise UserError("no map points anywhere on a picture with a mark, so nothing can be scored")
    return Located(
        int(used.sum()),
        wilson(int(hits[used].sum()), int(used.sum())),
        bootstrap_mean(shares[used], seed=seed),
        float(relevance[used].mean()),
        tolerance,
    )
