"""Which images a predictor gets right, and its logits, in batches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError, UserError
from edgexai.types import Images, Labels, Logits, Predict


def logits_of(predict: Predict, images: Images, *, batch_size: int = 256) -> Logits:
    """Logits of many images.

    Args:
        predict: images -> logits.
        images: float32 (N,3,H,W), N >= 1.
        batch_size: images per call, at most.

    Returns:
        float32 (N,K).

    Raises:
        ShapeError: no images, or ``predict`` does not return (n,K).
        UserError: logits are not finite.
    """
    if not len(images):
        raise ShapeError("no images to measure on")
    parts = [np.asarray(predict(images[k : k + batch_size])) for k in range(0, len(images), batch_size)]
    for index, part in enumerate(parts):
        expected = min(batch_size, len(images) - index * batch_size)
        if part.ndim != 2 or len(part) != expected:
            raise ShapeError(
                f"predict returned shape {part.shape} for {expected} images; it must return ({expected},K)"
            )
    logits: Logits = np.concatenate(parts).astype(np.float32, copy=False)
    if not np.isfinite(logits).all():
        bad = int(np.flatnonzero(~np.isfinite(logits).all(axis=1))[0])
        raise UserError(f"logits of image {bad} are not finite", next_step="check the engine's precision")
    return logits


def is_correct(predict: Predict, images: Images, labels: Labels, *, batch_size: int = 256) -> NDArray[np.bool_]:
    """bool (N,): the largest logit is the label's (the first of tied ones counts).

    Raises:
        ShapeError, UserError: as ``logits_of``; also when labels are not (N,) or not classes of the predictor.
    """
    if labels.shape != (len(images),):
        raise ShapeError(f"labels have shape {labels.shape}; {len(images)} images need ({len(images)},)")
    logits = logits_of(predict, images, batch_size=batch_size)
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ShapeError(
            f"labels run from {labels.min()} to {labels.max()}, the predictor has {logits.shape[1]} classes"
        )
    correct: NDArray[np.bool_] = logits.argmax(axis=1) == labels
    return correct
