"""Max-sensitivity: how far, relative to itself, a map moves at most on slightly noisy copies of its image.

Source: Yeh et al., NeurIPS 2019 (arXiv 1901.09392), max ||e(x) - e(x')|| over a small neighbourhood, divided by
||e(x)|| as Captum's ``sensitivity_max`` and Quantus' MaxSensitivity do: without it a map of small numbers looks stable.
The maximum is over the copies at hand, a lower bound; copies that are decided otherwise are left out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError
from edgexai.measure.shapes import check_maps
from edgexai.types import Maps


def max_sensitivity(
    maps: Maps, copy_maps: NDArray[np.float32], *, same_class: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """The largest relative change per image.

    Args:
        maps: (N,H,W), of the clean images; not modified.
        copy_maps: (P,N,H,W), of their noisy copies, for the same classes.
        same_class: bool (P,N), the decision stands; all of them where absent.

    Returns:
        (N,) >= 0, unitless; lower = more stable; NaN where a map is all zero or no copy is decided as its image.

    Raises:
        ShapeError, UserError: shapes do not fit together, P is 0, or maps are not finite.
    """
    own = check_maps(maps)
    if copy_maps.ndim != 4 or not len(copy_maps) or copy_maps.shape[1:] != maps.shape:
        raise ShapeError(f"maps of copies have shape {copy_maps.shape}; these maps need (P, {maps.shape})")
    stands = np.ones(copy_maps.shape[:2], np.bool_) if same_class is None else same_class
    if stands.shape != copy_maps.shape[:2] or stands.dtype != np.bool_:
        raise ShapeError(f"same_class is {stands.dtype} {stands.shape}; it must be bool {copy_maps.shape[:2]}")
    length = np.linalg.norm(own, axis=1)
    moved = np.stack([np.linalg.norm(own - check_maps(copy, name="maps of copies"), axis=1) for copy in copy_maps])
    largest = np.where(stands, moved, -np.inf).max(axis=0)
    defined = stands.any(axis=0) & (length > 0)
    return np.where(defined, largest, np.nan) / np.where(defined, length, np.nan)
