"""What LIME returns: coefficients, maps, fit, and how far explanations by several seeds agree. NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from edgexai.types import Maps


@dataclass(frozen=True)
class LimeStability:
    """How far explanations of one image by several seeds agree.

    Attributes:
        jaccard: float64 (N,), mean over pairs of seeds of the overlap of the top-k segments by |coefficient|.
        sign_agreement: float64 (N,), mean over pairs of seeds of the share of segments with the same sign.
        std: float64 (N,S), standard deviation (n - 1) of each coefficient over the seeds.
        kendall_tau: float64 (N,), mean over pairs of seeds of Kendall's tau-b of the coefficients; NaN where all tie.
        r2: float64 (N,), mean over seeds of the surrogate's fit.
        top_k: segments that counted as the explanation; one less than an image has, where it has no more.
        n_seeds: explanations compared.
    """

    jaccard: NDArray[np.float64]
    sign_agreement: NDArray[np.float64]
    std: NDArray[np.float64]
    kendall_tau: NDArray[np.float64]
    r2: NDArray[np.float64]
    top_k: int
    n_seeds: int


@dataclass(frozen=True)
class LimeResult:
    """Explanations of N images.

    Attributes:
        coefficients: float64 (N,S), score per segment shown; NaN beyond an image's own segments.
        maps: float32 (N,H,W), each pixel its segment's coefficient.
        r2: float64 (N,), weighted fit of the surrogate; NaN where the score never changes.
        n_segments: int64 (N,), each image's own S.
        n_samples: int64 (N,), masks behind each image's coefficients.
        stability: over seeds, where it was asked for.
        forwards: perturbed images the network saw, in all.
    """

    coefficients: NDArray[np.float64]
    maps: Maps
    r2: NDArray[np.float64]
    n_segments: NDArray[np.int64]
    n_samples: NDArray[np.int64]
    stability: LimeStability | None = None
    forwards: int = 0


def compare_runs(coefficients: NDArray[np.float64], r2: NDArray[np.float64], *, top_k: int) -> LimeStability:
    """Agreement of several explanations of the same images.

    Args:
        coefficients: (R,N,S), R >= 2; NaN beyond an image's own segments.
        r2: (R,N).
        top_k: segments that count as the explanation.

    Returns:
        The ``LimeStability``.
    """
    size = np.nan_to_num(np.abs(coefficients), nan=-1.0)
    own = ~np.isnan(coefficients[0])
    rank = np.argsort(np.argsort(-size, axis=-1, kind="stable"), axis=-1, kind="stable")
    top = rank < np.minimum(top_k, own.sum(axis=1) - 1)[:, None]
    sign = np.sign(coefficients)
    jaccard, agreement, tau = [], [], []
    for a, b in combinations(range(len(coefficients)), 2):
        jaccard.append((top[a] & top[b]).sum(axis=1) / (top[a] | top[b]).sum(axis=1))
        agreement.append(((sign[a] == sign[b]) & own).sum(axis=1) / own.sum(axis=1))
        tau.append([kendall_tau(x[o], y[o]) for x, y, o in zip(coefficients[a], coefficients[b], own, strict=True)])
    return LimeStability(
        np.mean(jaccard, axis=0),
        np.mean(agreement, axis=0),
        coefficients.std(axis=0, ddof=1),
        np.mean(tau, axis=0),
        r2.mean(axis=0),
        top_k,
        len(coefficients),
    )


def kendall_tau(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Kendall's tau-b of two vectors (S,): 1 same order, -1 opposite, NaN where one is constant."""
    upper = np.triu_indices(len(a), k=1)
    x, y = np.sign(a[:, None] - a)[upper], np.sign(b[:, None] - b)[upper]
    untied = float(np.sqrt((x != 0).sum() * float((y != 0).sum())))
    return float((x * y).sum() / untied) if untied else float("nan")
