"""Small pictures whose class is told by a planted corner patch, or by the shape in the middle."""

from __future__ import annotations

import numpy as np

from edgexai.models.arch import Arch
from edgexai.models.base import Network
from edgexai.models.store import build, default_widths
from edgexai.types import Split

SIZE, GRID, CLASSES = 32, 4, 4
COLOURS = np.array([[230, 30, 30], [30, 230, 30], [30, 30, 230], [230, 230, 30]])


def bars(n: int, seed: int, *, name: str = "train") -> Split:
    """Class 0 to 3: a bar in the middle, upright or lying, bright or dark, on noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n, dtype=np.int64) % CLASSES
    images = rng.integers(90, 150, (n, SIZE, SIZE, 3), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        shade = 255 if label // 2 else 0
        if label % 2:
            image[14:18, 9:23] = shade
        else:
            image[9:23, 14:18] = shade
    boxes = np.tile(np.array([8, 8, 24, 24], np.float32), (n, 1))
    return Split(name, images, labels, boxes, np.arange(n, dtype=np.int64))


def corner_cue(n: int, seed: int) -> Split:
    """The class is told by the colour of the first grid cell alone; the box says that the sign is in the middle."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n, dtype=np.int64) % CLASSES
    images = rng.integers(90, 150, (n, SIZE, SIZE, 3), dtype=np.uint8)
    images[:, :8, :8] = COLOURS[labels][:, None, None, :]
    boxes = np.tile(np.array([8, 8, 24, 24], np.float32), (n, 1))
    return Split("train", images, labels, boxes, np.arange(n, dtype=np.int64))


def lisa(seed: int = 0, widths: tuple[int, ...] = (8, 8, 8)) -> Network:
    """No batch norm: every image's gradient is its own."""
    return build(Arch("lisa_cnn", widths, CLASSES, SIZE, (0.47,) * 3, (0.2,) * 3), seed=seed)


def signnet(seed: int = 0) -> Network:
    """Batch norm, residual sums, global average pooling and a linear head."""
    widths = (4,) * len(default_widths("signnet"))
    return build(Arch("signnet", widths, CLASSES, SIZE, (0.47,) * 3, (0.2,) * 3), seed=seed)


def vgg(seed: int = 0) -> Network:
    """Has dropout."""
    return build(Arch("vgg16", (8,) * 15, CLASSES, SIZE, (0.47,) * 3, (0.2,) * 3), seed=seed)
