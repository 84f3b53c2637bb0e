"""Expected calibration error (ECE): how far confidence is from accuracy.

Source: Naeini et al., AAAI 2015; Guo et al., ICML 2017: images in bins by confidence, mean over bins, weighted by their
images, of |accuracy - mean confidence|. Bins: "width" are the source's 15 equal parts of [0,1]; "mass" hold equally
many images (adaptive, Nixon et al., CVPRW 2019, of the top class): a good network puts nearly all images into the last
of equally wide bins, which then hides what happens there.

Interval: the error is biased upwards (noise looks like miscalibration) and folded at 0, so no single bootstrap covers.
Each bound is the farther one of the percentile and the basic bootstrap; the lower one is at most what is left when the
error that a perfectly calibrated predictor with these confidences shows (consistency resampling, Broecker and Smith
2007) is taken off in squares, hence 0 where chance explains it all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError, UserError
from edgexai.measure.proportions import Interval
from edgexai.measure.resample import bootstrap_statistic

_KINDS: tuple[Literal["percentile", "basic"], ...] = ("percentile", "basic")
_CHANCE_DRAWS = 1000


@dataclass(frozen=True)
class Calibration:
    """The error and the diagram behind it.

    Attributes:
        error: in [0,1], with its interval.
        confidence: float64 (B,), mean confidence per bin; NaN where a bin is empty.
        accuracy: (B,), likewise.
        count: int64 (B,).
    """

    error: Interval
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    count: NDArray[np.int64]


def calibration(
    confidence: NDArray[Any],
    correct: NDArray[np.bool_],
    *,
    seed: int,
    bins: int = 15,
    scheme: Literal["width", "mass"] = "width",
) -> Calibration:
    """Measures one predictor.

    Args:
        confidence: (N,), softmax probability of the decided class, in [0,1].
        correct: bool (N,), the decision is right.
        seed: of the bootstrap.
        bins: at least 1; with "mass" at most N.
        scheme: "width" (a value on a border belongs to the lower bin) or "mass" (equal confidences stay together).

    Raises:
        ShapeError: not (N,) each, or no image.
        UserError: confidences outside [0,1], unknown scheme, too many bins.
    """
    if confidence.ndim != 1 or confidence.shape != correct.shape or correct.dtype != np.bool_ or not len(correct):
        raise ShapeError(
            f"confidence {confidence.shape}, correct {correct.dtype} {correct.shape}: need (N,), bool (N,)"
        )
    values = confidence.astype(np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise UserError("confidences must lie in [0, 1]", next_step="use the softmax probability of the decided class")
    if scheme not in ("width", "mass") or not 1 <= bins <= (len(values) if scheme == "mass" else 10_000):
        raise UserError(f'scheme "{scheme}" with {bins} bins: "width", or "mass" with at most one bin per image')
    if scheme == "width":
        place = np.clip(np.ceil(values * bins).astype(np.int64) - 1, 0, bins - 1)
    else:
        # All images of one confidence go where the first of them goes.
        first = np.searchsorted(np.sort(values), values, side="left")
        place = first * bins // len(values)
    member = np.zeros((len(values), bins))
    member[np.arange(len(values)), place] = 1
    gap = member * (values - correct)[:, None]

    def error(counts: NDArray[Any]) -> NDArray[np.float64]:
        total: NDArray[np.float64] = np.abs(counts @ gap).sum(axis=1) / counts.sum(axis=1)
        return total

    ends = [bootstrap_statistic(error, len(values), seed=seed, kind=kind) for kind in _KINDS]
    low, high = min(found.low for found in ends), max(found.high for found in ends)
    value = ends[0].value
    # Chance adds to a true error about as lengths at right angles do.
    low = min(low, max(0.0, value**2 - _by_chance(values, member, seed=seed) ** 2) ** 0.5)
    held = Interval(value, min(max(low, 0.0), value), min(max(high, value), 1.0))
    count = member.sum(axis=0)
    filled = np.where(count > 0, count, np.nan)
    return Calibration(held, values @ member / filled, correct @ member / filled, count.astype(np.int64))


def _by_chance(values: NDArray[np.float64], member: NDArray[np.float64], *, seed: int) -> float:
    """97.5 % quantile of the error of a perfectly calibrated predictor with these confidences."""
    rng = np.random.default_rng([seed, 59])
    errors = np.empty(_CHANCE_DRAWS)
    block = max(1, 4_000_000 // len(values))
    for first in range(0, _CHANCE_DRAWS, block):
        size = min(block, _CHANCE_DRAWS - first)
        residual = values - (rng.random((size, len(values))) < values)
        errors[first : first + size] = np.abs(residual @ member).sum(axis=1) / len(values)
    return float(np.quantile(errors, 0.975))
