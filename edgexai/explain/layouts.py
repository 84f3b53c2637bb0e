"""Segment layouts: one shared by all images, or one for each; checked, counted, and walked in groups.

Images that share a layout are perturbed together; images of one segment count share their masks, so that an image's
explanation never depends on the others of its call.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError
from edgexai.types import Images, Segments


@dataclass(frozen=True)
class Group:
    """Images that are perturbed together.

    Attributes:
        count: S, number of segments.
        part: int64 (n,), indices of the images.
        segments: int32 (H,W), their layout.
    """

    count: int
    part: NDArray[np.int64]
    segments: Segments


def segment_groups(images: Images, segments: Segments) -> list[Group]:
    """The groups, by ascending segment count.

    Args:
        images: (N,3,H,W).
        segments: int32 (H,W) for all images, or (N,H,W); 0..S-1 without gaps.

    Returns:
        Every image in exactly one group: all in one where the layout is shared, else one group an image.

    Raises:
        ShapeError: wrong shape or type, or segment numbers with gaps.
    """
    size = images.shape[2:]
    if segments.shape not in (size, (len(images), *size)) or not np.issubdtype(segments.dtype, np.integer):
        raise ShapeError(f"segments: {segments.dtype} {segments.shape}; wanted int32 {size} or {(len(images), *size)}")
    if segments.ndim == 2:
        return [Group(_count(segments, 0), np.arange(len(images)), segments)]
    groups = [Group(_count(layout, i), np.array([i]), layout) for i, layout in enumerate(segments)]
    return sorted(groups, key=lambda group: group.count)


def _count(layout: Segments, index: int) -> int:
    if layout.min() < 0:
        raise ShapeError(f"segments of layout {index} hold {layout.min()}; wanted 0..S-1")
    sizes = np.bincount(layout.ravel())
    if not sizes.all():
        raise ShapeError(f"segments of layout {index} skip number {int(np.argmin(sizes))}; wanted 0..S-1 without gaps")
    return len(sizes)
