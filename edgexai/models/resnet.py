"""ResNet-18 with the CIFAR stem: 3x3 stride 1, no max-pool (He et al. 2016, as used at 32 px).

Widths: stem, then per block (middle, outputs). Blocks of one stage share ``outputs`` (their sums tie them together).
"""

from __future__ import annotations

from torch import nn

from edgexai.models.arch import Arch
from edgexai.models.base import Network, residual_stack


class ResNet18(Network):
    """Eight residual blocks; widths = (stem, m1, o1, ..., m8, o8)."""

    default_widths = (64, *(w for stage in (64, 128, 256, 512) for _ in range(2) for w in (stage, stage)))

    def __init__(self, arch: Arch) -> None:
        super().__init__(arch, residual_stack(arch.widths, strided=(2, 4, 6)))
        self.head = nn.Linear(arch.widths[-1], arch.classes)
