"""MobileNetV2 for small images (Sandler et al. 2018): inverted residual blocks around depthwise convolutions.

Differs from the paper's ImageNet form: the stem and the second stage keep the resolution, so that 32 pixels end in a
4x4 map; ReLU instead of ReLU6, because the calibrated range of an int8 file is the cap that ReLU6 was made for. Whether
a block adds its input follows from its place, never from its widths: two widths that pruning makes equal by chance must
not create a sum. A depthwise convolution has the width of what it reads, hence no width of its own. 88 M MACs at 32 px.
"""

from __future__ import annotations

from torch import Tensor, nn

from edgexai.errors import UserError
from edgexai.models.arch import Arch
from edgexai.models.base import Network, conv_bn_relu

_STAGES = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, outputs, blocks, stride of the first block."""


def _default_widths() -> tuple[int, ...]:
    widths, channels = [32], 32
    for expansion, outputs, blocks, _ in _STAGES:
        for _ in range(blocks):
            widths += [outputs] if expansion == 1 else [channels * expansion, outputs]
            channels = outputs
    return (*widths, 1280)


class InvertedResidual(nn.Module):
    """1x1 convolution to ``hidden``, depthwise 3x3, 1x1 to ``outputs`` without activation; plus x where ``adds``.

    ``hidden=None``: no first 1x1, the depthwise convolution reads the block's input.
    """

    def __init__(self, inputs: int, hidden: int | None, outputs: int, *, stride: int, adds: bool) -> None:
        super().__init__()
        wide = inputs if hidden is None else hidden
        self.expand: nn.Module = nn.Identity() if hidden is None else conv_bn_relu(inputs, hidden, kernel=1)
        self.depthwise = nn.Sequential(
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU(inplace=True)
        )
        self.project = nn.Sequential(nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.adds = adds

    def forward(self, images: Tensor) -> Tensor:
        """(N,C,H,W) -> (N,C',H',W')."""
        out: Tensor = self.project(self.depthwise(self.expand(images)))
        return images + out if self.adds else out


class MobileNetV2(Network):
    """17 blocks; widths = (stem, o1, h2, o2, ..., h17, o17, last); the first block has no hidden width of its own.

    Raises:
        UserError: two outputs that are summed differ in width.
    """

    default_widths = _default_widths()

    def __init__(self, arch: Arch) -> None:
        rest = iter(arch.widths)
        channels = next(rest)
        blocks: list[nn.Module] = [conv_bn_relu(3, channels)]
        for expansion, _, count, stride in _STAGES:
            for index in range(count):
                hidden = None if expansion == 1 else next(rest)
                outputs, adds = next(rest), index > 0
                if adds and outputs != channels:
                    raise UserError(
                        f"model.widths: {arch.name} sums {channels} and {outputs} channels in block {len(blocks)}",
                        next_step="give all blocks of one stage the same output width",
                    )
                blocks.append(InvertedResidual(channels, hidden, outputs, stride=1 if index else stride, adds=adds))
                channels = outputs
        last = next(rest)
        super().__init__(arch, nn.Sequential(*blocks, conv_bn_relu(channels, last, kernel=1)))
        self.head = nn.Linear(last, arch.classes)
