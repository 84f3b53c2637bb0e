"""Batches from our feed against the usual torchvision way, on the same images.

The usual way: a folder of image files per class, ``ImageFolder``, ``Resize``, ``RandomAffine``, ``ColorJitter``,
``ToTensor``, ``DataLoader`` with two workers. Choices in its favour: uncompressed PPM already at the target size, the
workers live on between epochs, and the first epoch is thrown away.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from edgexai.bench.epoch import natural_batches, pure_steps
from edgexai.bench.line import Line, interleave, ratio_line
from edgexai.bench.workshop import SEED, SIZE, Workshop
from edgexai.train.feed import Feed
from edgexai.train.optimiser import set_lr, sgd
from edgexai.types import Split

WORKERS, _LR = 2, 0.02


def write_folder(split: Split, folder: Path) -> None:
    """Every image of ``split`` as ``folder/<label>/<number>.ppm``, pixel for pixel."""
    for label in np.unique(split.labels):
        (folder / f"{label:05d}").mkdir(parents=True, exist_ok=True)
    for index, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
        Image.fromarray(image).save(folder / f"{label:05d}" / f"{index:06d}.ppm")


def torchvision_loader(folder: Path, *, size: int, batch_size: int, augment: bool = True) -> Iterable[list[Tensor]]:
    """The usual loader; a class's label is its place among the folders.

    Args:
        augment: False leaves out the two random transforms.
    """
    from torchvision import datasets, transforms

    random: list[Any] = [
        transforms.RandomAffine(15, translate=(0.08, 0.08), scale=(0.85, 1.15), shear=6),
        transforms.ColorJitter(brightness=0.2, contrast=0.5, saturation=0.1),
    ]
    steps = [transforms.Resize((size, size)), *(random if augment else []), transforms.ToTensor()]
    return torch.utils.data.DataLoader(
        datasets.ImageFolder(str(folder), transforms.Compose(steps)),
        batch_size=batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=WORKERS,
        persistent_workers=True,
        generator=torch.Generator().manual_seed(SEED),
    )


def our_batches(feed: Feed, *, epoch: int) -> int:
    """Walks through one epoch of augmented batches; returns how many images came."""
    return sum(len(feed.augmented(raw, generator)) for raw, _, _, generator in feed.epoch(epoch))


def data_path_over_torchvision(workshop: Workshop) -> list[Line]:
    """Two lines: batches alone, and a whole epoch with the training step."""
    settings, found = workshop.settings, workshop.dataset
    train = found.splits["train"]
    chosen = np.random.default_rng(SEED).permutation(len(train))[: settings.data_images]
    split = train.take(np.sort(chosen))
    folder = workshop.folder / "images"
    write_folder(split, folder)
    feed = Feed(split, batch_size=settings.batch_size, augment="sign", strength=1.0, seed=SEED, device="cpu")
    loader = torchvision_loader(folder, size=SIZE, batch_size=feed.batch_size)
    ours, theirs = (workshop.net("signnet").to(memory_format=torch.channels_last).train() for _ in range(2))
    our_optimiser, their_optimiser = (sgd(net, weight_decay=5e-4) for net in (ours, theirs))
    set_lr(their_optimiser, _LR)
    alone, whole, rounds = count(), count(), settings.rounds
    batches = interleave(
        {
            "torchvision": lambda: sum(len(images) for images, _ in loader),
            "ours": lambda: our_batches(feed, epoch=next(alone)),
        },
        rounds=rounds,
    )
    epochs = interleave(
        {
            "torchvision": lambda: pure_steps(theirs, their_optimiser, ((images, labels) for images, labels in loader)),
            "ours": lambda: natural_batches(
                ours, our_optimiser, feed, epoch=next(whole), epochs=rounds + 1, batches=len(feed), lr=_LR
            ),
        },
        rounds=rounds,
    )
    n = len(feed) * feed.batch_size
    method = (
        f"{n} images of {found.name} train, batch {feed.batch_size}. Over: PPM files at {SIZE} px, ImageFolder, "
        f"Resize, RandomAffine, ColorJitter, ToTensor, DataLoader with {WORKERS} workers kept alive, first epoch "
        "thrown away. Under: gather from memory and sign augmentation (warp and light), in the training process."
    )
    detail: dict[str, str | int | float] = {"data": found.name, "images": n, "workers": WORKERS}
    return [
        ratio_line(
            "data",
            f"torchvision loader / our feed, batches alone, {found.name}",
            batches["torchvision"],
            batches["ours"],
            threads=workshop.threads,
            method=method,
            aim=">= 10",
            detail=detail,
        ),
        ratio_line(
            "data",
            f"torchvision loader / our feed, whole epoch, signnet, {found.name}",
            epochs["torchvision"],
            epochs["ours"],
            threads=workshop.threads,
            method=f"{method} Both with forward, backward and SGD step of signnet; the workers load meanwhile.",
            detail=detail,
        ),
    ]
