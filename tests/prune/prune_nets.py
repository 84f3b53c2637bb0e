"""Tiny networks of every architecture, and images for what looks at data."""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
import torch
from torch import nn

from edgexai.models.arch import Arch
from edgexai.models.base import Network
from edgexai.models.store import build
from edgexai.prune.coupling import Coupling
from edgexai.prune.evidence import Evidence
from edgexai.types import Split

CLASSES = 5


def mobilenet_widths(stages: tuple[int, ...], *, expansion: int = 2) -> tuple[int, ...]:
    """Stem, outputs of the seven stages, hidden layers ``expansion`` times what they read; last as the last stage."""
    widths, channels = [stages[0], stages[1]], stages[1]
    for outputs, blocks in zip(stages[2:], (2, 3, 4, 3, 3, 1), strict=True):
        for _ in range(blocks):
            widths += [expansion * channels, outputs]
            channels = outputs
    return (*widths, channels)


TINY = {
    "signnet": (8,) * 8,
    "resnet18": (8,) * 17,
    "resnet20": (8,) * 19,
    "mobilenet_v2": mobilenet_widths((8,) * 8),
    "densenet_small": (8,) * 15,
    "vgg16": (8,) * 15,
    "lisa_cnn": (8, 8, 8),
}


def tiny(name: str) -> Network:
    """In eval mode, with batch norms that do something; a fresh one each time."""
    return copy.deepcopy(_made(name))


@cache
def _made(name: str, seed: int = 1) -> Network:
    net = build(Arch(name, TINY[name], CLASSES, 32, (0.5,) * 3, (0.25,) * 3), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.uniform_(-0.2, 0.4, generator=generator)
    net.train()
    with torch.no_grad():
        for _ in range(12):
            net(torch.rand(8, 3, 32, 32, generator=generator))
    return net.eval()


def split(n: int = 12, *, seed: int = 0, boxes: bool = True) -> Split:
    """Noise with boxes of different places and sizes."""
    rng = np.random.default_rng(seed)
    corner = rng.integers(2, 12, (n, 2))
    given = np.concatenate([corner, corner + rng.integers(8, 18, (n, 2))], 1).astype(np.float32)
    images = rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(n, dtype=np.int64) % CLASSES
    return Split("train", images, labels, given if boxes else np.full((n, 4), np.nan, np.float32), labels)


def evidence(n: int = 12) -> Evidence:
    """In batches that do not divide n."""
    return Evidence(split(n), batch_size=5)


def silence(coupling: Coupling, channels: list[int]) -> None:
    """Makes ``channels`` of every group exactly zero, everywhere in the network that ``coupling`` holds."""
    with torch.no_grad():
        for group in coupling.groups:
            for layer in group.norms or group.producers:
                layer.get_parameter("weight")[channels] = 0
                layer.get_parameter("bias")[channels] = 0
