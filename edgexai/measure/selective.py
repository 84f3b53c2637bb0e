"""Selective classification: what accuracy is left when the least confident images are handed to someone else.

Source: Geifman and El-Yaniv, NeurIPS 2017; AURC and its excess over the best possible order: Geifman et al., ICLR 2019.
Convention: images of one confidence are accepted together, because no threshold can tell them apart; AURC is then the
mean over images of the risk (error among the accepted) when the threshold stands at that image's confidence.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError, UserError
from edgexai.measure.proportions import Interval
from edgexai.measure.resample import bootstrap_statistic


class Selective(NamedTuple):
    """Of one predictor.

    Attributes:
        aurc: area under risk over coverage, in [0,1]; lower = better; also lower for a more accurate predictor.
        excess: aurc minus that of an order that puts every error last: of the confidence alone; 0 = perfect order.
        coverage: float64 (G,), fraction accepted at each distinct confidence, rising to 1.
        risk: (G,), fraction wrong among the accepted.
    """

    aurc: Interval
    excess: Interval
    coverage: NDArray[np.float64]
    risk: NDArray[np.float64]


def selective(confidence: NDArray[Any], correct: NDArray[np.bool_], *, seed: int) -> Selective:
    """Risk over coverage, and the areas with bootstrap intervals.

    Args:
        confidence: (N,), higher = accepted sooner; finite.
        correct: bool (N,).
        seed: of the bootstrap.

    Raises:
        ShapeError: not (N,) each, or no image.
        UserError: confidences are not finite.
    """
    order, ends = _sorted(confidence, correct)
    wrong = (~correct)[order].astype(np.float64)
    group = np.searchsorted(ends, np.arange(len(order)))

    def area(counts: NDArray[Any]) -> NDArray[np.float64]:
        drawn = counts[:, order]
        accepted, errors = drawn.cumsum(axis=1)[:, ends], (drawn * wrong).cumsum(axis=1)[:, ends]
        risk = errors / np.where(accepted > 0, accepted, 1)
        total: NDArray[np.float64] = (drawn * risk[:, group]).sum(axis=1) / drawn.sum(axis=1)
        return total

    def excess(counts: NDArray[Any]) -> NDArray[np.float64]:
        return area(counts) - _least(counts.sum(axis=1), (counts * ~correct).sum(axis=1))

    coverage = (ends + 1) / len(order)
    risk = wrong.cumsum()[ends] / (ends + 1)
    areas = [bootstrap_statistic(s, len(order), seed=seed, kind="percentile") for s in (area, excess)]
    return Selective(areas[0], areas[1], coverage, risk)


def accuracy_at(confidence: NDArray[Any], correct: NDArray[np.bool_], *, coverage: float) -> NDArray[np.bool_]:
    """The verdicts on the most confident images, at least ``coverage`` of all (ties are accepted together).

    Args:
        confidence: (N,), finite.
        correct: bool (N,).
        coverage: in (0,1].

    Returns:
        bool (A,), for a Wilson interval; the order on ``confidence`` is taken as given.

    Raises:
        ShapeError, UserError: as ``selective``, or coverage out of range.
    """
    if not 0 < coverage <= 1:
        raise UserError(f"coverage = {coverage} is not in (0, 1]")
    order, ends = _sorted(confidence, correct)
    wanted = int(np.ceil(coverage * len(order) - 1e-9))
    accepted: NDArray[np.bool_] = correct[order[: ends[np.searchsorted(ends + 1, wanted)] + 1]]
    return accepted


def _sorted(confidence: NDArray[Any], correct: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Most confident first, and the last place of every group of equal confidences."""
    if confidence.ndim != 1 or confidence.shape != correct.shape or correct.dtype != np.bool_ or not len(correct):
        raise ShapeError(
            f"confidence {confidence.shape}, correct {correct.dtype} {correct.shape}: need (N,), bool (N,)"
        )
    if not np.isfinite(confidence).all():
        raise UserError("confidences hold NaN or infinity")
    order = np.argsort(-confidence, kind="stable").astype(np.int64)
    last = np.append(np.diff(confidence[order]) != 0, True)
    return order, np.flatnonzero(last).astype(np.int64)


def _least(n: NDArray[np.float64], errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area of the best order with so many errors among n: the risk is (k - right) / k for the k-th of them."""
    most = int(n.max())
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, most + 1))])
    right = (n - errors).astype(np.int64)
    least: NDArray[np.float64] = (errors - right * (harmonic[n.astype(np.int64)] - harmonic[right])) / n
    return least
