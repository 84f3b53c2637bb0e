"""Rows of what a predictor's confidence is worth: calibration and selective accuracy, on every clean split.

Confidence is the softmax probability of the decided class. Nothing is fitted: a temperature would be a new network.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexai.measure.calibration import calibration
from edgexai.measure.proportions import Interval
from edgexai.measure.rows import accuracy_row
from edgexai.measure.selective import accuracy_at, selective
from edgexai.measure.subject import Subject
from edgexai.types import Row

_BINS = 15
COVERAGES = (0.8, 0.9, 0.95)


def confidence_rows(
    who: Subject, confidence: NDArray[Any], correct: NDArray[np.bool_], *, split: str, seed: int
) -> list[Row]:
    """Calibration errors, AURC and its excess, and the accuracy of the most confident 80, 90 and 95 %.

    Args:
        who: the engine or the twin.
        confidence: (N,), softmax probability of the decided class.
        correct: bool (N,).
        split: they are of.
        seed: of the bootstrap.

    Raises:
        ShapeError, UserError: as ``calibration`` and ``selective``.
    """
    words: dict[str, Any] = {
        "arm": who.arm, "artefact": who.artefact, "subject": who.subject, "runtime": who.runtime,
        "seed": seed, "split": split,
    }  # fmt: skip

    def row(metric: str, found: Interval, control: str, detail: dict[str, str | int | float]) -> Row:
        return Row(
            **words, metric=metric, value=found.value, low=found.low, high=found.high, interval="bootstrap",
            unit="fraction", n=len(correct), control=control, detail=detail,
        )  # fmt: skip

    rows = []
    for scheme in ("width", "mass") if len(correct) >= _BINS else ("width",):
        found = calibration(confidence, correct, seed=seed, bins=_BINS, scheme=scheme)
        detail: dict[str, str | int | float] = {
            "bins": _BINS, "scheme": scheme, "mean_confidence": float(np.mean(confidence)),
        }  # fmt: skip
        rows.append(row("calibration_error", found.error, "accuracy equal to confidence: 0", detail))
    order = selective(confidence, correct, seed=seed)
    error = f"confidence that says nothing: {1 - correct.mean():.4g}"
    rows.append(row("aurc", order.aurc, error, {}))
    rows.append(row("aurc_excess", order.excess, "every error least confident: 0", {}))
    for coverage in COVERAGES:
        kept = accuracy_at(confidence, correct, coverage=coverage)
        about: dict[str, str | int | float] = {"coverage": coverage, "accepted": len(kept) / len(correct)}
        rows.append(accuracy_row(kept, **words, metric="selective_acc", detail=about, control="clean_acc: all images"))
    return rows
