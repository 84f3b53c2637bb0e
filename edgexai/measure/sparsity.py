"""How concentrated an attribution map is. Convention: of |attribution| over H*W, channels already summed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import UserError
from edgexai.measure.shapes import check_maps
from edgexai.types import Maps


def gini(maps: Maps) -> NDArray[np.float64]:
    """Gini index of |attribution|: 0 = even, (d-1)/d = one pixel of d; higher is sparser. Free of scale.

    Args:
        maps: (N,H,W), any sign or scale; not modified.

    Returns:
        (N,) unitless; NaN where a map is all zero.

    Raises:
        ShapeError, UserError: maps are not (N,H,W) or not finite.

    Source: Chalasani et al., ICML 2020, G = sum_i (2i - d - 1) a_(i) / (d sum a). Differs from Quantus: no 1e-7 offset.
    """
    ascending = np.sort(np.abs(check_maps(maps)), axis=1)
    d = ascending.shape[1]
    total = ascending.sum(axis=1)
    weights = 2.0 * np.arange(1, d + 1) - d - 1
    index: NDArray[np.float64] = (ascending @ weights) / (d * np.where(total > 0, total, np.nan))
    return index


def top_mass(maps: Maps, *, share: float = 0.1) -> NDArray[np.float64]:
    """Fraction of the |attribution| mass that the strongest ``share`` of pixels holds; an even map gives ``share``.

    Args:
        maps: (N,H,W); not modified.
        share: of pixels, in (0,1]; rounded to whole pixels, at least one.

    Returns:
        (N,) in [0,1]; NaN where a map is all zero.

    Raises:
        ShapeError, UserError: maps are not (N,H,W) or not finite; ``share`` out of range.
    """
    if not 0 < share <= 1:
        raise UserError(f"share = {share} is not in (0, 1]")
    ascending = np.sort(np.abs(check_maps(maps)), axis=1)
    k = max(1, round(share * ascending.shape[1]))
    total = ascending.sum(axis=1)
    top: NDArray[np.float64] = ascending[:, -k:].sum(axis=1) / np.where(total > 0, total, np.nan)
    return top
