"""Signs of classes the network does not know: are they rejected when the known ones are kept?

Source: Hendrycks and Gimpel, ICLR 2017 (the largest softmax probability as score; AUROC). The threshold is set on
*validation* images of known classes so that a fixed share of them is accepted; the reject rate is then that of unknown
images (1 minus the "false positive rate at 95 % true positives" of the literature, which sets the threshold on the test
images themselves). Higher scores mean "known".
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError, UserError
from edgexai.measure.proportions import Interval
from edgexai.measure.resample import bootstrap_statistic


class Unknown(NamedTuple):
    """How a score tells unknown from known.

    Attributes:
        threshold: scores below it are rejected.
        accepted: bool (N,), of known test images; its mean should be near the asked coverage.
        rejected: bool (M,), of unknown images.
        auroc: chance that a known image scores above an unknown one, ties half: 0.5 = the score says nothing.
    """

    threshold: float
    accepted: NDArray[np.bool_]
    rejected: NDArray[np.bool_]
    auroc: Interval


def unknown(
    validation: NDArray[Any], known: NDArray[Any], unknown: NDArray[Any], *, coverage: float = 0.95, seed: int
) -> Unknown:
    """Sets the threshold and applies it.

    Args:
        validation: (V,), scores of validation images of known classes.
        known: (N,), of test images of known classes.
        unknown: (M,), of images of unknown classes.
        coverage: share of validation images to accept, in (0,1).
        seed: of the bootstrap of the AUROC.

    Raises:
        ShapeError: an empty or misshapen array.
        UserError: scores not finite, or coverage out of range.
    """
    for name, scores in (("validation", validation), ("known", known), ("unknown", unknown)):
        if scores.ndim != 1 or not len(scores):
            raise ShapeError(f"{name} scores have shape {scores.shape}; they are (N,) with N >= 1")
        if not np.isfinite(scores).all():
            raise UserError(f"{name} scores hold NaN or infinity")
    if not 0 < coverage < 1:
        raise UserError(f"coverage = {coverage} is not in (0, 1)")
    kept = int(np.ceil(coverage * len(validation) - 1e-9))
    threshold = np.sort(validation)[::-1][kept - 1]
    values, place = np.unique(np.concatenate([known, unknown]), return_inverse=True)
    member = len(known)

    def auroc(counts: NDArray[Any]) -> NDArray[np.float64]:
        found = np.empty(len(counts))
        for k, drawn in enumerate(counts):
            inside = np.bincount(place[:member], weights=drawn[:member], minlength=len(values))
            outside = np.bincount(place[member:], weights=drawn[member:], minlength=len(values))
            pairs = inside.sum() * outside.sum()
            won = (inside * (outside.cumsum() - outside / 2)).sum()
            found[k] = won / pairs if pairs > 0 else np.nan
        return found

    area = bootstrap_statistic(auroc, len(place), seed=seed, kind="percentile")
    return Unknown(float(threshold), known >= threshold, unknown < threshold, area)
