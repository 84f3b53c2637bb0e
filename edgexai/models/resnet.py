"""ResNet-18 with the CIFAR stem: 3x3 stride 1, no max-pool (He et al. 2016, as used at 32 px).

Widths: stem, then per block (middle, outputs). Blocks of one stage share ``outputs`` (their sums tie them together).
"""

from __future__ import annotations

from torch import nn

from edgexai.models.arch import Arch
from edgexai.models.base import Network, Residual, conv_bn_relu


class ResNet18(Network):
    """Eight residual blocks; widths = (stem, m1, o1, ..., m8, o8)."""

    default_widths = (64, *(w for stage in (64, 128, 256, 512) for _ in range(2) for w in (stage, stage)))

    def __init__(self, arch: Arch) -> None:
        widths = list(arch.widths)
        channels = widths[0]
        blocks: list[nn.Module] = [conv_bn_relu(3, channels)]
        for index, (middle, outputs) in enumerate(zip(widths[1::2], widths[2::2], strict=True)):
            stride = 2 if index in (2, 4, 6) else 1
            blocks.append(Residual(channels, middle, outputs, stride=stride))
            channels = outputs
        super().__init__(arch, nn.Sequential(*blocks))
        self.head = nn.Linear(channels, arch.classes)
