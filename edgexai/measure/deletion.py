"""Insertion and deletion curves: softmax probability while pixels leave, or enter, in the map's order.

Source: Petsiuk et al., RISE, BMVC 2018. Conventions: class = argmax on the original image unless given; curve of S+1
points, trapezoid area in [0,1]; ties broken at random, keyed by seed and image. Both curves follow a model's confidence
(r = 0.88 over models in arXiv 2205.13042): never rank models by them alone, or use ``normalised``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError, UserError
from edgexai.measure.accuracy import logits_of
from edgexai.measure.faithfulness import removal_rank
from edgexai.measure.shapes import check_images
from edgexai.types import Images, Labels, Maps, Predict

_KERNEL, _SIGMA = 11, 5.0
"""RISE's blur, in pixels of the image it is applied to."""


@dataclass(frozen=True)
class DeletionInsertion:
    """Curves of N images over S steps.

    Attributes:
        deletion: float64 (N,S+1), from the original image to the substrate; lower area = more faithful.
        insertion: float64 (N,S+1), from the substrate to the original image; higher area = more faithful.
        targets: int64 (N,), the class followed.
    """

    deletion: NDArray[np.float64]
    insertion: NDArray[np.float64]
    targets: Labels

    def normalised(self) -> DeletionInsertion:
        """Both curves divided by the probability of the original image, so that they no longer follow confidence."""
        confidence = self.deletion[:, :1]
        return DeletionInsertion(self.deletion / confidence, self.insertion / confidence, self.targets)


def area(curves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Trapezoid area of (N,S+1) curves over [0,1]: (sum - first/2 - last/2) / S, per image (N,)."""
    if curves.ndim != 2 or curves.shape[1] < 2:
        raise ShapeError(f"curves have shape {curves.shape}; they are (N,S+1) with S >= 1")
    total: NDArray[np.float64] = curves.sum(axis=1) - (curves[:, 0] + curves[:, -1]) / 2
    areas: NDArray[np.float64] = total / (curves.shape[1] - 1)
    return areas


def aopc(curves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area over a perturbation curve: mean over steps 0 to S of (first value - value), per image.

    Args:
        curves: (N,S+1), as ``DeletionInsertion.deletion``: what stays of the class while pixels leave.

    Returns:
        (N,); higher = the pixels that left first mattered more. Step 0 counts as 0, so the divisor is S + 1.

    Raises:
        ShapeError: not (N,S+1) with S >= 1.

    Source: Samek et al., IEEE TNNLS 2017, eq. 12 (pixels in place of its regions).
    """
    if curves.ndim != 2 or curves.shape[1] < 2:
        raise ShapeError(f"curves have shape {curves.shape}; they are (N,S+1) with S >= 1")
    over: NDArray[np.float64] = (curves[:, :1] - curves).mean(axis=1)
    return over


def substrate_images(images: Images, substrate: Literal["zero", "blur"], *, zero: tuple[float, float, float]) -> Images:
    """What stands for "no information".

    Args:
        images: float32 (N,3,H,W).
        substrate: "zero" = a constant colour; "blur" = RISE's Gaussian, 11 x 11 pixels, sigma 5, edges repeated.
        zero: that colour in pixels of [0,1].

    Returns:
        float32 (N,3,H,W).

    Raises:
        UserError: unknown substrate.
    """
    if substrate == "zero":
        constant: Images = np.broadcast_to(np.array(zero, dtype=np.float32)[:, None, None], images.shape).copy()
        return constant
    if substrate != "blur":
        raise UserError(f'substrate "{substrate}" is unknown; allowed: zero, blur')
    reach = _KERNEL // 2
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * _SIGMA**2))
    weights = (weights / weights.sum()).astype(np.float32)
    height, width = images.shape[2:]
    padded = np.pad(images, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="edge")
    rows = sum(weight * padded[:, :, k : k + height] for k, weight in enumerate(weights))
    blurred = sum(weight * rows[:, :, :, k : k + width] for k, weight in enumerate(weights))
    return np.asarray(blurred, dtype=np.float32)


def deletion_insertion(
    predict: Predict,
    images: Images,
    targets: Labels | None,
    maps: Maps,
    *,
    substrate: Literal["zero", "blur"],
    steps: int,
    seed: int,
    zero: tuple[float, float, float] = (0.5, 0.5, 0.5),
    batch_size: int = 256,
) -> DeletionInsertion:
    """Both curves of every image; 2 S N forward passes.

    Args:
        predict: images -> logits.
        images: float32 (N,3,H,W) in [0,1]; not modified.
        targets: int64 (N,), or None = argmax on the original image (the source's code).
        maps: (N,H,W), signed; highest first; not modified.
        substrate: see ``substrate_images``.
        steps: S, from 1 to H*W.
        seed: of the tie-breaks.
        zero: constant colour of the "zero" substrate; the source's zero in normalised space is the data set's mean.
        batch_size: images per call of ``predict``, at most.

    Returns:
        A ``DeletionInsertion``.

    Raises:
        ShapeError, UserError: inputs do not fit together, or are out of range.
    """
    logits = logits_of(predict, images, batch_size=batch_size)
    chosen = logits.argmax(axis=1) if targets is None else targets
    check_images(images, chosen, maps)
    if chosen.min() < 0 or chosen.max() >= logits.shape[1]:
        raise ShapeError(f"targets run from {chosen.min()} to {chosen.max()}; there are {logits.shape[1]} classes")
    pixels = maps.shape[1] * maps.shape[2]
    if not 1 <= steps <= pixels:
        raise UserError(f"steps = {steps}: from 1 to {pixels} for these images")
    rank = removal_rank(images, maps, order="morf", seed=seed)[:, None]
    blank = substrate_images(images, substrate, zero=zero)
    deletion, insertion = np.empty((len(images), steps + 1)), np.empty((len(images), steps + 1))
    original = probability(logits, chosen)
    nothing = probability(logits_of(predict, blank, batch_size=batch_size), chosen)
    deletion[:, 0], deletion[:, -1], insertion[:, 0], insertion[:, -1] = original, nothing, nothing, original
    for step in range(1, steps):
        gone = rank < round(step * pixels / steps)
        for curve, with_map, without in ((deletion, blank, images), (insertion, images, blank)):
            mixed = np.where(gone, with_map, without)
            curve[:, step] = probability(logits_of(predict, mixed, batch_size=batch_size), chosen)
    return DeletionInsertion(deletion, insertion, chosen)


def probability(logits: NDArray[np.float32], targets: Labels) -> NDArray[np.float64]:
    """Softmax probability of one class per image.

    Args:
        logits: (N,K); not modified.
        targets: int64 (N,).

    Returns:
        (N,) in [0,1].
    """
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    power = np.exp(shifted)
    share: NDArray[np.float64] = power[np.arange(len(targets)), targets] / power.sum(axis=1)
    return share
