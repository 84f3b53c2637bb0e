"""LIME's stability table: segmenters x sampling designs x mask counts, each against a reference of many masks; and how
many passes a design needs for the agreement that ``settings.lime_samples`` uniform masks reach.

On a signnet trained in the bench, in ONNX Runtime fp32: how steady an explanation is depends on what was learnt, so
untrained weights will not do. Aims: none; these are what the "equal agreement" line of the family "lime" rests on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgexai.bench.agreement import TOP_K, Agreement, agreement, passes_needed, reference_coefficients
from edgexai.bench.line import Line
from edgexai.bench.workshop import SEED, Workshop
from edgexai.errors import MissingCapability
from edgexai.explain.segment import felzenszwalb, grid, quickshift, slic
from edgexai.explain.surrogate import Design
from edgexai.types import Images, Predict, Segments

DESIGNS: tuple[Design, ...] = ("uniform", "antithetic", "glime")
_SHOWN = (100, 250, 256, 300, 500, 1000, 1500)
_LEAST, _MASKS_A_SEGMENT, _RESAMPLES = 8, 4, 1000
_SEGMENTERS: dict[str, Callable[[Images], Segments]] = {
    "slic 64": lambda images: slic(images, 64, min_segments=1),
    "quickshift (kernel 1, distance 3)": lambda images: quickshift(
        images, kernel_size=1.0, max_dist=3.0, min_segments=1
    ),
    "felzenszwalb (scale 20, 8 pixels)": lambda images: felzenszwalb(
        images, scale=20.0, sigma=0.3, min_size=8, min_segments=1
    ),
}
"""With settings for small images: the package's quickshift gives one segment on 32 pixels."""


def stability_of_lime(workshop: Workshop) -> list[Line]:
    """Per segmenter: a line for each design and count, and one for each design's passes at equal agreement."""
    settings, trained = workshop.settings, workshop.trained
    engine = trained.engine("fp32", threads=workshop.threads)
    lines: list[Line] = []
    cells = settings.lime_cells
    ways = {f"grid {cells}x{cells}": lambda images: grid(images.shape[2:], cells), **_SEGMENTERS}
    for name, cut in ways.items():
        try:
            kept, segments = _cut(cut, trained.images, most=settings.lime_samples // _MASKS_A_SEGMENT)
        except MissingCapability as error:
            lines.append(Line("stability", name, None, reason=f"{error.what}; {error.next_step}"))
            continue
        if not len(kept):
            why = f"no image got {_LEAST} to {settings.lime_samples // _MASKS_A_SEGMENT} segments"
            lines.append(Line("stability", name, None, reason=why))
            continue
        images, targets = trained.images[kept], trained.targets[kept]
        reference = reference_coefficients(
            engine, images, targets, segments=segments, n_samples=settings.stability_reference, seed=SEED
        )
        found = designs_against(engine, workshop, images, targets, segments, reference)
        about = (
            f"signnet trained on {trained.data} ({trained.val_acc:.0%} right), onnxruntime fp32, {len(kept)} of "
            f"{len(trained.images)} validation images (those with {_LEAST} segments, and "
            f"{_MASKS_A_SEGMENT} masks for each), {_mean_segments(reference):.0f} "
            f"segments on average, {settings.stability_seeds} draws; reference: {settings.stability_reference} uniform "
            "masks."
        )
        lines += _table(name, found, about, workshop.threads)
        lines += _equal(name, found, about, workshop.threads, usual=settings.lime_samples)
    return lines


def designs_against(
    predict: Predict,
    workshop: Workshop,
    images: Images,
    targets: NDArray[np.int64],
    segments: Segments,
    reference: Sequence[NDArray[np.float64]],
    designs: Sequence[Design] = DESIGNS,
    counts: tuple[int, ...] = (),
) -> dict[Design, Agreement]:
    """Every design at every count, else those of the settings; the draws are others than the reference's."""
    settings = workshop.settings
    seeds = np.random.SeedSequence([SEED, 41]).generate_state(settings.stability_seeds).tolist()
    counts = counts or settings.stability_samples
    return {
        design: agreement(
            predict, images, targets, segments=segments, reference=reference, design=design, counts=counts, seeds=seeds
        )
        for design in designs
    }


def _cut(cut: Callable[[Images], Segments], images: Images, *, most: int) -> tuple[NDArray[np.int64], Segments]:
    """Images that get enough segments, and not too many to tell apart, and their layouts."""
    segments = cut(images)
    if segments.ndim == 2:
        return np.arange(len(images)), segments
    counts = segments.max(axis=(1, 2)) + 1
    kept = np.flatnonzero((counts >= _LEAST) & (counts <= most))
    return kept, segments[kept]


def _mean_segments(reference: Sequence[NDArray[np.float64]]) -> float:
    return float(np.mean([len(one) for one in reference]))


def _table(name: str, found: dict[Design, Agreement], about: str, threads: int) -> list[Line]:
    lines = []
    for design, one in found.items():
        for count in one.counts:
            row = one.correlation[one.counts.index(count)]
            if count not in _SHOWN or np.isnan(row).all():
                continue
            value, jaccard = one.at(count)
            known = row[~np.isnan(row)]
            low, high = _resampled(lambda index, known=known: float(known[index].mean()), len(known))  # type: ignore[misc]
            lines.append(
                Line(
                    "stability",
                    f"{name}, {design}, {count} masks: rank correlation with the reference",
                    value,
                    unit="correlation",
                    low=low,
                    high=high,
                    coverage=0.95,
                    n=len(known),
                    threads=threads,
                    method=f"top-{TOP_K} Jaccard between draws {jaccard:.2f}, {count} passes an image. {about} "
                    "Interval: bootstrap over images.",
                    detail={"jaccard": jaccard, "forwards": count, "design": design, "segmenter": name},
                )
            )
    return lines


def _equal(name: str, found: dict[Design, Agreement], about: str, threads: int, *, usual: int) -> list[Line]:
    """Passes that uniform masks take, over those that another design takes, for the same agreement."""
    uniform = found["uniform"]
    if usual not in uniform.counts:
        return []
    goal = uniform.correlation[uniform.counts.index(usual)]
    lines = []
    for design, one in found.items():
        if design == "uniform":
            continue
        what = f"{name}: passes for the agreement of {usual} uniform masks, uniform / {design}"
        needed = passes_needed(one, goal)
        if needed is None:
            why = f"not reached with {one.counts[-1]} masks"
            lines.append(Line("stability", what, None, threads=threads, reason=why, method=about))
            continue

        def ratio(index: NDArray[np.int64], one: Agreement = one) -> float:
            enough = passes_needed(one, goal, images=index)
            return 0.0 if enough is None else usual / enough  # not reached: more passes than were tried

        low, high = _resampled(ratio, len(goal))
        lines.append(
            Line(
                "stability",
                what,
                usual / needed,
                low=min(low, usual / needed),
                high=max(high, usual / needed),
                coverage=0.95,
                n=len(goal),
                threads=threads,
                method=f"{design}: {needed} passes an image reach a mean rank correlation of {goal.mean():.3f}, and no "
                f"larger count tried falls below. {about} Interval: bootstrap over images.",
                detail={"passes": needed, "correlation": float(goal.mean()), "design": design, "segmenter": name},
            )
        )
    return lines


def _resampled(value: Callable[[NDArray[np.int64]], float], n: int) -> tuple[float, float]:
    """Percentiles of a value over images drawn again with replacement."""
    generator = np.random.default_rng([SEED, 43])
    drawn = [value(generator.integers(0, n, n)) for _ in range(_RESAMPLES)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)
