"""What every black-box method returns: one map per image, and what the method knows of its own error. NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgexai.types import Maps


@dataclass(frozen=True)
class MapResult:
    """Maps of N images.

    Attributes:
        maps: float32 (N,H,W); higher speaks more for the target class.
        error: float64 (N,), in the maps' unit; NaN where the method draws nothing.
        error_name: what ``error`` is, e.g. "standard_error"; "" where the method draws nothing.
        forwards: perturbed images the network saw, in all.
    """

    maps: Maps
    error: NDArray[np.float64]
    error_name: str
    forwards: int
