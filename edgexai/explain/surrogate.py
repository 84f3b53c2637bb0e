"""LIME's surrogate: which masks are drawn, how they are weighted, and the linear model fitted to their scores.

Source: Ribeiro et al., KDD 2016 (arXiv 1602.04938). The conventions are those of the ``lime`` package (0.2): the first
mask is all on; the weight is sqrt(exp(-d^2/width^2)) of the *cosine* distance d between a mask and the all-on mask;
ridge regression does not penalise the intercept. The fit is in closed form, one factorisation for all columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError, UserError

Design: TypeAlias = Literal["uniform", "antithetic"]
"""``uniform``: every segment on with probability 1/2. ``antithetic``: the same, in pairs of a mask and its opposite."""


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


def draw_masks(n_samples: int, n_segments: int, *, seed: int, design: Design = "uniform") -> NDArray[np.bool_]:
    """True = the segment is shown. The first row is all True: the image itself.

    Args:
        n_samples: M, rows.
        n_segments: S, columns.
        seed: of the draw.
        design: see ``Design``.

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
    else:
        raise UserError(f'design = {design!r}; allowed: "uniform", "antithetic"')
    masks[0] = True
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


def lime_coefficients(
    masks: NDArray[np.bool_], scores: NDArray[Any], weights: NDArray[np.float64], ridge: float = 1.0
) -> Surrogate:
    """Minimises sum_m w_m (y_m - b_0 - masks_m b)^2 + ridge |b|^2 for every column y at once.

    Args:
        masks: bool (M,S), shared by all columns.
        scores: (M,L): one column per image, label or both; not modified.
        weights: (M,), >= 0, shared by all columns.
        ridge: >= 0; the penalty's weight. The intercept is not penalised.

    Returns:
        The ``Surrogate`` of the L columns.

    Raises:
        ShapeError: the rows do not match.
        UserError: ``ridge`` < 0, or the masks do not determine the coefficients.
    """
    if masks.ndim != 2 or scores.ndim != 2 or len(scores) != len(masks) or weights.shape != (len(masks),):
        raise ShapeError(
            f"masks {masks.shape}, scores {scores.shape}, weights {weights.shape}; wanted (M,S) (M,L) (M,)"
        )
    if ridge < 0:
        raise UserError(f"ridge = {ridge}; must be at least 0")
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
