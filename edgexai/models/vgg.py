"""VGG-16 for small images: 13 convolutions, batch norm, five max-pools, 512-512-K classifier with dropout.

PAPERS A.2 describes the source's form without batch norm; here it is added because plain VGG-16 trains poorly from
scratch in few epochs, and it folds into the convolutions at export.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgexai.models.arch import Arch
from edgexai.models.base import Network, conv_bn_relu

_POOL_AFTER = (1, 3, 6, 9, 12)


class Vgg16(Network):
    """13 convolution widths, then the two hidden widths of the classifier."""

    default_widths = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512, 512, 512)
    linear_head = False
    smallest_size = 32

    def __init__(self, arch: Arch) -> None:
        layers: list[nn.Module] = []
        channels = 3
        for index, width in enumerate(arch.widths[:13]):
            layers.append(conv_bn_relu(channels, width))
            if index in _POOL_AFTER:
                layers.append(nn.MaxPool2d(2))
            channels = width
        super().__init__(arch, nn.Sequential(*layers))
        side = arch.size // 32
        first, second = arch.widths[13:]
        self.head = nn.Sequential(
            nn.Linear(channels * side * side, first),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(first, second),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(second, arch.classes),
        )

    def classify(self, features: Tensor) -> Tensor:
        """(N,C,h,w) -> logits (N,K)."""
        out: Tensor = self.head(torch.flatten(features, 1))
        return out
