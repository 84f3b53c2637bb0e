"""Source files of networks as users write them, good and bad."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

GOOD = """
import torch
from torch import nn

class Small(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU()
        )
        self.head = nn.Linear(12, n_classes)

    def features(self, images):
        return self.convs((images - 0.4) / 0.3)

    def classify(self, features):
        return self.head(features.mean((2, 3)))

    def forward(self, images):
        return self.classify(self.features(images))

class Plain(nn.Module):
    def __init__(self, n_classes, size):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 6, 5, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(6 * (size // 2) ** 2, n_classes)
        )

    def forward(self, images):
        return self.layers(images)

def small(n_classes, size):
    return Small(n_classes)

def plain(n_classes, size):
    return Plain(n_classes, size)
"""

BAD = (
    GOOD
    + """
class Doubled(Small):
    def classify(self, features):
        return 2 * self.head(features.mean((2, 3)))

class Peak(Small):
    def classify(self, features):
        return self.head(features.amax((2, 3)))

class Apart(Small):
    def forward(self, images):
        return self.head(self.features(images).mean((2, 3))) + 1

class Nan(Plain):
    def forward(self, images):
        return self.layers(images) / 0 * 0

class Batchwise(Plain):
    def forward(self, images):
        out = self.layers(images)
        return out - out.mean(0)

class Wide(Plain):
    def forward(self, images):
        return self.layers(images)[:, :-1]

class Pair(Plain):
    def forward(self, images):
        return self.layers(images), images

class Half(Plain):
    def forward(self, images):
        return self.layers(images).half()

class Crash(Plain):
    def forward(self, images):
        raise IndexError("out of luck")

class Branching(Plain):
    def forward(self, images):
        out = self.layers(images)
        return out * 2 if float(out.sum()) > 1e9 else out

def doubled(n_classes, size): return Doubled(n_classes)
def peak(n_classes, size): return Peak(n_classes)
def apart(n_classes, size): return Apart(n_classes)
def nan(n_classes, size): return Nan(n_classes, size)
def batchwise(n_classes, size): return Batchwise(n_classes, size)
def wide(n_classes, size): return Wide(n_classes, size)
def pair(n_classes, size): return Pair(n_classes, size)
def half(n_classes, size): return Half(n_classes, size)
def crash(n_classes, size): return Crash(n_classes, size)
def branching(n_classes, size): return Branching(n_classes, size)
def nothing(n_classes, size): return None
def one_argument(n_classes): return Small(n_classes)
def failing(n_classes, size): return [][n_classes]
number = 5
"""
)


def write(folder: Path, monkeypatch: pytest.MonkeyPatch, source: str = GOOD, *, name: str = "mynet") -> Path:
    """``name``.py in ``folder``, which becomes the folder one works in."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.py"
    path.write_text(source)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p and Path(p) != Path(os.getcwd())])
    return path
