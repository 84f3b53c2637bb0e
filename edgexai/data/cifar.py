"""CIFAR-10 and CIFAR-100: 32 x 32 photographs of 10 and 100 classes, without boxes or tracks.

Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009. Validation images are a seeded
share of every class's training images; "test" is the official test set in its order.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgexai.config.cards import read_card
from edgexai.config.recipe import DataTable
from edgexai.data.cifar_batch import read_batch
from edgexai.data.cifar_files import find_cifar
from edgexai.data.resize import resized
from edgexai.data.split_stratified import split_stratified
from edgexai.types import Labels, Progress, Split


def load_cifar(table: DataTable, *, seed: int, data_root: Path | None, progress: Progress | None) -> dict[str, Split]:
    """Reads every batch that is here.

    Args:
        table: name, size in pixels and share of training images held out.
        seed: of the validation split.
        data_root: where to look; else ``EDGEXAI_DATA``, else the home folder.
        progress: told how many batches are read.

    Returns:
        "train", "val" and "test", each in the official order.

    Raises:
        MissingCapability: the data are not on this machine.
        UserError: a file is damaged.
    """
    files = find_cifar(table.name, data_root=data_root)
    n_classes = len(read_card(table.name).classes)
    paths = (*files.train, files.test)
    parts = []
    for done, path in enumerate(paths, start=1):
        images, labels = read_batch(path, form=files.form, n_classes=n_classes)
        parts.append((resized(images, table.size), labels))
        if progress is not None:
            progress({"what": "batches", "done": done, "total": len(paths)})
    images = np.concatenate([part[0] for part in parts[:-1]])
    labels = np.concatenate([part[1] for part in parts[:-1]])
    held_out = split_stratified(labels, share=table.validation, seed=seed)
    return {
        "train": _split("train", images[~held_out], labels[~held_out]),
        "val": _split("val", images[held_out], labels[held_out]),
        "test": _split("test", *parts[-1]),
    }


def _split(name: str, images: NDArray[np.uint8], labels: Labels) -> Split:
    n = len(labels)
    return Split(name, images, labels, np.full((n, 4), np.nan, np.float32), np.full(n, -1, np.int64))
