"""What a network's maps become while it forgets, layer by layer: the raw material of cascading randomisation.

NumPy only: the board reads it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgexai.types import Maps


@dataclass(frozen=True)
class CascadeMaps:
    """Maps of the first s probed images, for the classes the whole network decided.

    Attributes:
        layers: the lowest layer randomised, per step; the last step is the whole network.
        maps: explainer -> float32 (L,s,H,W).
    """

    layers: tuple[str, ...]
    maps: Mapping[str, Maps]
