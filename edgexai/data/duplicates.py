"""Finds test images that were seen in training, by their bytes, and leaves them out where that is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError
from edgexai.types import Split


def duplicates(seen: Sequence[Split], test: Split) -> NDArray[np.int64]:
    """Test images equal in every byte to some image of ``seen``.

    Compare after decoding and resizing: equal originals are equal then too.

    Args:
        seen: e.g. the training and the validation split.
        test: the split that is scored.

    Returns:
        Ascending index into ``test``.

    Raises:
        ShapeError: the splits differ in image size.
    """
    if any(split.images.shape[1:] != test.images.shape[1:] for split in seen):
        raise ShapeError("duplicates: the splits have images of different sizes")
    known = {_digest(image) for split in seen for image in split.images}
    return np.array([k for k, image in enumerate(test.images) if _digest(image) in known], dtype=np.int64)


def without_duplicates(splits: Mapping[str, Split], *, tests: Sequence[str]) -> dict[str, Split]:
    """All splits, the test splits without the images that are equal to a training or validation image.

    Raises:
        ShapeError: the splits differ in image size.
    """
    seen = [split for name, split in splits.items() if name not in tests]
    out = dict(splits)
    for name in tests:
        if name in out and len(found := duplicates(seen, out[name])):
            out[name] = out[name].take(np.setdiff1d(np.arange(len(out[name])), found))
    return out


def _digest(image: NDArray[np.uint8]) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(image).data).digest()
