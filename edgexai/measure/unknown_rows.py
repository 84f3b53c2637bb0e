"""Rows of what a predictor does with classes it does not know: rejected, or taken for one that it knows?

The score is the softmax probability of the decided class; ``unknown.py`` sets the threshold on validation images and
says where this comes from. Nothing is fitted. A reject rate says little without the accept rate of known images beside
it: whoever rejects everything rejects the unknown too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexai.measure.rows import Detail, accuracy_row
from edgexai.measure.subject import Subject
from edgexai.measure.unknown import unknown
from edgexai.types import Row

COVERAGE = 0.95


def unknown_rows(
    who: Subject,
    *,
    validation: NDArray[Any],
    known: NDArray[Any],
    foreign: NDArray[Any],
    data: str,
    split: str = "test",
    seed: int,
) -> list[Row]:
    """ "reject_rate", "known_accept_rate" and "unknown_auroc", at the threshold that accepts 95 % of ``validation``.

    Args:
        who: whose confidences these are.
        validation: (V,), softmax probability of the decided class, of validation images of known classes.
        known: (N,), of measured images of known classes.
        foreign: (M,), of images of classes that ``who`` does not know.
        data: card that the foreign images are of; kept in ``detail["data"]``.
        split: that ``known`` is of.
        seed: of the bootstrap of the AUROC.

    Returns:
        Three rows; the shares with Wilson intervals. ``n`` of "unknown_auroc" is N + M.

    Raises:
        ShapeError, UserError: as ``unknown``.
    """
    found = unknown(validation, known, foreign, coverage=COVERAGE, seed=seed)
    words: dict[str, Any] = {
        "arm": who.arm, "artefact": who.artefact, "subject": who.subject, "runtime": who.runtime,
        "seed": seed, "split": split,
    }  # fmt: skip
    detail: Detail = {"data": data, "coverage": COVERAGE, "score_threshold": found.threshold}
    chance = f"a confidence that says nothing rejects as many known images: {np.mean(~found.accepted):.4g}"
    rejected = accuracy_row(found.rejected, **words, metric="reject_rate", detail=detail, control=chance)
    wanted = f"on validation images at least {COVERAGE:.0%}, by the threshold"
    accepted = accuracy_row(found.accepted, **words, metric="known_accept_rate", detail=detail, control=wanted)
    area = found.auroc
    told = Row(
        **words, metric="unknown_auroc", value=area.value, low=area.low, high=area.high, interval="bootstrap",
        unit="fraction", n=len(known) + len(foreign), control="a confidence that says nothing: 0.5",
        detail={"data": data, "unknown_n": len(foreign)},
    )  # fmt: skip
    return [rejected, accepted, told]
