"""From values per image to ``types.Row``: the one place where intervals are attached to numbers.

A fraction of images gets a Wilson interval, a mean over images a bootstrap interval. A difference between two arms on
the same images is paired: of fractions with Bonett and Price's interval and McNemar's test, of other values with a
bootstrap interval and Wilcoxon's signed ranks; it also says the smallest difference that so many images could show.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError
from edgexai.measure.paired_tests import mcnemar, wilcoxon
from edgexai.measure.power import detectable_mean, detectable_share
from edgexai.measure.proportions import Interval, paired_difference, wilson
from edgexai.measure.stats import bootstrap_mean, paired_bootstrap
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
    measured = _within(bootstrap_mean(defined, seed=seed), defined, unit) if len(defined) else None
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


def _within(measured: Interval, values: NDArray[Any], unit: str) -> Interval:
    """Of few images a bound may reach where no mean can lie: below zero where no image is, beyond one of a fraction."""
    most = 1.0 if unit == "fraction" else np.inf
    low = max(measured.low, -most, 0.0 if values.min() >= 0 else -np.inf)
    high = min(measured.high, most, 0.0 if values.max() <= 0 else np.inf)
    return Interval(measured.value, low, high)


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
    """mean(values - other) over the same images, with a paired interval, named ``<metric>_difference``.

    Images undefined (NaN) for either side are left out and counted in ``detail["undefined"]``. ``detail`` also gets
    "test" ("mcnemar" where both sides are boolean, else "wilcoxon"), its two-sided "p", and "detectable": the smallest
    true difference that this test finds four times in five on so many images.

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
    if values.dtype == np.bool_ and other.dtype == np.bool_:
        value, low, high = paired_difference(values, other)
        tested: Detail = {"test": "mcnemar", "p": mcnemar(values, other).p_value}
        tested["detectable"] = detectable_share(values, other)
        interval = "bonett-price"
    else:
        value, low, high = paired_bootstrap(a[defined], b[defined], seed=seed)
        tested = {"test": "wilcoxon", "p": wilcoxon(a[defined], b[defined]).p_value}
        if (seen := detectable_mean(a[defined] - b[defined])) < float("inf"):
            tested["detectable"] = seen
        interval = "paired-bootstrap"
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
        interval=interval,
        seed=seed,
        split=split,
        detail={**details, **tested},
        control=control,
        runtime=runtime,
    )
