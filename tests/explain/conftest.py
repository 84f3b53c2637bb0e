"""Small networks whose explanations are known or can be recomputed by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn


class Linear(nn.Module):
    """logits = images . weight + bias."""

    def __init__(self, size: int, classes: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn((classes, 3, size, size), generator=generator))
        self.bias = nn.Parameter(torch.randn(classes, generator=generator))

    def forward(self, images: Tensor) -> Tensor:
        return torch.einsum("nchw,kchw->nk", images, self.weight) + self.bias


class Small(nn.Module):
    """Two convolutions with batch norm and an in-place ReLU, average pooling, linear head; normalisation inside."""

    def __init__(self, seed: int, classes: int = 5) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 12, 3, 1, 1, bias=False),
            nn.BatchNorm2d(12),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Linear(12, classes)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
            for module in self.body:
                if isinstance(module, nn.BatchNorm2d):
                    module.weight.abs_().add_(0.5)

    def features(self, images: Tensor) -> Tensor:
        out: Tensor = self.body((images - 0.5) / 0.25)
        return out

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.head(self.features(images).mean((2, 3)))
        return out


@pytest.fixture
def linear() -> nn.Module:
    return Linear(12, 4, 0).eval()


@pytest.fixture
def small() -> nn.Module:
    return Small(0).eval()


@pytest.fixture
def other_small() -> nn.Module:
    return Small(1).eval()


@pytest.fixture
def images() -> Tensor:
    return torch.rand((6, 3, 16, 16), generator=torch.Generator().manual_seed(3))


@pytest.fixture
def targets() -> Tensor:
    return torch.tensor([0, 1, 2, 3, 4, 1])


@pytest.fixture
def as_predict() -> Callable[[nn.Module], Callable[[np.ndarray], np.ndarray]]:
    def wrap(model: nn.Module) -> Callable[[np.ndarray], np.ndarray]:
        def predict(batch: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return model(torch.from_numpy(batch)).numpy().copy()

        return predict

    return wrap
