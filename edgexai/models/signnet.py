"""signnet: small residual network for 32-pixel signs, designed for accuracy per multiply-accumulate and for int8.

Plain 3x3 convolutions with batch norm and ReLU (what every int8 runtime fuses), widths in multiples of 16, a thin stem
at full resolution (a strided one costs a point of validation accuracy on 32-pixel signs), global average pooling and
one linear layer, so that its class activation map is exact. 9.9 M MACs at 32 px and 43 classes.
"""

from __future__ import annotations

from torch import nn

from edgexai.models.arch import Arch
from edgexai.models.base import Network, Residual, conv_bn_relu


class SignNet(Network):
    """Widths: stem, second, third, (middle, outputs) of a residual block, fourth, (middle, outputs) of another."""

    default_widths = (16, 32, 64, 48, 64, 128, 64, 128)

    def __init__(self, arch: Arch) -> None:
        stem, second, third, middle1, out1, fourth, middle2, out2 = arch.widths
        body = nn.Sequential(
            conv_bn_relu(3, stem),
            nn.MaxPool2d(2),
            conv_bn_relu(stem, second),
            conv_bn_relu(second, third, stride=2),
            Residual(third, middle1, out1),
            conv_bn_relu(out1, fourth, stride=2),
            Residual(fourth, middle2, out2),
        )
        super().__init__(arch, body)
        self.head = nn.Linear(out2, arch.classes)
