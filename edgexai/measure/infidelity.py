"""Infidelity: does a map's sum over a removed set say how far the logit falls?

Source: Yeh et al., NeurIPS 2019 (arXiv 1901.09392): E_I [ (I . Phi - (f(x) - f(x - I)))^2 ], I = x - substrate on a
random square, Phi the map; a map holds one value per pixel, so I . Phi is its sum over the square. ``scaled`` is the
least over scales beta of the map, beta = E[I.Phi * fall] / E[(I.Phi)^2], as in the authors' code and Captum's
``normalize``. Differs: beta is not allowed below 0, because an inverted map would otherwise score like the map itself;
``relative`` divides by E[fall^2], so that networks with larger logits do not look worse.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError
from edgexai.measure.removals import Sets, attributed
from edgexai.types import Maps


class Infidelity(NamedTuple):
    """Per image (N,); lower = more faithful.

    Attributes:
        raw: squared logits, the map taken as it is: only maps that claim to add up to the logit can be judged by it.
        scaled: squared logits, the map scaled best.
        relative: ``scaled`` over the mean squared fall: 0 = perfect, 1 = a map of zeros. NaN where nothing ever fell.
        scale: the best beta, at least 0.
    """

    raw: NDArray[np.float64]
    scaled: NDArray[np.float64]
    relative: NDArray[np.float64]
    scale: NDArray[np.float64]


def infidelity(maps: Maps, sets: Sets, effects: NDArray[np.float64]) -> Infidelity:
    """All four readings of every map.

    Args:
        maps: (N,H,W), signed; not modified.
        sets: bool (P,N,H,W), squares (``removals.random_squares``) in the source.
        effects: (P,N), fall of the logit per set (``removals.removal_effects``).

    Returns:
        An ``Infidelity``.

    Raises:
        ShapeError, UserError: shapes do not fit, or maps are not finite.
    """
    said = attributed(maps, sets)
    if effects.shape != said.shape:
        raise ShapeError(f"effects have shape {effects.shape}; {len(sets)} sets of {len(maps)} maps need {said.shape}")
    own, cross, fall = (said * said).mean(0), (said * effects).mean(0), (effects * effects).mean(0)
    scale = np.maximum(cross, 0) / np.where(own > 0, own, 1)
    scaled = np.maximum(fall - 2 * scale * cross + scale * scale * own, 0)
    return Infidelity(((said - effects) ** 2).mean(0), scaled, scaled / np.where(fall > 0, fall, np.nan), scale)
