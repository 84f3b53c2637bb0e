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


def entropy(maps: Maps) -> NDArray[np.float64]:
    """Shannon entropy of |attribution| as a distribution over d pixels, divided by log d: 1 = even, 0 = one pixel.

    Args:
        maps: (N,H,W), H*W > 1, any sign or scale; not modified.

    Returns:
        (N,) in [0,1], unitless; lower is sparser; NaN where a map is all zero.

    Raises:
        ShapeError, UserError: maps are not (N,H,W) or not finite, or have a single pixel.

    Source: Bhatt et al., IJCAI 2020 ("complexity"). Differs from Quantus' Complexity: divided by log d, so that image
    sizes compare; and no 1e-8 offset.
    """
    mass = np.abs(check_maps(maps))
    if mass.shape[1] < 2:
        raise UserError("a map of one pixel has no entropy")
    total = mass.sum(axis=1, keepdims=True)
    share = mass / np.where(total > 0, total, np.nan)
    # 0 log 0 = 0: a pixel without attribution adds nothing
    logs = np.log(share, out=np.zeros_like(share), where=share > 0)
    found: NDArray[np.float64] = -(share * logs).sum(axis=1) / np.log(mass.shape[1])
    return np.where(total[:, 0] > 0, np.clip(found, 0, 1), np.nan)
