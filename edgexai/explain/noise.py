"""Gaussian noise of one image's copies, from a generator of its own, so that no map depends on its batch."""

from __future__ import annotations

import torch


def image_noise(n_samples: int, like: torch.Tensor, *, seed: int) -> torch.Tensor:
    """Standard normal noise for ``n_samples`` copies of one image.

    Args:
        n_samples: copies.
        like: (N,3,H,W), whose image shape, type and device the noise takes.
        seed: of a CPU generator: the same numbers on any device.

    Returns:
        (n_samples,3,H,W).
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((n_samples, *like.shape[1:]), generator=generator).to(like)
