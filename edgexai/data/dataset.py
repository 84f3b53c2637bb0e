"""A loaded data set: class names, splits, and the pixel statistics that go inside the network.

Mean and standard deviation are per channel, in [0,1] pixels, over every pixel of the training split only; they are
computed from exact integer counts, so that they do not depend on the order or the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError, UserError
from edgexai.types import Split


@dataclass(frozen=True)
class Dataset:
    """Splits with one list of classes.

    Attributes:
        name: of the card.
        classes: class names; label k is ``classes[k]``.
        splits: split name -> split; "train" is always there.
        mean, std: per channel (R, G, B) over the training split, pixels in [0,1].
    """

    name: str
    classes: tuple[str, ...]
    splits: Mapping[str, Split]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @staticmethod
    def of(name: str, classes: tuple[str, ...], splits: Mapping[str, Split]) -> Dataset:
        """Checks the splits and measures mean and standard deviation on "train".

        Raises:
            ShapeError: a split's arrays disagree in length, type, shape or image size.
            UserError: there is no training image, a label has no class name, or a channel is one flat colour.
        """
        if "train" not in splits or not len(splits["train"]):
            raise UserError(f"{name}: no training images")
        for key, split in splits.items():
            check_split(split, where=f"{name}.{key}", n_classes=len(classes))
            if split.images.shape[1:] != splits["train"].images.shape[1:]:
                raise ShapeError(f"{name}.{key}: images of another size than the training images")
        mean, std = _statistics(splits["train"].images)
        if min(std) == 0:
            raise UserError(f"{name}: every training pixel of a colour channel has one value; nothing can be learnt")
        return Dataset(name, classes, dict(splits), mean, std)


def check_split(split: Split, *, where: str, n_classes: int) -> None:
    """Holds a split against the contract of ``types.Split``.

    Raises:
        ShapeError: an array has the wrong type, rank or length.
        UserError: a label is outside 0..n_classes-1.
    """
    n = len(split.labels)
    height, width = split.images.shape[1:3] if split.images.ndim == 4 else (0, 0)
    wanted: list[tuple[str, NDArray[np.generic], tuple[int, ...], type[np.generic]]] = [
        ("images", split.images, (n, height, width, 3), np.uint8),
        ("labels", split.labels, (n,), np.int64),
        ("boxes", split.boxes, (n, 4), np.float32),
        ("tracks", split.tracks, (n,), np.int64),
    ]
    if split.masks is not None:
        wanted.append(("masks", split.masks, (n, height, width), np.bool_))
    for what, array, shape, dtype in wanted:
        if array.shape != shape or array.dtype != dtype:
            raise ShapeError(
                f"{where}.{what}: {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}",
                next_step="see edgexai.types.Split for the shapes of a split",
            )
    if n and not 0 <= split.labels.min() <= split.labels.max() < n_classes:
        raise UserError(f"{where}.labels: {split.labels.min()}..{split.labels.max()}, allowed 0..{n_classes - 1}")


def _statistics(images: NDArray[np.uint8]) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and population standard deviation from 256-bin counts: exact until the last division."""
    values = np.arange(256)
    means, stds = [], []
    for channel in range(3):
        counts = np.bincount(images[..., channel].ravel(), minlength=256)
        total = int(counts.sum())
        first, second = int((counts * values).sum()), int((counts * values * values).sum())
        means.append(first / total / 255)
        # n * sum(x^2) - sum(x)^2 in Python integers: no cancellation.
        stds.append(float(total * second - first * first) ** 0.5 / total / 255)
    return (means[0], means[1], means[2]), (stds[0], stds[1], stds[2])
