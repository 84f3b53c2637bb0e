"""Weakly supervised localisation (WSL): does the box around the map's hot part meet the sign's box?

Source: Choe et al., CVPR 2020 (MaxBoxAcc): maps scaled to [0,1] by their own least and largest value, binarised above a
threshold, box of the largest part, right where its IoU with the true box is at least 0.5. Differs: the source takes the
best threshold on the very images it scores, which is optimistic. Here the threshold comes from the *other* fold of the
images, so that no image helps to choose its own; the source's figure stands beside it. Also: boxes half-open (the
source adds a pixel), maps at their own size and not in 8 bits, and the largest part is that of most pixels (the
source's of the largest area within its outline, holes included).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError, UserError
from edgexai.measure.components import largest_boxes, tight_boxes
from edgexai.measure.shapes import check_maps, check_relevance
from edgexai.types import Maps

THRESHOLDS = tuple(k / 20 for k in range(20))


@dataclass(frozen=True)
class Wsl:
    """Right or wrong, by honest and by optimistic thresholds.

    Attributes:
        hit: float64 (N,), 1 or 0 with the threshold of the other fold; NaN as in ``best_hit``.
        thresholds: the one used for each fold.
        best_hit: (N,), with the one threshold that suits these very images best; NaN where a map is constant or nothing
            is relevant.
        best_threshold: that one.
    """

    hit: NDArray[np.float64]
    thresholds: tuple[float, float]
    best_hit: NDArray[np.float64]
    best_threshold: float


def wsl(
    maps: Maps, relevance: NDArray[np.bool_], *, min_iou: float = 0.5, thresholds: Sequence[float] = THRESHOLDS
) -> Wsl:
    """Scores maps against the box around the relevant pixels.

    Args:
        maps: (N,H,W), N >= 2, signed, in an order that says nothing (images of even and odd place are the folds); not
            modified.
        relevance: bool (N,H,W), True on the sign; its tight box counts.
        min_iou: from here on a box is right.
        thresholds: tried, in [0,1).

    Returns:
        A ``Wsl``. Of thresholds that do equally well the lowest is taken.

    Raises:
        ShapeError, UserError: shapes or types are off, fewer than two images, or settings out of range.
    """
    if len(maps) < 2:
        raise ShapeError(f"{len(maps)} map(s): two folds need at least 2")
    if not 0 < min_iou <= 1:
        raise UserError(f"min_iou = {min_iou} is not in (0, 1]")
    right = box_iou(maps, relevance, thresholds=thresholds) >= min_iou
    defined = (np.ptp(check_maps(maps), axis=1) > 0) & relevance.any(axis=(1, 2))
    fold = np.arange(len(maps)) % 2
    hit = np.full(len(maps), np.nan)
    used = []
    for which in (0, 1):
        chosen = int(right[:, defined & (fold != which)].sum(axis=1).argmax())
        hit[fold == which] = right[chosen, fold == which]
        used.append(float(thresholds[chosen]))
    best = int(right[:, defined].sum(axis=1).argmax())
    best_hit = np.where(defined, right[best].astype(np.float64), np.nan)
    return Wsl(np.where(defined, hit, np.nan), (used[0], used[1]), best_hit, float(thresholds[best]))


def box_iou(maps: Maps, relevance: NDArray[np.bool_], *, thresholds: Sequence[float]) -> NDArray[np.float64]:
    """IoU of the map's box with the true one at every threshold.

    Args:
        maps: (N,H,W); not modified.
        relevance: bool (N,H,W).
        thresholds: T values in [0,1), of the map scaled to [0,1]; a pixel counts above, not at, the threshold.

    Returns:
        float64 (T,N) in [0,1]; 0 where a map is constant or nothing is relevant.

    Raises:
        ShapeError, UserError: shapes or types are off, maps are not finite, thresholds out of range.
    """
    check_relevance(relevance, maps)
    grid = np.asarray(thresholds, dtype=np.float64)
    if grid.ndim != 1 or not len(grid) or grid.min() < 0 or grid.max() >= 1:
        raise UserError(f"thresholds {tuple(thresholds)}: name some in [0, 1)")
    values = check_maps(maps)
    low, span = values.min(axis=1, keepdims=True), np.ptp(values, axis=1, keepdims=True)
    scaled = ((values - low) / np.where(span > 0, span, 1)).reshape(maps.shape)
    hot = np.stack([scaled > threshold for threshold in grid])
    boxes = largest_boxes(hot.reshape(-1, *maps.shape[1:])).reshape(len(grid), len(maps), 4)
    # All relevant pixels belong to the sign, also where something in front of it cuts it in two.
    true = tight_boxes(relevance)
    inner = np.maximum(np.minimum(boxes[..., 2:], true[:, 2:]) - np.maximum(boxes[..., :2], true[:, :2]), 0).prod(-1)
    outer = (boxes[..., 2:] - boxes[..., :2]).prod(-1) + (true[:, 2:] - true[:, :2]).prod(-1) - inner
    iou: NDArray[np.float64] = inner / np.where(outer > 0, outer, 1)
    return iou
