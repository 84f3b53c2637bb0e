"""The shell every network shares: normalisation inside, a feature map, a classifier on top."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgexai.models.arch import Arch


class Network(nn.Module):
    """Images in [0,1] -> logits.

    Attributes:
        arch: architecture with its *actual* widths.
        body: convolutional part; its output is what CAM and Grad-CAM read.
        smallest_size: side of the smallest input that leaves a feature map, pixels.
        linear_head: True where ``head`` is a linear layer on the global average of ``features`` (exact CAM).
    """

    linear_head = True
    smallest_size = 1
    head: nn.Module

    def __init__(self, arch: Arch, body: nn.Module) -> None:
        super().__init__()
        self.arch = arch
        self.body = body
        self.register_buffer("mean", torch.tensor(arch.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(arch.std).view(1, 3, 1, 1))
        self.mean: Tensor
        self.std: Tensor

    def features(self, images: Tensor) -> Tensor:
        """(N,3,H,W) in [0,1] -> (N,C,h,w)."""
        out: Tensor = self.body((images - self.mean) / self.std)
        return out

    def classify(self, features: Tensor) -> Tensor:
        """(N,C,h,w) -> logits (N,K)."""
        out: Tensor = self.head(features.mean((2, 3)))
        return out

    def forward(self, images: Tensor) -> Tensor:
        """(N,3,H,W) in [0,1] -> logits (N,K)."""
        return self.classify(self.features(images))


def conv_bn_relu(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution without bias, batch norm, ReLU: what every runtime fuses into one operator."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """x + conv(conv(x)), or with a 1x1 shortcut where shapes differ; ReLU after the sum."""

    def __init__(self, inputs: int, middle: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.first = conv_bn_relu(inputs, middle, stride=stride)
        self.second = nn.Sequential(nn.Conv2d(middle, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        """(N,C,H,W) -> (N,C',H',W')."""
        out: Tensor = self.relu(self.second(self.first(images)) + self.shortcut(images))
        return out


def residual_stack(widths: tuple[int, ...], *, strided: tuple[int, ...]) -> nn.Sequential:
    """A 3x3 stem, then residual blocks.

    Args:
        widths: stem, then (middle, outputs) of every block.
        strided: 0-based blocks that halve the resolution.
    """
    channels = widths[0]
    blocks: list[nn.Module] = [conv_bn_relu(3, channels)]
    for index, (middle, outputs) in enumerate(zip(widths[1::2], widths[2::2], strict=True)):
        blocks.append(Residual(channels, middle, outputs, stride=2 if index in strided else 1))
        channels = outputs
    return nn.Sequential(*blocks)
