"""One LIME explanation of many images: masks, scores, weights, surrogate. What ``lime`` and its repeats are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import UserError
from edgexai.explain.fill import Fill, hidden_images
from edgexai.explain.layouts import Group
from edgexai.explain.lime_result import LimeResult
from edgexai.explain.perturb import masked_scores
from edgexai.explain.score import Score
from edgexai.explain.surrogate import (
    Design,
    Surrogate,
    draw_masks,
    image_weights,
    kernel_weights,
    lime_coefficients,
    lime_selected,
)
from edgexai.types import Images, Labels, Predict

Kernel: TypeAlias = Literal["cosine", "image"]
"""What a mask's distance is taken on: the masks (as the ``lime`` package), or the perturbed image."""


@dataclass(frozen=True)
class LimeOptions:
    """Everything about one LIME explanation but its images, segments, sample count and seed; see ``lime``."""

    fill: Fill = "segment_mean"
    ridge: float = 1.0
    kernel: Kernel = "cosine"
    kernel_width: float = 0.25
    design: Design = "uniform"
    score: Score = "probability"
    n_features: int | None = None
    batch_size: int = 64

    def __post_init__(self) -> None:
        if self.kernel not in ("cosine", "image"):
            raise UserError(f'kernel = {self.kernel!r}; allowed: "cosine", "image"')
        if self.design == "glime" and self.kernel == "image":
            raise UserError('design = "glime" draws from the cosine kernel; take kernel = "cosine"')


def masks_of(n_samples: int, count: int, *, seed: int, options: LimeOptions) -> NDArray[np.bool_]:
    """(M,S) masks of the options' design."""
    return draw_masks(n_samples, count, seed=seed, design=options.design, kernel_width=options.kernel_width)


def scores_of(
    predict: Predict, images: Images, targets: Labels, group: Group, masks: NDArray[np.bool_], options: LimeOptions
) -> NDArray[np.float64]:
    """(M,n) scores of the group's images under every mask."""
    whole = len(group.part) == len(images)  # a group holds its images in order: nothing to copy
    return masked_scores(
        predict,
        images if whole else images[group.part],
        targets[group.part],
        segments=group.segments,
        masks=masks,
        fill=options.fill,
        score=options.score,
        batch_size=options.batch_size,
    )


def fit_of(
    images: Images, group: Group, masks: NDArray[np.bool_], scores: NDArray[np.float64], options: LimeOptions
) -> Surrogate:
    """The surrogate of the group's images."""
    if options.design == "glime":
        weights = np.ones(len(masks))
    elif options.kernel == "cosine":
        weights = kernel_weights(masks, kernel_width=options.kernel_width)
    else:
        own = images[group.part]
        hidden = hidden_images(own, group.segments, options.fill)
        weights = image_weights(masks, own, hidden, group.segments, kernel_width=options.kernel_width)
    if options.n_features is None:
        return lime_coefficients(masks, scores, weights, options.ridge)
    return lime_selected(masks, scores, weights, options.ridge, options.n_features)


def explain_once(
    predict: Predict,
    images: Images,
    targets: Labels,
    *,
    groups: list[Group],
    n_samples: int,
    seed: int,
    options: LimeOptions,
) -> LimeResult:
    """LIME with one draw of masks per segment count.

    Args:
        predict, images, targets: as ``lime``, checked.
        groups: of ``segment_groups``.
        n_samples, seed, options: as ``lime``.

    Returns:
        The ``LimeResult``, without stability.

    Raises:
        ShapeError, UserError: as ``lime``.
    """
    counts = np.empty(len(images), dtype=np.int64)
    for group in groups:
        counts[group.part] = group.count
    coefficients = np.full((len(images), int(counts.max())), np.nan)
    r2 = np.empty(len(images))
    maps = np.empty((len(images), *images.shape[2:]), dtype=np.float32)
    masks = np.empty((0, 0), dtype=np.bool_)
    for group in groups:
        if masks.shape[1] != group.count:
            masks = masks_of(n_samples, group.count, seed=seed, options=options)
        scores = scores_of(predict, images, targets, group, masks, options)
        fit = fit_of(images, group, masks, scores, options)
        coefficients[group.part, : group.count] = fit.coefficients
        r2[group.part] = fit.r2
        maps[group.part] = fit.coefficients.astype(np.float32)[:, group.segments]
    return LimeResult(
        coefficients, maps, r2, counts, np.full(len(images), n_samples, np.int64), forwards=n_samples * len(images)
    )
