"""How many masks LIME needs for these images: doubled until two halves rank the segments alike.

Source of the aim: S-LIME (Zhou et al., KDD 2021, arXiv 2106.07875) asks for as many samples as fix the ranking.
Differs: no test of a normal law; the masks are drawn as two independent halves, each explains the image for itself, and
the image is done when their top-k segments overlap enough. What is returned is fitted to both halves together, so it is
steadier than the halves whose agreement is told.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import UserError
from edgexai.explain.layouts import Group
from edgexai.explain.lime_fit import LimeOptions, fit_of, masks_of, scores_of
from edgexai.explain.lime_result import LimeResult, compare_runs
from edgexai.types import Images, Labels, Predict

_FIRST = 2  # masks of the first halves, per segment


def lime_until_stable(
    predict: Predict,
    images: Images,
    targets: Labels,
    *,
    groups: list[Group],
    seed: int,
    options: LimeOptions,
    top_k: int,
    agreement: float,
    max_samples: int,
) -> LimeResult:
    """LIME with as many masks as each image needs.

    Args:
        predict, images, targets: as ``lime``, checked.
        groups: of ``segment_groups``.
        seed, options: as ``lime``.
        top_k: segments whose overlap decides; one less than an image has, where it has no more.
        agreement: Jaccard index of the two halves' top-k that is enough, in (0,1].
        max_samples: masks per image, at most; an image that is still unstable ends there, and its jaccard says so.

    Returns:
        The ``LimeResult``; its stability compares the two halves.

    Raises:
        ShapeError, UserError: as ``lime``, or ``agreement`` out of range, or ``max_samples`` too few to begin.
    """
    if not 0 < agreement <= 1:
        raise UserError(f"agreement = {agreement}; allowed: above 0, at most 1")
    width = max(group.count for group in groups)
    if max_samples < 2 * _FIRST * width:
        raise UserError(f"max_samples = {max_samples}; {width} segments need at least {2 * _FIRST * width}")
    n = len(images)
    counts, used = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    coefficients, halves = np.full((n, width), np.nan), np.full((2, n, width), np.nan)
    r2, half_r2 = np.empty(n), np.empty((2, n))
    maps = np.empty((n, *images.shape[2:]), dtype=np.float32)
    for group in (single for shared in groups for single in _singles(shared)):
        i, count = int(group.part[0]), group.count
        masks, scores = _first(predict, images, targets, group, seed, options)
        while True:
            fits = [fit_of(images, group, m, s, options) for m, s in zip(masks, scores, strict=True)]
            pair = np.stack([fit.coefficients for fit in fits])
            alike = compare_runs(pair, np.stack([fit.r2 for fit in fits]), top_k=top_k).jaccard[0]
            drawn = len(masks[0])
            if alike >= agreement or 4 * drawn > max_samples:
                break
            for half in range(2):
                more = masks_of(drawn, count, seed=_state(seed, half, drawn), options=options)
                masks[half] = np.concatenate([masks[half], more])
                scores[half] = np.concatenate([scores[half], scores_of(predict, images, targets, group, more, options)])
        both = fit_of(images, group, np.concatenate(masks), np.concatenate(scores), options)
        counts[i], used[i] = count, 2 * drawn
        coefficients[i, :count], r2[i] = both.coefficients[0], both.r2[0]
        halves[:, i, :count] = pair[:, 0]
        half_r2[:, i] = [fit.r2[0] for fit in fits]
        maps[i] = both.coefficients[0].astype(np.float32)[group.segments]
    stability = compare_runs(halves, half_r2, top_k=top_k)
    return LimeResult(coefficients, maps, r2, counts, used, stability, int(used.sum()))


def _first(
    predict: Predict, images: Images, targets: Labels, group: Group, seed: int, options: LimeOptions
) -> tuple[list[NDArray[np.bool_]], list[NDArray[np.float64]]]:
    drawn = _FIRST * group.count
    masks = [masks_of(drawn, group.count, seed=_state(seed, half, 0), options=options) for half in range(2)]
    return masks, [scores_of(predict, images, targets, group, m, options) for m in masks]


def _singles(group: Group) -> list[Group]:
    return [Group(group.count, group.part[k : k + 1], group.segments) for k in range(len(group.part))]


def _state(seed: int, half: int, drawn: int) -> int:
    """Seed of one draw: the same for every image, so that none depends on the others."""
    return int(np.random.SeedSequence([seed, half, drawn]).generate_state(1)[0])
