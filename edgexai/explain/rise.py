"""RISE: the mean score under random smooth masks, weighted by what each mask shows.

Source: Petsiuk et al., BMVC 2018 (arXiv 1806.07421): a grid of cells, each on with probability p, enlarged bilinearly
beyond the image and cropped at a random offset; map = sum of score x mask / (n p). Differs: the edges of the enlarged
grid are clamped; what is hidden may be another fill than black; the seed fixes everything; the standard error is told.
Convention: values >= 0 for probabilities, with a common offset (the mean score): only differences within a map mean
something. Runs on NumPy alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import UserError
from edgexai.explain.fill import Fill, hidden_images
from edgexai.explain.map_result import MapResult
from edgexai.explain.score import Score, check_predict_inputs, target_scores
from edgexai.types import Images, Labels, Predict


def rise(
    predict: Predict,
    images: Images,
    targets: Labels,
    *,
    seed: int,
    n_masks: int = 2000,
    cells: int = 7,
    p: float = 0.5,
    fill: Fill = "black",
    score: Score = "probability",
    batch_size: int = 64,
) -> MapResult:
    """Explains one class of each image; all images see the same masks, so none depends on the others.

    Args:
        predict: images -> logits. Its input is a buffer that the next batch overwrites: it must not keep it.
        images: float32 (N,3,H,W) in [0,1], N >= 1; not modified.
        targets: int64 (N,): the class to explain.
        seed: of the masks.
        n_masks: per image (the source: 4,000 to 8,000).
        cells: of the small grid, per side.
        p: probability that a cell is shown, in (0,1).
        fill: what stands where the mask hides; "segment_mean" has no meaning here.
        score: "probability" or "logit".
        batch_size: masked images per call of ``predict``, at most.

    Returns:
        The ``MapResult``; its error is the mean over pixels of the map's standard error.

    Raises:
        ShapeError: wrong shapes or types.
        UserError: an option out of range, or a target that is no class.
    """
    images, targets = check_predict_inputs(images, targets, score=score, batch_size=batch_size)
    if n_masks < 2 or cells < 1 or not 0 < p < 1:
        raise UserError(f"n_masks = {n_masks}, cells = {cells}, p = {p}; at least 2, at least 1, between 0 and 1")
    if isinstance(fill, str) and fill == "segment_mean":
        raise UserError('fill = "segment_mean": RISE has no segments; take "black", "mean", "p20", "blur" or a colour')
    n, channels, height, width = images.shape
    drawn, shifts, sides = _draw(n_masks, cells, (height, width), seed=seed, p=p)
    hidden = hidden_images(images, np.zeros((height, width), dtype=np.int32), fill)
    change = images - hidden
    black = not hidden.any()
    total, squares = np.zeros((n, height * width)), np.zeros((n, height * width))
    buffer = np.empty((min(batch_size, n_masks), channels, height, width), dtype=np.float32)
    for start in range(0, n_masks, batch_size):
        part = slice(start, start + batch_size)
        masks = _enlarged(drawn[part], shifts[part], sides)
        flat = masks.reshape(len(masks), -1)
        batch = buffer[: len(masks)]
        scores = np.empty((n, len(masks)))
        for i in range(n):
            np.multiply(change[i], masks[:, None], out=batch)
            if not black:
                batch += hidden[i]
            scores[i] = target_scores(predict(batch), np.full(len(masks), targets[i]), score)
        total += scores.astype(np.float32) @ flat
        squares += (scores**2).astype(np.float32) @ flat**2
    mean = total / n_masks
    variance = np.maximum(squares / n_masks - mean**2, 0) / (n_masks - 1)
    maps = (mean / p).astype(np.float32).reshape(n, height, width)
    return MapResult(maps, np.sqrt(variance).mean(axis=1) / p, "standard_error", n * n_masks)


def rise_masks(n_masks: int, cells: int, size: tuple[int, int], *, seed: int, p: float = 0.5) -> NDArray[np.float32]:
    """The masks that ``rise`` shows with this seed.

    Returns:
        float32 (n_masks,H,W) in [0,1]; 1 = shown.
    """
    return _enlarged(*_draw(n_masks, cells, size, seed=seed, p=p))


def _draw(
    n_masks: int, cells: int, size: tuple[int, int], *, seed: int, p: float
) -> tuple[NDArray[np.float32], NDArray[np.int64], tuple[NDArray[np.float32], ...]]:
    """Small grids (M,s,s), offsets (M,2), and per axis the interpolation of every offset (c,side,s)."""
    generator = np.random.default_rng(seed)
    drawn = (generator.random((n_masks, cells, cells)) < p).astype(np.float32)
    steps = [-(-side // cells) for side in size]
    shifts = np.stack([generator.integers(0, step, n_masks) for step in steps], axis=1)
    return drawn, shifts, tuple(_interpolation(cells, step, side) for step, side in zip(steps, size, strict=True))


def _interpolation(cells: int, step: int, side: int) -> NDArray[np.float32]:
    """(step,side,cells): bilinear weights of ``cells`` values on (cells + 1) * step pixels, cropped at every offset."""
    long = (cells + 1) * step
    place = np.clip((np.arange(long) + 0.5) * cells / long - 0.5, 0, cells - 1)
    left = np.minimum(place.astype(np.int64), cells - 1)
    weights = np.zeros((long, cells))
    weights[np.arange(long), left] = 1 - (place - left)
    np.add.at(weights, (np.arange(long), np.minimum(left + 1, cells - 1)), place - left)
    return np.stack([weights[shift : shift + side] for shift in range(step)]).astype(np.float32)


def _enlarged(
    drawn: NDArray[np.float32], shifts: NDArray[np.int64], sides: tuple[NDArray[np.float32], ...]
) -> NDArray[np.float32]:
    rows, columns = sides
    masks: NDArray[np.float32] = rows[shifts[:, 0]] @ drawn @ columns[shifts[:, 1]].transpose(0, 2, 1)
    return masks
