"""LIME for images on any ``Predict``: the engine itself is explained, with forward passes only.

Source: Ribeiro et al., KDD 2016 (arXiv 1602.04938); conventions of the ``lime`` package, with which it agrees for the
same masks. Differs: many images in one go, the masks drawn once for all of them, no feature pre-selection (every
segment keeps its coefficient), the seed fixes everything. Runs on NumPy alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError, UserError
from edgexai.explain.perturb import Fill, Score, masked_scores
from edgexai.explain.surrogate import Design, draw_masks, kernel_weights, lime_coefficients
from edgexai.types import Images, Labels, Maps, Predict, Segments

__all__ = ["LimeResult", "LimeStability", "lime", "lime_coefficients", "lime_repeats", "lime_stability"]


@dataclass(frozen=True)
class LimeResult:
    """Explanations of N images.

    Attributes:
        coefficients: float64 (N,S), score per segment shown; NaN beyond an image's own segments.
        maps: float32 (N,H,W), each pixel its segment's coefficient.
        r2: float64 (N,), weighted fit of the surrogate; NaN where the score never changes.
        n_segments: int64 (N,), each image's own S.
    """

    coefficients: NDArray[np.float64]
    maps: Maps
    r2: NDArray[np.float64]
    n_segments: NDArray[np.int64]


@dataclass(frozen=True)
class LimeStability:
    """How far explanations of one image by several seeds agree.

    Attributes:
        jaccard: float64 (N,), mean over pairs of seeds of the overlap of the top-k segments by |coefficient|.
        sign_agreement: float64 (N,), mean over pairs of seeds of the share of segments with the same sign.
        std: float64 (N,S), standard deviation (n - 1) of each coefficient over the seeds.
    """

    jaccard: NDArray[np.float64]
    sign_agreement: NDArray[np.float64]
    std: NDArray[np.float64]


def lime(
    predict: Predict,
    images: Images,
    targets: Labels,
    *,
    segments: Segments,
    n_samples: int,
    seed: int,
    fill: Fill = "segment_mean",
    ridge: float = 1.0,
    kernel_width: float = 0.25,
    design: Design = "uniform",
    score: Score = "probability",
    batch_size: int = 256,
) -> LimeResult:
    """Explains one class of each image.

    Images with the same number of segments share their masks, so an image's result does not depend on the others.

    Args:
        predict: images -> logits. Its input is a buffer that the next batch overwrites: it must not keep it.
        images: float32 (N,3,H,W) in [0,1], N >= 1; not modified.
        targets: int64 (N,): the class to explain.
        segments: int32 (H,W) for all images, or (N,H,W); 0..S-1 without gaps.
        n_samples: masks per image, the first of them all on; at least S, better 4 S.
        seed: of the masks.
        fill: colour of hidden segments: "segment_mean", "mean" (of the image), "black", or (r, g, b) in [0,1].
        ridge: penalty of the surrogate.
        kernel_width: of the weights, in cosine distance.
        design: "uniform", or "antithetic" (masks in opposite pairs).
        score: "probability" (softmax of the target) or "logit".
        batch_size: perturbed images per call of ``predict``, at most.

    Returns:
        The ``LimeResult``.

    Raises:
        ShapeError: wrong shapes or types, or segment numbers with gaps.
        UserError: too few samples, a target that is no class, an unknown option.
    """
    images, targets = _checked(images, targets, segments, score=score, batch_size=batch_size)
    shared = segments.ndim == 2
    n_segments = _count_segments(segments)
    counts = np.full(len(images), n_segments[0]) if shared else n_segments
    coefficients = np.full((len(images), int(counts.max())), np.nan)
    r2 = np.empty(len(images))
    maps = np.empty((len(images), *images.shape[2:]), dtype=np.float32)
    for count in np.unique(counts).tolist():
        masks = draw_masks(n_samples, count, seed=seed, design=design)
        weights = kernel_weights(masks, kernel_width=kernel_width)
        members = np.flatnonzero(counts == count)
        for part in [members] if shared else members[:, None]:
            own = segments if shared else segments[part[0]]
            scores = masked_scores(
                predict,
                images if shared else images[part],
                targets[part],
                segments=own,
                masks=masks,
                fill=fill,
                score=score,
                batch_size=batch_size,
            )
            fit = lime_coefficients(masks, scores, weights, ridge)
            coefficients[part, :count] = fit.coefficients
            r2[part] = fit.r2
            maps[part] = fit.coefficients.astype(np.float32)[:, own]
    return LimeResult(coefficients, maps, r2, counts.astype(np.int64))


def lime_repeats(
    predict: Predict,
    images: Images,
    targets: Labels,
    *,
    segments: Segments,
    n_samples: int,
    repeats: int,
    seed: int,
    fill: Fill = "segment_mean",
    ridge: float = 1.0,
    kernel_width: float = 0.25,
    design: Design = "uniform",
    score: Score = "probability",
    batch_size: int = 256,
) -> NDArray[np.float64]:
    """Coefficients of several independent draws of the masks, for training-time use.

    Args:
        predict, images, targets, n_samples, fill, ridge, kernel_width, design, score, batch_size: as ``lime``.
        segments: int32 (H,W), shared by all images.
        repeats: R, number of draws.
        seed: repeat r is ``lime`` with seed ``int(np.random.SeedSequence(seed).generate_state(R)[r])``; the first
            repeats of a longer call are the same.

    Returns:
        float64 (R,N,S).

    Raises:
        ShapeError: as ``lime``, or segments that are not shared.
        UserError: as ``lime``, or ``repeats`` < 1.
    """
    if segments.ndim != 2:
        raise ShapeError(f"segments: {segments.shape}; repeats need one (H,W) for all images")
    if repeats < 1:
        raise UserError(f"repeats = {repeats}; must be at least 1")
    images, targets = _checked(images, targets, segments, score=score, batch_size=batch_size)
    n_segments = int(_count_segments(segments)[0])
    coefficients = np.empty((repeats, len(images), n_segments))
    for r, state in enumerate(np.random.SeedSequence(seed).generate_state(repeats).tolist()):
        masks = draw_masks(n_samples, n_segments, seed=state, design=design)
        scores = masked_scores(
            predict,
            images,
            targets,
            segments=segments,
            masks=masks,
            fill=fill,
            score=score,
            batch_size=batch_size,
        )
        weights = kernel_weights(masks, kernel_width=kernel_width)
        coefficients[r] = lime_coefficients(masks, scores, weights, ridge).coefficients
    return coefficients


def lime_stability(
    predict: Predict,
    images: Images,
    targets: Labels,
    *,
    segments: Segments,
    n_samples: int,
    seeds: Sequence[int],
    top_k: int = 8,
    fill: Fill = "segment_mean",
    ridge: float = 1.0,
    kernel_width: float = 0.25,
    design: Design = "uniform",
    score: Score = "probability",
    batch_size: int = 256,
) -> LimeStability:
    """Explains every image once per seed and compares the explanations.

    Args:
        predict, images, targets, segments, n_samples, fill, ridge, kernel_width, design, score, batch_size: as
            ``lime``.
        seeds: two or more, all different.
        top_k: segments that count as the explanation; fewer than every image's own number.

    Returns:
        The ``LimeStability``.

    Raises:
        ShapeError: as ``lime``.
        UserError: as ``lime``, fewer than two different seeds, or ``top_k`` out of range.
    """
    if len(set(seeds)) < 2 or len(set(seeds)) < len(seeds):
        raise UserError(f"seeds = {list(seeds)}; two or more are needed, all different")
    runs = [
        lime(
            predict,
            images,
            targets,
            segments=segments,
            n_samples=n_samples,
            seed=seed,
            fill=fill,
            ridge=ridge,
            kernel_width=kernel_width,
            design=design,
            score=score,
            batch_size=batch_size,
        )
        for seed in seeds
    ]
    if not 1 <= top_k < runs[0].n_segments.min():
        raise UserError(f"top_k = {top_k}; allowed: 1 to {runs[0].n_segments.min() - 1}, one less than the segments")
    return _compare(np.stack([run.coefficients for run in runs]), top_k)


def _compare(coefficients: NDArray[np.float64], top_k: int) -> LimeStability:
    """Agreement of (R,N,S) coefficients, NaN beyond an image's own segments."""
    size = np.nan_to_num(np.abs(coefficients), nan=-1.0)
    top = np.zeros(coefficients.shape, dtype=np.bool_)
    np.put_along_axis(top, np.argsort(-size, axis=-1, kind="stable")[..., :top_k], True, axis=-1)
    own = ~np.isnan(coefficients[0])
    sign = np.sign(coefficients)
    jaccard, agreement = [], []
    for a, b in combinations(range(len(coefficients)), 2):
        jaccard.append((top[a] & top[b]).sum(axis=1) / (top[a] | top[b]).sum(axis=1))
        agreement.append(((sign[a] == sign[b]) & own).sum(axis=1) / own.sum(axis=1))
    return LimeStability(np.mean(jaccard, axis=0), np.mean(agreement, axis=0), coefficients.std(axis=0, ddof=1))


def _checked(
    images: Images, targets: Labels, segments: Segments, *, score: str, batch_size: int
) -> tuple[Images, Labels]:
    """The images as contiguous float32 and the targets, or the reason why not."""
    if images.ndim != 4 or images.shape[1] != 3 or len(images) == 0 or images.dtype != np.float32:
        raise ShapeError(f"images: {images.dtype} {images.shape}; wanted float32 (N,3,H,W) with N >= 1")
    if targets.shape != (len(images),) or not np.issubdtype(targets.dtype, np.integer):
        raise ShapeError(f"targets: {targets.dtype} {targets.shape}; wanted int64 ({len(images)},)")
    size = images.shape[2:]
    if segments.shape not in (size, (len(images), *size)) or not np.issubdtype(segments.dtype, np.integer):
        raise ShapeError(f"segments: {segments.dtype} {segments.shape}; wanted int32 {size} or {(len(images), *size)}")
    if score not in ("probability", "logit"):
        raise UserError(f'score = {score!r}; allowed: "probability", "logit"')
    if batch_size < 1:
        raise UserError(f"batch_size = {batch_size}; must be at least 1")
    return np.ascontiguousarray(images), targets


def _count_segments(segments: Segments) -> NDArray[np.int64]:
    """Number of segments of each layout: (1,) when shared, else (N,)."""
    layouts = segments[None] if segments.ndim == 2 else segments
    counts = np.empty(len(layouts), dtype=np.int64)
    for i, layout in enumerate(layouts):
        if layout.min() < 0:
            raise ShapeError(f"segments of layout {i} hold {layout.min()}; wanted 0..S-1")
        sizes = np.bincount(layout.ravel())
        if not sizes.all():
            raise ShapeError(f"segments of layout {i} skip number {int(np.argmin(sizes))}; wanted 0..S-1 without gaps")
        counts[i] = len(sizes)
    return counts
