"""Relative output stability (ROS): how far a map moves, relative to itself, for how far the logits move.

Source: Agarwal et al., "Rethinking stability for attribution-based explanations", 2022 (arXiv 2203.06877), eq. 5:

    ROS = max over noisy copies x' of  || (e(x) - e(x')) / e(x) ||_2  /  max( || h(x) - h(x') ||_2 , eps_min )

h are the logits; lower = more stable. The quotient is per pixel; a zero of e counts as ``eps_min``. Differs from
Quantus 0.5.3: copies with another decision are left out (there one makes the whole image undefined), and a difference
of logits below ``eps_min`` counts as ``eps_min``, not only one of exactly 0. Heavy-tailed: report log10 of the mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError, UserError
from edgexai.measure.shapes import check_maps
from edgexai.types import Logits, Maps


def relative_output_stability(
    maps: Maps,
    copy_maps: NDArray[np.float32],
    logits: Logits,
    copy_logits: NDArray[np.float32],
    *,
    same_class: NDArray[np.bool_] | None = None,
    eps_min: float = 1e-6,
) -> NDArray[np.float64]:
    """The largest ratio per image, before any logarithm.

    Args:
        maps: (N,H,W), of the clean images; not modified.
        copy_maps: (P,N,H,W), of their noisy copies, for the same classes.
        logits: (N,K), of the clean images, by the network that was explained.
        copy_logits: (P,N,K).
        same_class: bool (P,N), the decision stands; all of them where absent.
        eps_min: stands for a zero of a map, and is the least change of logits.

    Returns:
        (N,) >= 0, one over logits; NaN where no copy is decided as its image.

    Raises:
        ShapeError, UserError: shapes do not fit together, P is 0, or maps are not finite.
    """
    e = check_maps(maps)
    if copy_maps.ndim != 4 or not len(copy_maps) or copy_maps.shape[1:] != maps.shape:
        raise ShapeError(f"maps of copies have shape {copy_maps.shape}; these maps need (P, {maps.shape})")
    if logits.ndim != 2 or len(logits) != len(maps) or copy_logits.shape != (len(copy_maps), *logits.shape):
        raise ShapeError(f"logits {logits.shape} and {copy_logits.shape} do not fit {copy_maps.shape} maps of copies")
    stands = np.ones(copy_maps.shape[:2], np.bool_) if same_class is None else same_class
    if stands.shape != copy_maps.shape[:2] or stands.dtype != np.bool_:
        raise ShapeError(f"same_class is {stands.dtype} {stands.shape}; it must be bool {copy_maps.shape[:2]}")
    if not eps_min > 0:
        raise UserError(f"eps_min = {eps_min} must be above 0")
    of_maps, own = np.where(e == 0, eps_min, e), logits.astype(np.float64)
    ratios = np.full(stands.shape, -np.inf)
    for p, (moved, answer) in enumerate(zip(copy_maps, copy_logits, strict=True)):
        change = np.linalg.norm((e - check_maps(moved, name="maps of copies")) / of_maps, axis=1)
        given = np.maximum(np.linalg.norm(own - answer, axis=1), eps_min)
        ratios[p] = np.where(stands[p], change / given, -np.inf)
    largest: NDArray[np.float64] = ratios.max(axis=0)
    return np.where(np.isneginf(largest), np.nan, largest)
