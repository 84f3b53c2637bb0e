"""Sensitivity-n: over random sets of n pixels, does a map's sum go with the fall of the logit?

Source: Ancona et al., ICLR 2018 (arXiv 1711.06104): Pearson's correlation over random sets of one size, per image, then
the mean over images; 1 for every n exactly when the map explains a network that is linear in its pixels. Differs from
Quantus 0.5.3, which removes pixels in the map's own order and correlates over images, not over sets.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError, UserError
from edgexai.measure.removals import Sets, attributed
from edgexai.types import Maps


def sensitivity_n(maps: Maps, sets: Sets, effects: NDArray[np.float64]) -> NDArray[np.float64]:
    """The correlation of every map, for one n.

    Args:
        maps: (N,H,W), signed; not modified.
        sets: bool (P,N,H,W), P >= 3, all of one size n (``removals.random_pixels``).
        effects: (P,N), fall of the logit per set (``removals.removal_effects``).

    Returns:
        (N,) in [-1,1]; higher = more faithful, a random map gives about 0; NaN where map or logit are constant over
        the sets.

    Raises:
        ShapeError: shapes do not fit.
        UserError: fewer than three sets, sets of different sizes, or maps that are not finite.
    """
    said = attributed(maps, sets)
    if effects.shape != said.shape:
        raise ShapeError(f"effects have shape {effects.shape}; {len(sets)} sets of {len(maps)} maps need {said.shape}")
    sizes = sets.sum(axis=(2, 3))
    if len(sets) < 3 or np.ptp(sizes):
        raise UserError(f"{len(sets)} sets of {sizes.min()} to {sizes.max()} pixels: at least 3, all of one size")
    # Sums of a constant map differ by rounding alone, and rounding must not correlate with anything.
    tiny = 1e-12 * np.abs(said).max(axis=0)
    x, y = said - said.mean(axis=0), effects - effects.mean(axis=0)
    x_length, y_length = np.sqrt((x * x).sum(axis=0)), np.sqrt((y * y).sum(axis=0))
    defined = (x_length > tiny * len(sets)) & (y_length > 0)
    correlation: NDArray[np.float64] = (x * y).sum(axis=0) / np.where(defined, x_length * y_length, np.nan)
    return np.clip(correlation, -1, 1)
