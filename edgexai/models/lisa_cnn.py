"""LISA-CNN: three convolutions and one linear layer (Eykholt et al. 2018, "Robust Physical-World Attacks").

8x8 stride 2, 6x6 stride 2, 5x5 stride 1, each with ReLU, then a linear classifier on the flattened map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgexai.models.arch import Arch
from edgexai.models.base import Network


class LisaCnn(Network):
    """Widths of the three convolutions."""

    default_widths = (64, 128, 128)
    linear_head = False
    smallest_size = 28

    def __init__(self, arch: Arch) -> None:
        first, second, third = arch.widths
        body = nn.Sequential(
            nn.Conv2d(3, first, 8, 2, 3),
            nn.ReLU(inplace=True),
            nn.Conv2d(first, second, 6, 2),
            nn.ReLU(inplace=True),
            nn.Conv2d(second, third, 5),
            nn.ReLU(inplace=True),
        )
        super().__init__(arch, body)
        with torch.no_grad():
            side = body(torch.zeros(1, 3, arch.size, arch.size)).shape[-1]
        self.head = nn.Linear(third * side * side, arch.classes)

    def classify(self, features: Tensor) -> Tensor:
        """(N,C,h,w) -> logits (N,K)."""
        out: Tensor = self.head(torch.flatten(features, 1))
        return out
