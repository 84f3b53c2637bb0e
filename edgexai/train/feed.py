"""Batches from memory: gathers uint8 rows, converts once, augments a whole batch at a time.

The order and every random draw of an epoch follow from (seed, epoch) alone, so an interrupted training that restarts
at an epoch boundary sees exactly what an uninterrupted one would have seen; no other generator state exists.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from edgexai.train.augment import augment_sign
from edgexai.types import Split


def epoch_seed(seed: int, epoch: int) -> int:
    """One well-mixed 63-bit seed per (seed, epoch)."""
    low, high = np.random.SeedSequence([seed, epoch]).generate_state(2, np.uint32).tolist()
    return (int(high) >> 1) << 32 | int(low)


class Feed:
    """Shuffled training batches of one split, on one device.

    Args:
        split: images stay uint8 NHWC in memory; NHWC permuted is channels_last, so no copy is made for layout.
        batch_size: the last, smaller batch of an epoch is dropped (batch norm would see too few images).
        augment: "sign" or "none".
        strength: of the augmentation, see ``augment_sign``.
    """

    def __init__(self, split: Split, *, batch_size: int, augment: str, strength: float, seed: int, device: str) -> None:
        self.images = torch.from_numpy(split.images).to(device)
        self.labels = torch.from_numpy(split.labels).to(device)
        self.batch_size, self.augment, self.seed = min(batch_size, len(split)), augment, seed
        self.strength = strength

    def __len__(self) -> int:
        return len(self.labels) // self.batch_size

    def gather(self, index: Tensor) -> Tensor:
        """Float images (B,3,H,W) in [0,1], channels_last."""
        # whole rows: index_select copies them as such, an index expression goes byte by byte
        rows = self.images.flatten(1).index_select(0, index).view(len(index), *self.images.shape[1:])
        return rows.permute(0, 3, 1, 2).float().div_(255)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor, Tensor, torch.Generator]]:
        """Yields (raw images, labels, index, generator); the generator serves every further draw of this batch."""
        generator = torch.Generator().manual_seed(epoch_seed(self.seed, epoch))
        order = torch.randperm(len(self.labels), generator=generator).to(self.images.device)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            index = order[start : start + self.batch_size]
            yield self.gather(index), self.labels[index], index, generator

    def augmented(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """The batch warped and re-lit, or as it is, by this feed's setting."""
        if self.augment != "sign":
            return images
        return augment_sign(images, generator, strength=self.strength)[0]

    def augmented_with(self, images: Tensor, marked: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The same, and a (N,1,H,W) 0/1 map moved along with the pixels."""
        if self.augment != "sign":
            return images, marked
        warped, moved = augment_sign(images, generator, strength=self.strength, marked=marked)
        return warped, marked if moved is None else moved
