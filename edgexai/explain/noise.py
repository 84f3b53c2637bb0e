"""Gradients on noisy copies of images; each image has its own generator, so that no map depends on its batch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from captum.attr import Saliency
from torch import nn

from edgexai.explain.contract import points_per_pass


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


def noisy_gradients(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    *,
    seed: int,
    n_samples: int,
    noise_std: float,
    batch_size: int,
    absolute: bool,
) -> Iterator[torch.Tensor]:
    """The target logit's derivative on ``n_samples`` noisy copies of each image, some images at a time.

    Args:
        model, images, targets: as the explainers', checked by them.
        seed: image ``i`` draws from a generator seeded with ``seed + i``.
        n_samples: copies.
        noise_std: in pixels of [0,1].
        batch_size: copies per pass, fewer of large images.
        absolute: of the derivative.

    Yields:
        (n,n_samples,3,H,W), detached; all images in their order.
    """
    saliency = Saliency(model)
    points = points_per_pass(images, batch_size)
    per_pass = max(1, points // n_samples)
    for start in range(0, len(images), per_pass):
        chunk = images[start : start + per_pass].detach()
        noise = torch.stack([image_noise(n_samples, chunk, seed=seed + start + i) for i in range(len(chunk))])
        noisy = (chunk[:, None] + noise_std * noise).flatten(0, 1)
        repeated = targets[start : start + per_pass].repeat_interleave(n_samples)
        parts = [
            saliency.attribute(some.requires_grad_(True), target=labels, abs=absolute).detach()
            for some, labels in zip(torch.split(noisy, points), torch.split(repeated, points), strict=True)
        ]
        yield torch.cat(parts).view(len(chunk), n_samples, *chunk.shape[1:])
