"""LIME for images on any ``Predict``: the engine itself is explained, with forward passes only.

Source: Ribeiro et al., KDD 2016 (arXiv 1602.04938); conventions of the ``lime`` package, with which it agrees for the
same masks. Differs: many images in one go, the masks drawn once for all of them, no feature pre-selection unless asked
for (every segment keeps its coefficient), the seed fixes everything. Runs on NumPy alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError, UserError
from edgexai.explain.fill import Fill
from edgexai.explain.layouts import segment_groups
from edgexai.explain.lime_auto import lime_until_stable
from edgexai.explain.lime_fit import Kernel, LimeOptions, explain_once
from edgexai.explain.lime_result import LimeResult, LimeStability, compare_runs
from edgexai.explain.score import Score, check_predict_inputs
from edgexai.explain.surrogate import Design, lime_coefficients
from edgexai.types import Images, Labels, Predict, Segments

__all__ = ["LimeResult", "LimeStability", "lime", "lime_coefficients", "lime_repeats", "lime_stability"]


def lime(
    predict: Predict,
    images: Images,
    targets: Labels,
    *,
    segments: Segments,
    n_samples: int | Literal["auto"],
    seed: int,
    fill: Fill = "segment_mean",
    ridge: float = 1.0,
    kernel_width: float = 0.25,
    design: Design = "uniform",
    score: Score = "probability",
    batch_size: int = 64,
    kernel: Kernel = "cosine",
    n_features: int | None = None,
    stability_seeds: int = 0,
    top_k: int = 8,
    agreement: float = 0.8,
    max_samples: int = 16384,
) -> LimeResult:
    """Explains one class of each image.

    Images with the same number of segments share their masks, so an image's result does not depend on the others.

    Args:
        predict: images -> logits. Its input is a buffer that the next batch overwrites: it must not keep it.
        images: float32 (N,3,H,W) in [0,1], N >= 1; not modified.
        targets: int64 (N,): the class to explain.
        segments: int32 (H,W) for all images, or (N,H,W); 0..S-1 without gaps.
        n_samples: masks per image, the first of them all on; at least S, better 4 S. "auto": doubled for each image
            until two halves of the masks agree on the top segments (see ``lime_auto``).
        seed: of the masks.
        fill: colour of hidden segments: "segment_mean", "mean" (of the image), "black", "p20", "blur", or (r, g, b)
            in [0,1].
        ridge: penalty of the surrogate.
        kernel_width: of the weights, in the kernel's distance.
        design: "uniform", "antithetic" (masks in opposite pairs) or "glime" (drawn from the kernel).
        score: "probability" (softmax of the target) or "logit".
        batch_size: perturbed images per call of ``predict``, at most; more leave a processor's caches and are slower.
        kernel: "cosine" distance of the masks, or root mean square distance of the "image" in pixels of [0,1].
        n_features: keep that many segments per image and fit on them alone, as the ``lime`` package does; all if None.
        stability_seeds: explain so many times in all (2 or more) and tell how far the explanations agree; the first
            one is what is returned. 0: only "auto" tells it.
        top_k: segments that count as the explanation in stability and "auto".
        agreement, max_samples: of "auto": the overlap (Jaccard) that is enough, and the masks per image at most.

    Returns:
        The ``LimeResult``.

    Raises:
        ShapeError: wrong shapes or types, or segment numbers with gaps.
        UserError: too few samples, a target that is no class, an unknown option.
    """
    images, targets = check_predict_inputs(images, targets, score=score, batch_size=batch_size)
    groups = segment_groups(images, segments)
    options = LimeOptions(fill, ridge, kernel, kernel_width, design, score, n_features, batch_size)
    if stability_seeds < 0 or stability_seeds == 1:
        raise UserError(f"stability_seeds = {stability_seeds}; allowed: 0, or 2 and more")
    if top_k < 1:
        raise UserError(f"top_k = {top_k}; must be at least 1")
    if n_samples == "auto":
        if stability_seeds:
            raise UserError('n_samples = "auto" tells its stability by itself; leave stability_seeds out')
        return lime_until_stable(
            predict,
            images,
            targets,
            groups=groups,
            seed=seed,
            options=options,
            top_k=top_k,
            agreement=agreement,
            max_samples=max_samples,
        )
    seeds = [seed, *np.random.SeedSequence(seed).generate_state(max(stability_seeds - 1, 0)).tolist()]
    runs = [
        explain_once(predict, images, targets, groups=groups, n_samples=n_samples, seed=s, options=options)
        for s in seeds
    ]
    if not stability_seeds:
        return runs[0]
    agreed = compare_runs(np.stack([r.coefficients for r in runs]), np.stack([r.r2 for r in runs]), top_k=top_k)
    return replace(runs[0], stability=agreed, forwards=sum(r.forwards for r in runs))


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
    batch_size: int = 64,
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
    images, targets = check_predict_inputs(images, targets, score=score, batch_size=batch_size)
    groups = segment_groups(images, segments)
    options = LimeOptions(
        fill=fill, ridge=ridge, kernel_width=kernel_width, design=design, score=score, batch_size=batch_size
    )
    runs = [
        explain_once(predict, images, targets, groups=groups, n_samples=n_samples, seed=state, options=options)
        for state in np.random.SeedSequence(seed).generate_state(repeats).tolist()
    ]
    return np.stack([run.coefficients for run in runs])


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
    batch_size: int = 64,
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
    images, targets = check_predict_inputs(images, targets, score=score, batch_size=batch_size)
    groups = segment_groups(images, segments)
    options = LimeOptions(
        fill=fill, ridge=ridge, kernel_width=kernel_width, design=design, score=score, batch_size=batch_size
    )
    least = min(group.count for group in groups)
    if not 1 <= top_k < least:
        raise UserError(f"top_k = {top_k}; allowed: 1 to {least - 1}, one less than the segments")
    runs = [
        explain_once(predict, images, targets, groups=groups, n_samples=n_samples, seed=seed, options=options)
        for seed in seeds
    ]
    return compare_runs(np.stack([r.coefficients for r in runs]), np.stack([r.r2 for r in runs]), top_k=top_k)
