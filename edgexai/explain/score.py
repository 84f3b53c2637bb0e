"""The one number that a black-box explainer keeps of a network's answer, and what it asks of its input.

Convention: the score is the target's softmax probability (as the ``lime`` package, RISE and ``shap`` are used) or its
logit. Runs on NumPy alone.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError, UserError
from edgexai.types import Images, Labels

Score: TypeAlias = Literal["probability", "logit"]
"""What is explained: the target's softmax probability (as the ``lime`` package does) or its logit."""


def target_scores(logits: NDArray[np.float32], targets: Labels, score: Score) -> NDArray[np.float64]:
    """The target's score of every row.

    Args:
        logits: (N,K).
        targets: int64 (N,).
        score: see ``Score``.

    Returns:
        float64 (N,).

    Raises:
        ShapeError: logits of the wrong shape.
        UserError: a target that is no class, or logits that are not finite.
    """
    if logits.ndim != 2 or len(logits) != len(targets):
        raise ShapeError(f"predict returned {logits.shape} for {len(targets)} images; wanted logits (N,K)")
    if targets.min() < 0 or targets.max() >= logits.shape[1]:
        wrong = targets.min() if targets.min() < 0 else targets.max()
        raise UserError(f"target class {wrong} does not exist: the network has classes 0 to {logits.shape[1] - 1}")
    if not np.isfinite(logits).all():
        raise UserError("predict returned logits that are not finite", next_step="check the engine on the plain images")
    wide = logits.astype(np.float64)
    chosen = wide[np.arange(len(targets)), targets]
    if score == "logit":
        return chosen
    top = wide.max(axis=1)
    probability: NDArray[np.float64] = np.exp(chosen - top) / np.exp(wide - top[:, None]).sum(axis=1)
    return probability


def check_predict_inputs(images: Images, targets: Labels, *, score: str, batch_size: int) -> tuple[Images, Labels]:
    """What every black-box explainer asks of its input.

    Args:
        images: float32 (N,3,H,W) in [0,1], N >= 1.
        targets: int64 (N,).
        score: "probability" or "logit".
        batch_size: images per call of ``predict``, >= 1.

    Returns:
        The images, C-contiguous, and the targets.

    Raises:
        ShapeError: wrong shapes or types.
        UserError: unknown score, or ``batch_size`` < 1.
    """
    if images.ndim != 4 or images.shape[1] != 3 or len(images) == 0 or images.dtype != np.float32:
        raise ShapeError(f"images: {images.dtype} {images.shape}; wanted float32 (N,3,H,W) with N >= 1")
    if targets.shape != (len(images),) or not np.issubdtype(targets.dtype, np.integer):
        raise ShapeError(f"targets: {targets.dtype} {targets.shape}; wanted int64 ({len(images)},)")
    if score not in ("probability", "logit"):
        raise UserError(f'score = {score!r}; allowed: "probability", "logit"')
    if batch_size < 1:
        raise UserError(f"batch_size = {batch_size}; must be at least 1")
    return np.ascontiguousarray(images), targets
