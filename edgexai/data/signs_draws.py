"""Random draws for a batch of rendered scenes: one independent, repeatable stream per (seed, card, split, batch)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class Draws:
    """Draws for ``n`` images at a time.

    Args:
        n: images in the batch; every result has ``n`` as its first dimension.
        stream: whole numbers that name the stream, the user's seed among them; different numbers, independent draws.
    """

    def __init__(self, n: int, stream: tuple[int, ...]) -> None:
        self.n = n
        state = np.random.SeedSequence(stream).generate_state(1, np.uint64)[0]
        self._generator = torch.Generator().manual_seed(int(state) >> 1)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """float32 (n, *shape), even between ``low`` and ``high``."""
        return torch.rand(self.n, *shape, generator=self._generator) * (high - low) + low

    def normal(self, mean: float, sd: float, *shape: int) -> Tensor:
        """float32 (n, *shape), cut off at 2.5 standard deviations."""
        return torch.randn(self.n, *shape, generator=self._generator).clamp(-2.5, 2.5) * sd + mean

    def chance(self, p: float) -> Tensor:
        """bool (n,), True with probability ``p``."""
        return torch.rand(self.n, generator=self._generator) < p

    def choice(self, k: int, *shape: int) -> Tensor:
        """int64 (n, *shape), 0..k-1."""
        return torch.randint(k, (self.n, *shape), generator=self._generator)


def image_wise(values: Tensor, dims: int = 4) -> Tensor:
    """(n, ...) with trailing ones up to ``dims`` dimensions, to multiply images with."""
    return values.reshape(*values.shape, *([1] * (dims - values.ndim)))
