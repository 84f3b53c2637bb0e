"""From values per image to ``types.Row``: the one place where intervals are attached to numbers.

A fraction of images gets a Wilson interval, a mean over images a bootstrap interval, a difference between two arms on
the same images a paired bootstrap interval.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError
from edgexai.measure.stats import bootstrap_mean, paired_bootstrap, wilson
from edgexai.types import Row

Detail = dict[str, str | int | float]


def accuracy_row(
    correct: NDArray[np.bool_],
    *,
    arm: str,
    artefact: str,
    subject: Literal["engine", "twin"],
    metric: str = "clean_acc",
    seed: int | None = None,
    split: str = "test",
    detail: Detail | None = None,
    control: str = "",
    runtime: str = "",
) -> Row:
    """A fraction of images, e.g. clean or robust accuracy or decision agreement, with its Wilson interval.

    Args:
        correct: bool (N,), one per image.
        arm, artefact, subject, metric, seed, split, detail, control, runtime: as in ``types.Row``.

    Raises:
        ShapeError: not boolean (N,) with N >= 1.
    """
    if correct.dtype != np.bool_ or correct.ndim != 1 or not len(correct):
        raise ShapeError(f"{metric}: a fraction needs bool (N,) with N >= 1, not {correct.dtype} {correct.shape}")
    value, low, high = wilson(int(correct.sum()), len(correct))
    return Row(
        arm=arm,
        artefact=artefact,
        subject=subject,
        metric=metric,
        value=value,
        unit="fraction",
        n=len(correct),
        low=low,
        high=high,
        interval="wilson",
        seed=seed,
        split=split,
        detail=dict(detail or {}),
        control=control,
        runtime=runtime,
    )


def mean_row(
    values: NDArray[Any],
    *,
    arm: str,
    artefact: str,
    subject: Literal["engine", "twin"],
    metric: str,
    seed: int,
    unit: str = "unitless",
    split: str = "test",
    detail: Detail | None = None,
    control: str = "",
    runtime: str = "",
) -> Row:
    """A mean over images with its bootstrap interval.

    NaN marks an image for which the metric is undefined (a map of zeros): such images are left out of ``n`` and counted
    in ``detail["undefined"]``. With nothing left the row is "skipped" with the reason.

    Args:
        values: (N,), one per image.
        arm, artefact, subject, metric, seed, unit, split, detail, control, runtime: as in ``types.Row``.

    Raises:
        ShapeError: not (N,).
        UserError: infinite values.
    """
    if values.ndim != 1:
        raise ShapeError(f"{metric}: a mean row takes (N,), not {values.shape}")
    defined = values[~np.isnan(values)]
    details = dict(detail or {})
    if undefined := len(values) - len(defined):
        details["undefined"] = undefined
    measured = bootstrap_mean(defined, seed=seed) if len(defined) else None
    return Row(
        arm=arm,
        artefact=artefact,
        subject=subject,
        metric=metric,
        value=None if measured is None else measured.value,
        unit=unit,
        n=len(defined),
        low=None if measured is None else measured.low,
        high=None if measured is None else measured.high,
        interval="none" if measured is None else "bootstrap",
        seed=seed,
        split=split,
        detail=details,
        control=control,
        status="skipped" if measured is None else "measured",
        reason="undefined for every image" if measured is None else "",
        runtime=runtime,
    )


def difference_row(
    values: NDArray[Any],
    other: NDArray[Any],
    *,
    against: str,
    arm: str,
    artefact: str,
    subject: Literal["engine", "twin"],
    metric: str,
    seed: int,
    unit: str = "unitless",
    split: str = "test",
    detail: Detail | None = None,
    control: str = "",
    runtime: str = "",
) -> Row:
    """mean(values - other) over the same images, with a paired bootstrap interval, named ``<metric>_difference``.

    Images undefined (NaN) for either side are left out and counted in ``detail["undefined"]``.

    Args:
        values: (N,), of ``arm``; bool counts as 0 or 1.
        other: (N,), of ``against``, the same images in the same order.
        against: what is subtracted, an arm or artefact; kept in ``detail["against"]``.
        arm, artefact, subject, metric, seed, unit, split, detail, control, runtime: as in ``types.Row``.

    Raises:
        ShapeError: not (N,) of one length, or nothing left.
        UserError: infinite values.
    """
    if values.shape != other.shape or values.ndim != 1:
        raise ShapeError(f"{metric}: a difference takes two (N,), not {values.shape} and {other.shape}")
    a, b = values.astype(np.float64), other.astype(np.float64)
    defined = ~(np.isnan(a) | np.isnan(b))
    details: Detail = {**(detail or {}), "against": against}
    if undefined := int((~defined).sum()):
        details["undefined"] = undefined
    value, low, high = paired_bootstrap(a[defined], b[defined], seed=seed)
    return Row(
        arm=arm,
        artefact=artefact,
        subject=subject,
        metric=f"{metric}_difference",
        value=value,
        unit=unit,
        n=int(defined.sum()),
        low=low,
        high=high,
        interval="paired-bootstrap",
        seed=seed,
        split=split,
        detail=details,
        control=control,
        runtime=runtime,
    )
