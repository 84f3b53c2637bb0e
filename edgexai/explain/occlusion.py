"""Occlusion: how much the score falls when a square of the image is hidden.

Source: Zeiler & Fergus, ECCV 2014 (arXiv 1311.2901); windows and averaging as Captum's ``Occlusion``: the first window
at the upper left corner, the last ones cut off by the edge, each pixel the mean over the windows that hide it.
Convention: *signed*, score of the image minus score with the window hidden, all channels hidden together. Runs on NumPy
alone.
"""

from __future__ import annotations

import numpy as np

from edgexai.errors import UserError
from edgexai.explain.fill import Fill, hidden_images
from edgexai.explain.map_result import MapResult
from edgexai.explain.score import Score, check_predict_inputs, target_scores
from edgexai.types import Images, Labels, Predict


def occlusion(
    predict: Predict,
    images: Images,
    targets: Labels,
    *,
    seed: int = 0,
    window: int | None = None,
    stride: int | None = None,
    fill: Fill = "black",
    score: Score = "probability",
    batch_size: int = 64,
) -> MapResult:
    """Explains one class of each image.

    Args:
        predict: images -> logits. Its input is a buffer that the next batch overwrites: it must not keep it.
        images: float32 (N,3,H,W) in [0,1], N >= 1; not modified.
        targets: int64 (N,): the class to explain.
        seed: unused: nothing is drawn.
        window: side of the hidden square, pixels; a quarter of the shorter side when None.
        stride: pixels between windows, at most ``window``; half the window when None.
        fill: what stands in the window; "segment_mean" has no meaning here.
        score: "probability" or "logit".
        batch_size: images per call of ``predict``, at most.

    Returns:
        The ``MapResult``, without an error: nothing is drawn.

    Raises:
        ShapeError: wrong shapes or types.
        UserError: an option out of range, or a target that is no class.
    """
    images, targets = check_predict_inputs(images, targets, score=score, batch_size=batch_size)
    n, _, height, width = images.shape
    window = max(1, min(height, width) // 4) if window is None else window
    stride = max(1, window // 2) if stride is None else stride
    if not 1 <= stride <= window <= min(height, width):
        raise UserError(
            f"window = {window}, stride = {stride} on {height}x{width} pixels; wanted 1 <= stride <= window <= "
            f"{min(height, width)}"
        )
    if isinstance(fill, str) and fill == "segment_mean":
        raise UserError('fill = "segment_mean": occlusion has no segments; take "black", "mean", "p20" or "blur"')
    hidden = hidden_images(images, np.zeros((height, width), dtype=np.int32), fill)
    tops, lefts = (range(0, -(-(side - window) // stride) * stride + 1, stride) for side in (height, width))
    boxes = [(slice(top, top + window), slice(left, left + window)) for top in tops for left in lefts]
    # the plain image is one more "window" that hides nothing
    jobs = [(i, box) for i in range(n) for box in (None, *range(len(boxes)))]
    scores = np.empty(len(jobs))
    buffer = np.empty((min(batch_size, len(jobs)), *images.shape[1:]), dtype=np.float32)
    for start in range(0, len(jobs), batch_size):
        some = jobs[start : start + batch_size]
        batch = buffer[: len(some)]
        for k, (i, box) in enumerate(some):
            batch[k] = images[i]
            if box is not None:
                rows, columns = boxes[box]
                batch[k, :, rows, columns] = hidden[i, :, rows, columns]
        classes = targets[[i for i, _ in some]]
        scores[start : start + batch_size] = target_scores(predict(batch), classes, score)
    table = scores.reshape(n, 1 + len(boxes))
    falls = table[:, :1] - table[:, 1:]
    total, cover = np.zeros((n, height, width)), np.zeros((height, width))
    for fall, (rows, columns) in zip(falls.T, boxes, strict=True):
        total[:, rows, columns] += fall[:, None, None]
        cover[rows, columns] += 1
    return MapResult((total / cover).astype(np.float32), np.full(n, np.nan), "", len(jobs))
