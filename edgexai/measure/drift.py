"""How far two versions of one network differ: decisions, logits, maps. Read beside the drift of rebuilding.

Two artefacts are compared on the same images in the same order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import UserError
from edgexai.measure.shapes import check_maps, check_same_shape
from edgexai.types import Logits, Maps


class LogitDrift(NamedTuple):
    """Largest and mean absolute difference over all logits of all images."""

    max: float
    mean: float


def decision_agreement(a: Logits, b: Logits) -> NDArray[np.bool_]:
    """bool (N,): both choose the same class.

    Raises:
        ShapeError: not two (N,K) of one shape.
    """
    check_same_shape(a, b, ndim=2, name="logits")
    agree: NDArray[np.bool_] = a.argmax(axis=1) == b.argmax(axis=1)
    return agree


def logit_drift(a: Logits, b: Logits) -> LogitDrift:
    """Absolute logit difference.

    Raises:
        ShapeError: not two (N,K) of one shape, or empty.
    """
    check_same_shape(a, b, ndim=2, name="logits")
    if not a.size:
        raise UserError("no logits to compare")
    difference = np.abs(a.astype(np.float64) - b.astype(np.float64))
    return LogitDrift(float(difference.max()), float(difference.mean()))


def map_rank_correlation(a: Maps, b: Maps) -> NDArray[np.float64]:
    """Spearman's rank correlation of two maps per image; tied pixels get their average rank.

    Args:
        a, b: (N,H,W), signed; not modified.

    Returns:
        (N,) in [-1,1]; NaN where either map is constant.

    Raises:
        ShapeError, UserError: shapes differ or maps are not finite.
    """
    check_same_shape(a, b, ndim=3, name="maps")
    x, y = _average_ranks(check_maps(a)), _average_ranks(check_maps(b))
    x -= x.mean(axis=1, keepdims=True)
    y -= y.mean(axis=1, keepdims=True)
    scale = np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
    correlation: NDArray[np.float64] = (x * y).sum(axis=1) / np.where(scale > 0, scale, np.nan)
    return np.clip(correlation, -1, 1)


def topk_overlap(a: Maps, b: Maps, *, share: float = 0.1) -> NDArray[np.float64]:
    """Fraction of the top ``share`` of pixels that two maps have in common; two random maps give ``share``.

    Where the k-th value is tied, the tied pixels belong to the top in equal parts, and a pixel's common part is the
    smaller of its two parts: a map always overlaps itself fully, and no arbitrary tie-break enters.

    Args:
        a, b: (N,H,W), signed; not modified.
        share: of pixels, in (0,1]; rounded to whole pixels, at least one.

    Returns:
        (N,) in [0,1].

    Raises:
        ShapeError, UserError: shapes differ, maps are not finite, ``share`` out of range.
    """
    check_same_shape(a, b, ndim=3, name="maps")
    if not 0 < share <= 1:
        raise UserError(f"share = {share} is not in (0, 1]")
    x, y = check_maps(a), check_maps(b)
    k = max(1, round(share * x.shape[1]))
    overlap: NDArray[np.float64] = np.minimum(_top_parts(x, k), _top_parts(y, k)).sum(axis=1) / k
    return overlap


def centre_shift(a: Maps, b: Maps) -> NDArray[np.float64]:
    """How far the centre of mass of |attribution| has moved, in pixels: 0 for equal maps, at most the diagonal.

    Args:
        a, b: (N,H,W), signed; not modified.

    Returns:
        (N,); NaN where either map is all zero.

    Raises:
        ShapeError, UserError: shapes differ or maps are not finite.
    """
    check_same_shape(a, b, ndim=3, name="maps")
    rows, columns = (axis.ravel().astype(np.float64) for axis in np.mgrid[: a.shape[1], : a.shape[2]])
    centres = []
    for maps in (a, b):
        mass = np.abs(check_maps(maps))
        total = mass.sum(axis=1)
        total = np.where(total > 0, total, np.nan)
        centres.append(np.stack([mass @ rows / total, mass @ columns / total]))
    shift: NDArray[np.float64] = np.hypot(*(centres[0] - centres[1]))
    return shift


def _average_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    order = np.argsort(values, axis=1, kind="stable")
    ascending = np.take_along_axis(values, order, axis=1)
    position = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    new = np.ones(values.shape, dtype=np.bool_)
    new[:, 1:] = ascending[:, 1:] != ascending[:, :-1]
    first = np.maximum.accumulate(np.where(new, position, 0), axis=1)
    ends = np.ones(values.shape, dtype=np.bool_)
    ends[:, :-1] = new[:, 1:]
    backwards = np.where(ends, position, values.shape[1])[:, ::-1]
    last = np.minimum.accumulate(backwards, axis=1)[:, ::-1]
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, (first + last) / 2, axis=1)
    return ranks


def _top_parts(values: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    threshold = np.partition(values, values.shape[1] - k, axis=1)[:, -k][:, None]
    above, tied = values > threshold, values == threshold
    part = (k - above.sum(axis=1, keepdims=True)) / tied.sum(axis=1, keepdims=True)
    parts: NDArray[np.float64] = above + tied * part
    return parts
