"""LIME's surrogate: which masks are drawn, how they are weighted, and the linear model fitted to their scores.

Source: Ribeiro et al., KDD 2016 (arXiv 1602.04938). The conventions are those of the ``lime`` package (0.2): the first
mask is all on; the weight is sqrt(exp(-d^2/width^2)) of the *cosine* distance d between a mask and the all-on mask;
ridge regression does not penalise the intercept. The fit is in closed form, one factorisation for all columns.
Design "glime": Tan et al., NeurIPS 2023 (arXiv 2311.15722), GLIME-Binomial: the kernel is what the masks are drawn
from, so all weigh the same and the ridge term cannot outweigh a handful of near masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lgamma
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError, UserError
from edgexai.types import Images, Segments

Design: TypeAlias = Literal["uniform", "antithetic", "glime"]
"""``uniform``: every segment on with probability 1/2. ``antithetic``: the same, in pairs of a mask and its opposite.
``glime``: from the distribution that the kernel weights describe, hence without weights."""


_RANKING_RIDGE = 0.01


@dataclass(frozen=True)
class Surrogate:
    """Weighted ridge regression of L columns of scores on S segments.

    Attributes:
        coefficients: float64 (L,S), in the scores' unit.
        intercept: float64 (L,).
        r2: float64 (L,), weighted coefficient of determination; NaN where the score never changes.
    """

    coefficients: NDArray[np.float64]
    intercept: NDArray[np.float64]
    r2: NDArray[np.float64]


def draw_masks(
    n_samples: int, n_segments: int, *, seed: int, design: Design = "uniform", kernel_width: float = 0.25
) -> NDArray[np.bool_]:
    """True = the segment is shown. The first row is all True: the image itself.

    Args:
        n_samples: M, rows.
        n_segments: S, columns.
        seed: of the draw.
        design: see ``Design``.
        kernel_width: of "glime", in cosine distance, > 0.

    Returns:
        bool (M,S).

    Raises:
        UserError: fewer samples than segments, or an unknown design.
    """
    if n_samples < n_segments:
        raise UserError(
            f"n_samples = {n_samples} masks cannot tell {n_segments} segments apart",
            next_step=f"take at least {4 * n_segments} samples, or fewer segments",
        )
    generator = np.random.default_rng(seed)
    if design == "uniform":
        masks = generator.random((n_samples, n_segments)) < 0.5
    elif design == "antithetic":
        half = generator.random((n_samples // 2, n_segments)) < 0.5
        masks = np.ones((n_samples + 1, n_segments), dtype=np.bool_)
        masks[1 : 2 * len(half) : 2] = half
        masks[2 : 2 * len(half) + 1 : 2] = ~half
        masks = masks[:n_samples]
    elif design == "glime":
        masks = _from_kernel(n_samples, n_segments, kernel_width, generator)
    else:
        raise UserError(f'design = {design!r}; allowed: "uniform", "antithetic", "glime"')
    masks[0] = True
    return masks


def _from_kernel(
    n_samples: int, n_segments: int, kernel_width: float, generator: np.random.Generator
) -> NDArray[np.bool_]:
    """Masks with probability proportional to the kernel weight: first how many segments are shown, then which."""
    if not kernel_width > 0:
        raise UserError(f"kernel_width = {kernel_width}; must be above 0")
    shown = np.arange(n_segments + 1)
    log_choices = np.array([lgamma(n_segments + 1) - lgamma(k + 1) - lgamma(n_segments - k + 1) for k in shown])
    log_share = log_choices - 0.5 * ((1.0 - np.sqrt(shown / n_segments)) / kernel_width) ** 2
    share = np.exp(log_share - log_share.max())
    counts = generator.choice(shown, size=n_samples, p=share / share.sum())
    ranks = generator.random((n_samples, n_segments)).argsort(axis=1).argsort(axis=1)
    masks: NDArray[np.bool_] = ranks < counts[:, None]
    return masks


def kernel_weights(masks: NDArray[np.bool_], *, kernel_width: float = 0.25) -> NDArray[np.float64]:
    """Weight of each mask: sqrt(exp(-d^2/kernel_width^2)), d = 1 - sqrt(share of segments shown).

    Args:
        masks: bool (M,S).
        kernel_width: in units of cosine distance, > 0.

    Returns:
        float64 (M,), in (0,1]; 1 for the all-on mask.

    Raises:
        UserError: ``kernel_width`` is not positive.
    """
    if not kernel_width > 0:
        raise UserError(f"kernel_width = {kernel_width}; must be above 0")
    distance = 1.0 - np.sqrt(masks.mean(axis=1, dtype=np.float64))
    weights: NDArray[np.float64] = np.exp(-0.5 * (distance / kernel_width) ** 2)
    return weights


def image_weights(
    masks: NDArray[np.bool_], images: Images, hidden: Images, segments: Segments, *, kernel_width: float = 0.25
) -> NDArray[np.float64]:
    """Weight of each mask by what it does to the pixels: sqrt(exp(-d^2/kernel_width^2)), d a distance of images.

    Source: the kernel of arXiv 2412.18952, exp(-|x - z|^2 / sigma^2), sigma = sqrt(2) kernel_width; there in units that
    are not given, here d is the root mean square over pixels and channels.

    Args:
        masks: bool (M,S).
        images: float32 (N,3,H,W) in [0,1].
        hidden: float32 (N,3,H,W), the images with everything hidden.
        segments: int32 (H,W).
        kernel_width: in units of pixel intensity, > 0.

    Returns:
        float64 (M,N), in (0,1].

    Raises:
        UserError: ``kernel_width`` is not positive.
    """
    if not kernel_width > 0:
        raise UserError(f"kernel_width = {kernel_width}; must be above 0")
    squared = ((images.astype(np.float64) - hidden) ** 2).mean(axis=1).reshape(len(images), -1) / segments.size
    # what a segment adds to d^2 when it is hidden does not depend on the others
    flat = segments.ravel()
    parts = np.stack([np.bincount(flat, weights=one, minlength=masks.shape[1]) for one in squared])
    weights: NDArray[np.float64] = np.exp(-0.5 * (~masks @ parts.T) / kernel_width**2)
    return weights


def lime_coefficients(
    masks: NDArray[np.bool_], scores: NDArray[Any], weights: NDArray[np.float64], ridge: float = 1.0
) -> Surrogate:
    """Minimises sum_m w_m (y_m - b_0 - masks_m b)^2 + ridge |b|^2 for every column y at once.

    Args:
        masks: bool (M,S), shared by all columns.
        scores: (M,L): one column per image, label or both; not modified.
        weights: (M,), >= 0, shared by all columns, or (M,L).
        ridge: >= 0; the penalty's weight. The intercept is not penalised.

    Returns:
        The ``Surrogate`` of the L columns.

    Raises:
        ShapeError: the rows do not match.
        UserError: ``ridge`` < 0, or the masks do not determine the coefficients.
    """
    fits = masks.ndim == 2 and scores.ndim == 2 and len(scores) == len(masks)
    if not fits or weights.shape not in ((len(masks),), scores.shape):
        raise ShapeError(
            f"masks {masks.shape}, scores {scores.shape}, weights {weights.shape}; wanted (M,S) (M,L) (M,)"
        )
    if ridge < 0:
        raise UserError(f"ridge = {ridge}; must be at least 0")
    if weights.ndim == 2:
        fitted = [lime_coefficients(masks, scores[:, k : k + 1], weights[:, k], ridge) for k in range(scores.shape[1])]
        return Surrogate(
            np.concatenate([fit.coefficients for fit in fitted]),
            np.concatenate([fit.intercept for fit in fitted]),
            np.concatenate([fit.r2 for fit in fitted]),
        )
    x, y = masks.astype(np.float64), np.asarray(scores, dtype=np.float64)
    share = weights / weights.sum()
    x_mean, y_mean = share @ x, share @ y
    x_centred, y_centred = x - x_mean, y - y_mean
    weighted = x_centred.T * weights
    gram = weighted @ x_centred
    gram[np.diag_indices_from(gram)] += ridge
    try:
        solution = np.linalg.solve(gram, weighted @ y_centred)
    except np.linalg.LinAlgError as error:
        raise UserError(
            "the masks do not determine the coefficients", next_step="take more samples, or ridge above 0"
        ) from error
    residual = weights @ (y_centred - x_centred @ solution) ** 2
    total = weights @ y_centred**2
    r2 = np.full(y.shape[1], np.nan)
    # Rounding leaves a constant column a variance of about eps^2: that is not a score that changes.
    changes = total > (1e-12 * np.abs(y).max(axis=0)) ** 2 * weights.sum()
    r2[changes] = 1.0 - residual[changes] / total[changes]
    return Surrogate(np.ascontiguousarray(solution.T), y_mean - x_mean @ solution, r2)


def lime_selected(
    masks: NDArray[np.bool_], scores: NDArray[Any], weights: NDArray[np.float64], ridge: float, n_features: int
) -> Surrogate:
    """The surrogate on each column's ``n_features`` largest coefficients only; the others are 0.

    As the ``lime`` package chooses them ("highest_weights", its default above 6 features): a ridge fit of penalty 0.01
    on all segments ranks them by size, a second fit on the chosen ones alone gives their coefficients.

    Args:
        masks, scores, weights, ridge: as ``lime_coefficients``.
        n_features: kept per column, >= 1; all where there are no more.

    Returns:
        The ``Surrogate`` of the L columns.

    Raises:
        ShapeError, UserError: as ``lime_coefficients``, or ``n_features`` < 1.
    """
    if n_features < 1:
        raise UserError(f"n_features = {n_features}; must be at least 1")
    if n_features >= masks.shape[1]:
        return lime_coefficients(masks, scores, weights, ridge)
    ranking = lime_coefficients(masks, scores, weights, _RANKING_RIDGE).coefficients
    coefficients = np.zeros_like(ranking)
    intercept, r2 = np.empty(len(ranking)), np.empty(len(ranking))
    for k, sizes in enumerate(np.abs(ranking)):
        chosen = np.sort(np.argsort(-sizes, kind="stable")[:n_features])
        own = weights if weights.ndim == 1 else weights[:, k]
        fit = lime_coefficients(masks[:, chosen], scores[:, k : k + 1], own, ridge)
        coefficients[k, chosen], intercept[k], r2[k] = fit.coefficients[0], fit.intercept[0], fit.r2[0]
    return Surrogate(coefficients, intercept, r2)
