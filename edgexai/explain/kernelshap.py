"""KernelSHAP: Shapley values of segments, by weighted least squares in closed form.

Sources: Lundberg & Lee, NeurIPS 2017 (arXiv 1705.07874), the Shapley kernel; coalitions as the ``shap`` package chooses
them: small and large ones all, where the budget allows, the rest drawn by size in pairs of a coalition and its
complement; the sum of the values held to score(image) - score(all hidden) exactly. Differs: many images at once, one
factorisation for all; the standard error is told, by a jackknife over groups of pairs (delete a tenth), and is 0 where
every coalition was seen. Runs on NumPy alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import UserError
from edgexai.explain.fill import Fill
from edgexai.explain.layouts import segment_groups
from edgexai.explain.map_result import MapResult
from edgexai.explain.perturb import masked_scores
from edgexai.explain.score import Score, check_predict_inputs
from edgexai.types import Images, Labels, Predict, Segments

_GROUPS = 10
_WORST_CONDITION = 1e10
"""Of the normal equations. Few coalitions leave directions open that rounding then fills with numbers of any size."""


@dataclass(frozen=True)
class ShapResult(MapResult):
    """Maps (each pixel its segment's value) and the values behind them.

    Attributes:
        values: float64 (N,S), Shapley value of each segment in the score's unit; NaN beyond an image's own segments.
        standard_error: float64 (N,S), of the sampling; 0 where every coalition was seen.
        base: float64 (N,), score with everything hidden; base plus the values' sum is the image's own score.
    """

    values: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    base: NDArray[np.float64]


@dataclass(frozen=True)
class Coalitions:
    """Which segments are shown together.

    Attributes:
        shown: bool (M,S), without the empty and the full coalition.
        weights: float64 (M,), of the Shapley kernel, summing to 1.
        drawn: pairs (rows 2k, 2k+1 counted from the end) that were drawn at random; 0 = every coalition is there.
    """

    shown: NDArray[np.bool_]
    weights: NDArray[np.float64]
    drawn: int


def kernelshap(
    predict: Predict,
    images: Images,
    targets: Labels,
    *,
    segments: Segments,
    seed: int,
    n_samples: int = 1024,
    fill: Fill = "segment_mean",
    score: Score = "probability",
    batch_size: int = 64,
) -> ShapResult:
    """Explains one class of each image.

    Args:
        predict: images -> logits. Its input is a buffer that the next batch overwrites: it must not keep it.
        images: float32 (N,3,H,W) in [0,1], N >= 1; not modified.
        targets: int64 (N,): the class to explain.
        segments: int32 (H,W) for all images, or (N,H,W); 0..S-1 without gaps.
        seed: of the coalitions.
        n_samples: coalitions per image, at most; all of them are taken where there are no more.
        fill: colour of hidden segments, see ``Fill``.
        score: "probability" or "logit".
        batch_size: perturbed images per call of ``predict``, at most.

    Returns:
        The ``ShapResult``; its error is the mean over segments of their standard error.

    Raises:
        ShapeError: wrong shapes or types, or segment numbers with gaps.
        UserError: too few samples, a target that is no class, an unknown option.
    """
    images, targets = check_predict_inputs(images, targets, score=score, batch_size=batch_size)
    groups = segment_groups(images, segments)
    n, most = len(images), max(group.count for group in groups)
    values, errors, base = np.full((n, most), np.nan), np.full((n, most), np.nan), np.empty(n)
    maps = np.empty((n, *images.shape[2:]), dtype=np.float32)
    chosen: dict[int, Coalitions] = {}
    forwards = 0
    for group in groups:
        if group.count not in chosen:
            chosen[group.count] = choose_coalitions(group.count, n_samples, seed=seed)
        coalitions = chosen[group.count]
        ends = np.array([[True] * group.count, [False] * group.count])
        scores = masked_scores(
            predict,
            images[group.part],
            targets[group.part],
            segments=group.segments,
            masks=np.concatenate([ends, coalitions.shown]),
            fill=fill,
            score=score,
            batch_size=batch_size,
        )
        forwards += scores.size
        full, empty = scores[0], scores[1]
        phi, error = shapley_fit(coalitions, scores[2:] - empty, full - empty)
        values[group.part, : group.count], errors[group.part, : group.count] = phi, error
        base[group.part] = empty
        maps[group.part] = phi.astype(np.float32)[:, group.segments]
    return ShapResult(maps, np.nanmean(errors, axis=1), "standard_error", forwards, values, errors, base)


def choose_coalitions(n_segments: int, n_samples: int, *, seed: int) -> Coalitions:
    """All coalitions of the sizes that the budget covers, from the outside in; the rest drawn in pairs.

    Args:
        n_segments: S, >= 2.
        n_samples: coalitions, at most.
        seed: of the draw.

    Returns:
        The ``Coalitions``.

    Raises:
        UserError: fewer than two segments, or fewer than 2 S samples where not all coalitions fit.
    """
    if n_segments < 2:
        raise UserError("one segment has no one to share with: KernelSHAP needs two or more")
    whole = 2**n_segments - 2 if n_segments < 40 else None
    if (whole is None or whole > n_samples) and n_samples < 2 * n_segments:
        raise UserError(
            f"n_samples = {n_samples} coalitions cannot tell {n_segments} segments apart",
            next_step=f"take at least {4 * n_segments} samples, better {8 * n_segments}, or fewer segments",
        )
    sizes = np.arange(1, n_segments // 2 + 1)
    # weight of a size and its complement's together, of the kernel (S-1) / (C(S,s) s (S-s)) times C(S,s)
    weight = (n_segments - 1) / (sizes * (n_segments - sizes)) * np.where(2 * sizes == n_segments, 1, 2)
    weight = weight / weight.sum()
    rows: list[NDArray[np.bool_]] = []
    weights: list[NDArray[np.float64]] = []
    left, done = n_samples, 0
    for size, share in zip(sizes.tolist(), weight.tolist(), strict=True):
        number = comb(n_segments, size) * (1 if 2 * size == n_segments else 2)
        if left * share / weight[done:].sum() < number - 1e-9:
            break
        rows.append(_all_of(n_segments, size))
        weights.append(np.full(number, share / number))
        left, done = left - number, done + 1
    pairs = left // 2 if done < len(sizes) else 0
    if pairs:
        generator = np.random.default_rng(seed)
        drawn_sizes = generator.choice(sizes[done:], size=pairs, p=weight[done:] / weight[done:].sum())
        half = generator.random((pairs, n_segments)).argsort(axis=1).argsort(axis=1) < drawn_sizes[:, None]
        both = np.empty((2 * pairs, n_segments), dtype=np.bool_)
        both[0::2], both[1::2] = half, ~half
        rows.append(both)
        weights.append(np.full(2 * pairs, weight[done:].sum() / (2 * pairs)))
    return Coalitions(np.concatenate(rows), np.concatenate(weights), pairs)


def shapley_fit(
    coalitions: Coalitions, gains: NDArray[np.float64], total: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The weighted least squares fit whose values sum to ``total``, and its jackknife standard error.

    Args:
        coalitions: M of S segments.
        gains: (M,N), score of each coalition minus that of the empty one.
        total: (N,), score of the full coalition minus that of the empty one.

    Returns:
        Values (N,S) and standard errors (N,S).

    Raises:
        UserError: the coalitions do not determine the values.
    """
    shown, weights, drawn = coalitions.shown.astype(np.float64), coalitions.weights, coalitions.drawn
    weighted = shown * weights[:, None]
    gram, moment = weighted.T @ shown, weighted.T @ gains
    values = _solve(gram, moment, total)
    if not drawn:
        return values, np.zeros_like(values)
    groups = min(_GROUPS, drawn)
    first = len(shown) - 2 * drawn
    group_of = np.repeat(np.arange(drawn) % groups, 2)
    rest = weights[first:].sum()
    without = np.empty((groups, *values.shape))
    fixed_gram, fixed_moment = weighted[:first].T @ shown[:first], weighted[:first].T @ gains[:first]
    for g in range(groups):
        kept = first + np.flatnonzero(group_of != g)
        own = weighted[kept] * (rest / weights[kept].sum())
        without[g] = _solve(fixed_gram + own.T @ shown[kept], fixed_moment + own.T @ gains[kept], total)
    spread = ((without - without.mean(axis=0)) ** 2).sum(axis=0)
    return values, np.sqrt((groups - 1) / groups * spread)


def _solve(gram: NDArray[np.float64], moment: NDArray[np.float64], total: NDArray[np.float64]) -> NDArray[np.float64]:
    """argmin of the quadratic under sum = total, for every column: (N,S)."""
    spread = np.linalg.eigvalsh(gram)  # ascending
    if not spread[0] * _WORST_CONDITION > spread[-1]:
        raise UserError(
            f"the coalitions drawn do not determine the values of {len(gram)} segments",
            next_step=f"take at least {4 * len(gram)} samples, or fewer segments",
        )
    both = np.linalg.solve(gram, np.column_stack([moment, np.ones(len(gram))]))
    free, along = both[:, :-1], both[:, -1:]
    values: NDArray[np.float64] = (free - along * ((free.sum(axis=0) - total) / along.sum())).T
    return np.ascontiguousarray(values)


def _all_of(n_segments: int, size: int) -> NDArray[np.bool_]:
    """Every coalition of ``size``, and where that is another size, their complements."""
    members = np.array(list(combinations(range(n_segments), size)))
    rows = np.zeros((len(members), n_segments), dtype=np.bool_)
    np.put_along_axis(rows, members, True, axis=1)
    return rows if 2 * size == n_segments else np.concatenate([rows, ~rows])
