"""Square attack, l-infinity: random search with forward passes only, so it runs on the deployed engine itself.

Source: Andriushchenko et al., "Square Attack", arXiv 1912.00049. Convention: vertical stripes to begin with, margin
loss, square area by the paper's schedule rescaled to the budget, first area 0.8 of the image (AutoAttack's choice). A
proposal sets the square, per channel, to image + eps or image - eps; it is kept if the margin falls. NumPy only.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from edgexai.attack.ball import check_attack_input, clip_to_ball
from edgexai.attack.judge import margins
from edgexai.attack.stream import image_streams
from edgexai.errors import UserError
from edgexai.types import Images, Labels, Predict

FIRST_AREA = 0.8
_HALVE_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Of 10,000 iterations: the square's area halves after each of these."""


@dataclass(frozen=True)
class SquareResult:
    """What the attack found.

    Attributes:
        images: float32 (N,3,H,W): for fooled images the first one that fools; else the one of the smallest margin.
        queries: int64 (N,): perturbed images sent to ``predict``; 0 where the clean image was already wrong.
        fooled: bool (N,): the predicted class of ``images`` is not the label.
    """

    images: Images
    queries: NDArray[np.int64]
    fooled: NDArray[np.bool_]

    def standing_after(self, n_queries: int) -> NDArray[np.bool_]:
        """bool (N,): still classified correctly after at most ``n_queries`` queries of this run."""
        return ~(self.fooled & (self.queries <= n_queries))


def square_side(iteration: int, *, n_iterations: int, height: int, width: int) -> int:
    """Side in pixels of the square tried at ``iteration`` (0-based), at least 1 and inside the image."""
    position = iteration * 10_000 // n_iterations
    area = FIRST_AREA / 2 ** sum(position > after for after in _HALVE_AFTER)
    return min(max(round(sqrt(area * height * width)), 1), height, width)


def square(
    predict: Predict,
    images: Images,
    labels: Labels,
    *,
    eps: float,
    n_queries: int,
    seed: int,
    batch_size: int = 256,
) -> SquareResult:
    """Attacks a black box. Images that fall are not queried again.

    Args:
        predict: images -> logits; its result is never written to.
        images: float32 (N,3,H,W) in [0,1]; not modified.
        labels: int64 (N,), the true classes.
        eps: radius in pixels of [0,1].
        n_queries: budget per image, at least 1. One more pass per image, not counted, finds those already wrong.
        seed: keyed with each image's bytes, so batching does not change the draws.
        batch_size: images per call of ``predict``, at most.

    Returns:
        A ``SquareResult``.

    Raises:
        ShapeError: shapes are off, or ``predict`` does not return (N,K) with every label below K.
        UserError: ``eps``, ``n_queries`` or pixel range are off, or logits are not finite.
    """
    check_attack_input(images, labels, eps=eps)
    if n_queries < 1 or batch_size < 1:
        raise UserError(f"n_queries = {n_queries}, batch_size = {batch_size}: both are at least 1")
    count, channels, height, width = images.shape
    radius = np.float32(eps)
    queries = np.zeros(count, dtype=np.int64)
    best = np.array(images, dtype=np.float32)
    best_margin, fooled = margins(predict, images, labels, batch_size=batch_size)

    active = np.flatnonzero(~fooled)
    streams = image_streams(images[active], seed=seed, purpose="square")
    signs_of = np.zeros((count, n_queries - 1, channels), dtype=np.int8)
    place_of = np.zeros((count, n_queries - 1, 2), dtype=np.float32)
    stripes = np.zeros((len(active), channels, 1, width), dtype=np.float32)
    for row, (index, stream) in enumerate(zip(active, streams, strict=True)):
        stripes[row, :, 0] = stream.integers(0, 2, size=(channels, width)) * 2 - 1
        signs_of[index] = stream.integers(0, 2, size=(n_queries - 1, channels), dtype=np.int8) * 2 - 1
        place_of[index] = stream.random(size=(n_queries - 1, 2), dtype=np.float32)

    proposal = clip_to_ball(images[active] + radius * stripes, images[active], eps=eps)
    # The clean margin is no rival of the stripes: the search starts from them whatever they score, as in the paper.
    best_margin[active] = np.inf
    for iteration in range(n_queries):
        if iteration:
            side = square_side(iteration - 1, n_iterations=max(n_queries - 1, 1), height=height, width=width)
            draw = place_of[active, iteration - 1]
            top = _start(draw[:, 0], height - side + 1)
            left = _start(draw[:, 1], width - side + 1)
            rows, columns = np.arange(height), np.arange(width)
            in_rows = (rows >= top[:, None]) & (rows < top[:, None] + side)
            in_columns = (columns >= left[:, None]) & (columns < left[:, None] + side)
            inside = in_rows[:, None, :, None] & in_columns[:, None, None, :]
            shift = radius * signs_of[active, iteration - 1].astype(np.float32)
            centre = images[active]
            moved = clip_to_ball(centre + shift[:, :, None, None], centre, eps=eps)
            proposal = np.where(inside, moved, best[active])
        margin, wrong = margins(predict, proposal, labels[active], batch_size=batch_size)
        queries[active] += 1
        better = (margin < best_margin[active]) | wrong
        kept = active[better]
        best[kept], best_margin[kept] = proposal[better], margin[better]
        fooled[active[wrong]] = True
        active = active[~wrong]
        if not len(active):
            break
    return SquareResult(images=best, queries=queries, fooled=fooled)


def _start(draw: NDArray[np.float32], places: int) -> NDArray[np.int64]:
    # float32 draws just below 1 may round up to ``places``.
    return np.minimum((draw * places).astype(np.int64), places - 1)
