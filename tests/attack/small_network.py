"""A network that learned in a second which quadrant is bright, and linear ones whose best attack is known."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


@lru_cache
def quadrants() -> tuple[torch.nn.Module, Tensor, Tensor]:
    """(network in eval mode, images (120,3,8,8), labels 0..3)."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand((240, 3, 8, 8), generator=generator) * 0.3 + 0.35
    y = torch.randint(0, 4, (240,), generator=generator)
    for k in range(4):
        x[y == k, :, 4 * (k // 2) : 4 * (k // 2) + 4, 4 * (k % 2) : 4 * (k % 2) + 4] += 0.06
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, padding=1),
            torch.nn.Tanh(),
            torch.nn.AvgPool2d(2),
            torch.nn.Flatten(),
            torch.nn.Linear(128, 32),
            torch.nn.Tanh(),
            torch.nn.Linear(32, 4),
        )
        optimiser = torch.optim.Adam(net.parameters(), lr=5e-3)
        for _ in range(60):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(net(x), y).backward()
            optimiser.step()
    net.eval().requires_grad_(False)
    for parameter in net.parameters():
        parameter.grad = None
    assert (net(x).argmax(1) == y).float().mean() > 0.95
    return net, x[:120], y[:120]


def linear(classes: int, *, one_by_one: bool = False) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """(images -> logits, weights (K,192)); ``one_by_one`` sums so that batches can equal singles to the last bit."""
    weight = torch.randn((classes, 192), generator=torch.Generator().manual_seed(0))

    def model(batch: Tensor) -> Tensor:
        if one_by_one:
            return torch.stack([(image.reshape(1, -1) * weight).sum(1) for image in batch])
        return batch.flatten(1) @ weight.T

    return model, weight


def as_predict(model: Callable[[Tensor], Tensor]) -> Callable[[np.ndarray], np.ndarray]:
    """The same model, forward only on NumPy."""

    def predict(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model(torch.from_numpy(images)).numpy()

    return predict


def radius_for(weight: Tensor, x: Tensor, y: Tensor, *, norm: str, share: float) -> float:
    """An eps at which that share of images can be turned, in the middle of a gap so that rounding decides nothing."""
    low, high = 0.0, 1.0 if norm == "linf" else 10.0
    for _ in range(40):
        middle = (low + high) / 2
        if falls(weight, x, y, eps=middle, norm=norm)[0].mean() < share:
            low = middle
        else:
            high = middle
    around = [high * (1 + k / 1000) for k in range(1, 60)]
    return max(around, key=lambda eps: falls(weight, x, y, eps=eps, norm=norm)[1].min())


def falls(weight: Tensor, x: Tensor, y: Tensor, *, eps: float, norm: str) -> tuple[np.ndarray, np.ndarray]:
    """Closed form for a linear model: whether a perturbation of norm eps can turn each decision, and how clearly.

    Towards class t the margin rises by eps times the dual norm of (w_t - w_y), or, where the pixel range cuts the
    l-infinity cube, by what each pixel may still move. l2 only for images that the range does not cut.
    """
    flat = x.flatten(1).double()
    best = torch.full((len(x),), -torch.inf, dtype=torch.float64)
    for target in range(len(weight)):
        direction = (weight[target] - weight[y]).double()
        margin = (flat * direction).sum(1)
        if norm == "linf":
            corner = (flat + eps * direction.sign()).clamp(0, 1)
            reached = (corner * direction).sum(1)
        else:
            reached = margin + eps * direction.norm(dim=1)
        best = torch.where(y == target, best, torch.maximum(best, reached))
    return (best > 0).numpy(), best.abs().numpy()
