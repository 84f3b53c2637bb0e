"""A small densely connected network (Huang et al. 2017): every layer of a block reads all that came before it.

Differs from the paper: convolution, batch norm, ReLU in this order, so that every batch norm folds into a convolution
(in the paper's order it would normalise a concatenation); a thin stem and a max-pool before the first block, as in
signnet. The head reads the global average of the last concatenation, so its class activation map is exact. 23 M MACs
at 32 px.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgexai.models.arch import Arch
from edgexai.models.base import Network, conv_bn_relu

_LAYERS, _BLOCKS = 4, 3


class DenseLayer(nn.Module):
    """x -> (x, relu(bn(conv(x)))) along the channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.grown = conv_bn_relu(inputs, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """(N,C,H,W) -> (N,C+outputs,H,W)."""
        return torch.cat((images, self.grown(images)), 1)


class DenseNetSmall(Network):
    """Widths: stem, then per block of four layers their four growths, with a transition between blocks."""

    default_widths = (32, 16, 16, 16, 16, 64, 32, 32, 32, 32, 96, 32, 32, 32, 32)
    smallest_size = 8

    def __init__(self, arch: Arch) -> None:
        rest = iter(arch.widths)
        channels = next(rest)
        layers: list[nn.Module] = [conv_bn_relu(3, channels), nn.MaxPool2d(2)]
        for block in range(_BLOCKS):
            for _ in range(_LAYERS):
                growth = next(rest)
                layers.append(DenseLayer(channels, growth))
                channels += growth
            if block < _BLOCKS - 1:
                narrowed = next(rest)
                layers += [conv_bn_relu(channels, narrowed, kernel=1), nn.AvgPool2d(2)]
                channels = narrowed
        super().__init__(arch, nn.Sequential(*layers))
        self.head = nn.Linear(channels, arch.classes)
