"""ResNet-20 for 32-pixel images (He et al. 2016, section 4.2): three stages of three blocks, 16, 32 and 64 channels.

Shortcuts that change shape are 1x1 convolutions (the paper's option B) instead of padding with zeros, which pruning
could not follow. 41 M MACs at 32 px.
"""

from __future__ import annotations

from torch import nn

from edgexai.models.arch import Arch
from edgexai.models.base import Network, residual_stack


class ResNet20(Network):
    """Nine residual blocks; widths = (stem, m1, o1, ..., m9, o9)."""

    default_widths = (16, *(w for stage in (16, 32, 64) for _ in range(3) for w in (stage, stage)))

    def __init__(self, arch: Arch) -> None:
        super().__init__(arch, residual_stack(arch.widths, strided=(3, 6)))
        self.head = nn.Linear(arch.widths[-1], arch.classes)
