"""Does the map look at the sign? Read both beside a centre-Gaussian map: signs sit in the middle of their crops.

Source of the pointing game: Zhang et al., IJCV 2018, as in TorchRay. Differs: a hit needs distance <= tolerance (0 =
inside exactly) instead of < 15 px, ties point to their centroid instead of the first pixel, and the mean is over images
instead of classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import UserError
from edgexai.measure.shapes import check_maps, check_relevance
from edgexai.types import Maps


def roi_share(maps: Maps, relevance: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Fraction of the |attribution| mass on relevant pixels; an even map gives the relevant area.

    Args:
        maps: (N,H,W); not modified.
        relevance: bool (N,H,W), True on the sign.

    Returns:
        (N,) in [0,1]; NaN where a map is all zero or no pixel is relevant.

    Raises:
        ShapeError, UserError: shapes or types are off, or maps are not finite.
    """
    inside = check_relevance(relevance, maps)
    mass = np.abs(check_maps(maps))
    total = mass.sum(axis=1)
    defined = (total > 0) & inside.any(axis=1)
    share: NDArray[np.float64] = np.where(inside, mass, 0).sum(axis=1) / np.where(defined, total, np.nan)
    return share


def energy_inside(maps: Maps, relevance: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Fraction of the positive attribution on relevant pixels; an even map gives the relevant area.

    Unlike ``roi_share``, which takes |attribution|: evidence against the class counts neither inside nor outside.

    Args:
        maps: (N,H,W), signed; not modified.
        relevance: bool (N,H,W), True on the sign.

    Returns:
        (N,) in [0,1]; NaN where nothing is positive or no pixel is relevant.

    Raises:
        ShapeError, UserError: shapes or types are off, or maps are not finite.

    Source: Wang et al., Score-CAM, CVPRW 2020 (energy-based pointing game); there maps are positive by construction.
    """
    inside = check_relevance(relevance, maps)
    positive = np.maximum(check_maps(maps), 0)
    total = positive.sum(axis=1)
    defined = (total > 0) & inside.any(axis=1)
    share: NDArray[np.float64] = np.where(inside, positive, 0).sum(axis=1) / np.where(defined, total, np.nan)
    return share


def pointing_game(maps: Maps, relevance: NDArray[np.bool_], *, tolerance: float) -> NDArray[np.float64]:
    """1 where the map's maximum lies within ``tolerance`` of a relevant pixel, else 0.

    Args:
        maps: (N,H,W), signed; not modified. Tied maxima point to their centroid, rounded to a pixel.
        relevance: bool (N,H,W).
        tolerance: pixels between pixel centres; 0 = on the sign. TorchRay's 15 at 224 px is 2 at 32 px.

    Returns:
        (N,) of 1, 0, or NaN where a map is constant (it points nowhere) or no pixel is relevant.

    Raises:
        ShapeError, UserError: shapes or types are off, maps are not finite, or ``tolerance`` < 0.
    """
    if not tolerance >= 0:
        raise UserError(f"tolerance = {tolerance} pixels is negative")
    inside = check_relevance(relevance, maps)
    values = check_maps(maps)
    _, height, width = maps.shape
    rows, columns = (axis.ravel() for axis in np.mgrid[:height, :width])
    top = values == values.max(axis=1, keepdims=True)
    tied = top.sum(axis=1)
    point_y = np.floor(top @ rows / tied + 0.5)[:, None]
    point_x = np.floor(top @ columns / tied + 0.5)[:, None]
    distance2 = (rows - point_y) ** 2 + (columns - point_x) ** 2
    hit = (inside & (distance2 <= tolerance**2)).any(axis=1)
    defined = (tied < values.shape[1]) & inside.any(axis=1)
    return np.where(defined, hit.astype(np.float64), np.nan)
