"""Shows a network many images with segments hidden, and keeps one score of each.

Convention: a hidden segment's pixels take the fill, a shown segment's are the image's own, bit for bit. That choice
between two float32 values is made on their bits, hidden ^ ((hidden ^ image) & mask), whose two passes the compiler
turns into vector instructions: about a microsecond for a 32x32 image, against a hundred or more for the network.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgexai.explain.fill import Fill, hidden_images
from edgexai.explain.score import Score, target_scores
from edgexai.types import Images, Labels, Predict, Segments

_BLOCK_BYTES = 1 << 18  # built at a time, so that the second pass finds the first one's result in the cache


def masked_scores(
    predict: Predict,
    images: Images,
    targets: Labels,
    *,
    segments: Segments,
    masks: NDArray[np.bool_],
    fill: Fill,
    score: Score,
    batch_size: int,
) -> NDArray[np.float64]:
    """The target's score of every image under every mask.

    The batch handed to ``predict`` is one buffer that the next batch overwrites.

    Args:
        predict: images -> logits.
        images: float32 (N,3,H,W), C-contiguous; not modified.
        targets: (N,).
        segments: int32 (H,W), shared by all images.
        masks: bool (M,S), True = shown, shared by all images.
        fill: see ``Fill``.
        score: see ``Score``.
        batch_size: perturbed images per pass, at most.

    Returns:
        float64 (M,N).

    Raises:
        ShapeError: logits of the wrong shape.
        UserError: a target that is no class, or logits that are not finite.
    """
    n, channels = images.shape[:2]
    pixels = segments.size
    chunk = min(len(masks), batch_size)
    group = min(n, max(1, batch_size // chunk))
    hidden = hidden_images(images, segments, fill).view(np.uint32).reshape(n, 1, channels, pixels)
    change = images.view(np.uint32).reshape(n, 1, channels, pixels) ^ hidden
    # All bits set where a segment is shown.
    shown = np.where(masks, np.uint32(0xFFFFFFFF), np.uint32(0))
    flat = segments.ravel().astype(np.intp)
    pixel_masks = np.empty((chunk, pixels), dtype=np.uint32)
    buffer = np.empty(group * chunk * channels * pixels, dtype=np.uint32)
    block = max(1, _BLOCK_BYTES // (4 * channels * pixels))
    scores = np.empty((len(masks), n), dtype=np.float64)
    for row in range(0, len(masks), chunk):
        rows = min(chunk, len(masks) - row)
        # mode="clip" lets NumPy write into out directly; the indices are valid by construction.
        np.take(shown[row : row + rows], flat, axis=1, out=pixel_masks[:rows], mode="clip")
        for first in range(0, n, group):
            part = slice(first, min(first + group, n))
            n_images = part.stop - first
            batch = buffer[: n_images * rows * channels * pixels].reshape(n_images, rows, channels, pixels)
            for i in range(n_images):
                for top in range(0, rows, block):
                    out = batch[i, top : top + block]
                    np.bitwise_and(change[first + i], pixel_masks[top : min(top + block, rows), None], out=out)
                    np.bitwise_xor(out, hidden[first + i], out=out)
            logits = predict(batch.view(np.float32).reshape(n_images * rows, *images.shape[1:]))
            targets_of = np.repeat(targets[part], rows)
            scores[row : row + rows, part] = target_scores(logits, targets_of, score).reshape(n_images, rows).T
    return scores
