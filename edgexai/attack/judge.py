"""How a black box decides: margins and verdicts of many images, in batches. NumPy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError, UserError
from edgexai.types import Images, Labels, Predict


def margins(
    predict: Predict, images: Images, labels: Labels, *, batch_size: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Logit of the label minus the largest other logit, and whether the predicted class is wrong.

    Args:
        predict: images -> logits; its result is never written to.
        images: float32 (N,3,H,W).
        labels: int64 (N,).
        batch_size: images per call of ``predict``, at most.

    Returns:
        float64 (N,) and bool (N,).

    Raises:
        ShapeError: ``predict`` does not return (N,K) with every label below K.
        UserError: logits are not finite.
    """
    found, wrong = np.empty(len(images)), np.empty(len(images), dtype=np.bool_)
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        label, logits = labels[part], np.asarray(predict(images[part]))
        if logits.ndim != 2 or len(logits) != len(label) or label.min() < 0 or label.max() >= logits.shape[1]:
            raise ShapeError(
                f"predict returned shape {logits.shape} for {len(label)} images with labels up to {label.max()}; "
                "it must return (N,K), labels 0..K-1"
            )
        if not np.isfinite(logits).all():
            raise UserError("predict returned logits that are not finite", next_step="check the engine's precision")
        index = np.arange(len(label))
        others = logits.astype(np.float64)
        found[part] = others[index, label]
        others[index, label] = -np.inf
        found[part] -= others.max(axis=1)
        wrong[part] = logits.argmax(axis=1) != label
    return found, wrong
