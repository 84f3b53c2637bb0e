"""signnet: small residual network for 32-pixel signs, designed for accuracy per multiply-accumulate and for int8.

Plain 3x3 convolutions with batch norm and ReLU (what every int8 runtime fuses), widths in multiples of 16, early
down-sampling, global average pooling and one linear layer, so that its class activation map is exact.
"""

from __future__ import annotations

from torch import nn

from edgexai.models.arch import Arch
from edgexai.models.base import Network, Residual, conv_bn_relu


class SignNet(Network):
    """Widths: stem, second, (middle, outputs) of a residual block, third, (middle, outputs) of another."""

    default_widths = (32, 64, 64, 64, 128, 64, 128)

    def __init__(self, arch: Arch) -> None:
        stem, second, middle1, out1, third, middle2, out2 = arch.widths
        body = nn.Sequential(
            conv_bn_relu(3, stem, kernel=5, stride=2),
            conv_bn_relu(stem, second, stride=2),
            Residual(second, middle1, out1),
            conv_bn_relu(out1, third, stride=2),
            Residual(third, middle2, out2),
        )
        super().__init__(arch, body)
        self.head = nn.Linear(out2, arch.classes)
