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
from edgexai.train.augment_photo import augment_photo
from edgexai.train.parallel import ALONE, Team
from edgexai.types import Split

_AUGMENT = {"sign": augment_sign, "flip_crop": augment_photo}


def epoch_seed(seed: int, epoch: int) -> int:
    """One well-mixed 63-bit seed per (seed, epoch)."""
    low, high = np.random.SeedSequence([seed, epoch]).generate_state(2, np.uint32).tolist()
    return (int(high) >> 1) << 32 | int(low)


class Feed:
    """Shuffled training batches of one split, on one device.

    Args:
        split: images stay uint8 NHWC in memory; NHWC permuted is channels_last, so no copy is made for layout.
        batch_size: the last, smaller batch of an epoch is dropped (batch norm would see too few images).
        augment: "sign", "flip_crop" or "none".
        strength: of the augmentation, see ``augment_sign`` and ``augment_photo``.
        team: batches are whole in every process, and so are all draws; ``augmented`` and ``mine`` leave its share.

    Attributes:
        share: this process's rows of a batch.
    """

    def __init__(
        self,
        split: Split,
        *,
        batch_size: int,
        augment: str,
        strength: float,
        seed: int,
        device: str,
        team: Team = ALONE,
    ) -> None:
        self.images = torch.from_numpy(split.images).to(device)
        self.labels = torch.from_numpy(split.labels).to(device)
        self.batch_size, self.augment, self.seed = min(batch_size, len(split)), augment, seed
        self.strength = strength
        self.share = team.share(self.batch_size)

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

    def mine(self, whole: Tensor) -> Tensor:
        """This process's rows of what belongs to a whole batch, e.g. labels."""
        return self.share.mine(whole)

    def augmented(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """This process's rows of a whole batch, warped and re-lit, or as they are, by this feed's setting."""
        if self.augment == "none":
            return self.mine(images)
        return _AUGMENT[self.augment](self.mine(images), generator, strength=self.strength, share=self.share)[0]

    def augmented_with(self, images: Tensor, marked: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The same, and a (N,1,H,W) 0/1 map moved along with the pixels."""
        images, marked, share = self.mine(images), self.mine(marked), self.share
        if self.augment == "none":
            return images, marked
        warped, moved = _AUGMENT[self.augment](images, generator, strength=self.strength, marked=marked, share=share)
        return warped, marked if moved is None else moved
