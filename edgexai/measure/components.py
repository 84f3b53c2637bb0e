"""Boxes around the largest connected part of many masks at once, without SciPy: the board has none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError

_PIXELS_AT_ONCE = 2_000_000
"""Bounds the labels' memory to about 100 MB."""


def largest_boxes(masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The tight box of each mask's largest component, pixels touching at a corner being connected.

    Args:
        masks: bool (M,H,W); not modified.

    Returns:
        int64 (M,4): x1,y1,x2,y2, half-open; zeros where a mask is empty. Of components of one size the one whose first
        pixel comes first in reading order.

    Raises:
        ShapeError: not bool (M,H,W).
    """
    if masks.dtype != np.bool_ or masks.ndim != 3:
        raise ShapeError(f"masks are {masks.dtype} {masks.shape}; components are of bool (M,H,W)")
    count, height, width = masks.shape
    boxes = np.zeros((count, 4), np.int64)
    step = max(1, _PIXELS_AT_ONCE // max(1, height * width))
    for first in range(0, count, step):
        part = slice(first, first + step)
        boxes[part] = tight_boxes(_largest(masks[part]))
    return boxes


def tight_boxes(masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The tight box around all pixels of each mask: int64 (M,4), half-open; zeros where a mask is empty."""
    rows: NDArray[np.bool_] = masks.max(axis=2)
    columns: NDArray[np.bool_] = masks.max(axis=1)
    height, width = masks.shape[1:]
    found = (
        columns.argmax(axis=1), rows.argmax(axis=1),
        width - columns[:, ::-1].argmax(axis=1), height - rows[:, ::-1].argmax(axis=1),
    )  # fmt: skip
    boxes = np.stack(found, axis=1)
    return np.where(rows.max(axis=1, keepdims=True), boxes, 0)


def _largest(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(M,H,W), True on the largest component alone."""
    count, pixels = len(masks), masks[0].size
    nowhere = masks.size
    place = np.flatnonzero(masks).astype(np.int32)
    padded = np.full((count, masks.shape[1] + 2, masks.shape[2] + 2), nowhere, np.int32)
    labels = np.full(nowhere, nowhere, np.int32)
    labels[place] = place
    before = place
    while True:
        padded[:, 1:-1, 1:-1] = labels.reshape(masks.shape)
        down = np.minimum(np.minimum(padded[:, :-2], padded[:, 2:]), padded[:, 1:-1])
        least = np.minimum(np.minimum(down[:, :, :-2], down[:, :, 2:]), down[:, :, 1:-1]).ravel()
        # A label is the place of another pixel of the same component: that one's label is at least as good.
        labels[place] = least[place]
        after = labels[labels[place]]
        labels[place] = after
        after = labels[after]
        labels[place] = after
        if np.array_equal(after, before):
            break
        before = after
    sizes = np.bincount(before, minlength=nowhere).reshape(count, pixels)
    roots = sizes.argmax(axis=1) + pixels * np.arange(count)
    largest: NDArray[np.bool_] = masks & (labels.reshape(masks.shape) == roots[:, None, None])
    return largest
