"""How near LIME's coefficients come to those of many masks, for how many passes: designs held against one reference.

Convention: Spearman's correlation of an image's coefficients with the reference's, and the overlap (Jaccard) of the
top-k segments between draws. One draw of the largest count serves all smaller ones, as its first masks: the masks of a
design are exchangeable but for the pairs of "antithetic", which stand side by side. The reference is always "uniform",
as the ``lime`` package draws; "glime" has the same limit, its kernel being what it draws from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from edgexai.explain.layouts import Group, segment_groups
from edgexai.explain.lime_fit import LimeOptions, fit_of, masks_of, scores_of
from edgexai.explain.lime_result import compare_runs
from edgexai.explain.surrogate import Design
from edgexai.types import Images, Labels, Predict, Segments

TOP_K = 8


@dataclass(frozen=True)
class Agreement:
    """One design against the reference.

    Attributes:
        counts: masks per image.
        correlation: float64 (counts, N), mean over the draws; NaN where an image has more segments than masks.
        jaccard: float64 (counts, N), mean over pairs of draws.
    """

    counts: tuple[int, ...]
    correlation: NDArray[np.float64]
    jaccard: NDArray[np.float64]

    def at(self, count: int) -> tuple[float, float]:
        """Mean correlation and mean Jaccard over the images that have them."""
        row = self.counts.index(count)
        return float(np.nanmean(self.correlation[row])), float(np.nanmean(self.jaccard[row]))


def reference_coefficients(
    predict: Predict, images: Images, targets: Labels, *, segments: Segments, n_samples: int, seed: int
) -> list[NDArray[np.float64]]:
    """Coefficients (S_i,) of every image from ``n_samples`` uniform masks."""
    options = LimeOptions()
    found = []
    for one, label, group in _singles(images, targets, segments):
        masks = masks_of(n_samples, group.count, seed=seed, options=options)
        scores = scores_of(predict, one, label, group, masks, options)
        found.append(fit_of(one, group, masks, scores, options).coefficients[0])
    return found


def agreement(
    predict: Predict,
    images: Images,
    targets: Labels,
    *,
    segments: Segments,
    reference: Sequence[NDArray[np.float64]],
    design: Design,
    counts: Sequence[int],
    seeds: Sequence[int],
) -> Agreement:
    """Holds one design at several counts against the reference.

    Args:
        predict: what is explained; the reference may be of another file of the same network.
        images, targets, segments: as of ``lime``.
        reference: (S_i,) per image.
        design: of the masks.
        counts: ascending.
        seeds: two or more draws, none of them the reference's.

    Returns:
        The ``Agreement``.
    """
    options = LimeOptions(design=design)
    correlation = np.full((len(counts), len(images)), np.nan)
    jaccard = correlation.copy()
    for i, (one, label, group) in enumerate(_singles(images, targets, segments)):
        found = np.full((len(counts), len(seeds), group.count), np.nan)
        for k, seed in enumerate(seeds):
            masks = masks_of(max(counts[-1], group.count), group.count, seed=seed, options=options)
            scores = scores_of(predict, one, label, group, masks, options)
            for row, count in enumerate(counts):
                if count >= group.count:
                    found[row, k] = fit_of(one, group, masks[:count], scores[:count], options).coefficients[0]
        for row, count in enumerate(counts):
            if count >= group.count:
                correlation[row, i] = np.mean([rank_correlation(c, reference[i]) for c in found[row]])
                alike = compare_runs(found[row][:, None], np.ones((len(seeds), 1)), top_k=TOP_K)
                jaccard[row, i] = alike.jaccard[0]
    return Agreement(tuple(counts), correlation, jaccard)


def passes_needed(
    found: Agreement, goal: NDArray[np.float64], *, images: NDArray[np.int64] | None = None
) -> int | None:
    """The smallest count from which on the mean correlation stays at or above the goal's mean; None where none does.

    Args:
        found: of a design.
        goal: (N,) correlation of what is to be reached, on the same images.
        images: indices of those that count, with repeats; None: each once.
    """
    chosen = np.arange(len(goal)) if images is None else images
    wanted = goal[chosen].mean()
    reached = found.correlation[:, chosen].mean(axis=1) >= wanted  # NaN, too few masks for the segments, is not
    last_below = np.flatnonzero(~reached)
    first = 0 if not len(last_below) else int(last_below[-1]) + 1
    return found.counts[first] if first < len(found.counts) else None


def rank_correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Spearman's correlation of two vectors (S,); 0 where one is constant: it tells nothing of the other."""
    x, y = rankdata(a), rankdata(b)
    x, y = x - x.mean(), y - y.mean()
    length = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / length if length > 0 else 0.0


def _singles(images: Images, targets: Labels, segments: Segments) -> list[tuple[Images, Labels, Group]]:
    """Every image by itself, in order, with its layout."""
    found = []
    for i in range(len(images)):
        one, layout = np.ascontiguousarray(images[i : i + 1]), segments if segments.ndim == 2 else segments[i]
        found.append((one, targets[i : i + 1], segment_groups(one, layout)[0]))
    return found
