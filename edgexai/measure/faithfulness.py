"""ROAD: is a predictor lost sooner when the pixels a map points at are removed than when random ones are?

Removed pixels are imputed (noisy linear imputation), the accuracy over the levels is the curve. Source: Rong et al.,
ICML 2022. Conventions: the ranking is by signed value; ties are broken at random (LIME maps are piecewise constant);
imputed pixels get N(0, noise_std^2) and are clipped to [0,1]; tie-breaks, random order and noise are keyed by seed and
image, so all explainers and artefacts meet the same draws. Compare models by ``road_gap`` only, on images that all of
them get right: a model that tolerates imputation keeps its accuracy whatever the map says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgexai.attack.stream import image_streams
from edgexai.errors import ShapeError, UserError
from edgexai.measure.accuracy import is_correct
from edgexai.measure.impute import linear_impute
from edgexai.measure.shapes import check_images, check_maps
from edgexai.types import Images, Labels, Maps, Predict

Order = Literal["morf", "lerf", "random"]
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class RoadCurve:
    """Right or wrong at every level of removal.

    Attributes:
        order: "morf" (most relevant first), "lerf" (least), or "random".
        levels: float64 (L,), fraction of pixels removed.
        correct: bool (L,N).
    """

    order: Order
    levels: NDArray[np.float64]
    correct: NDArray[np.bool_]

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """(L,) fraction of images."""
        accuracy: NDArray[np.float64] = self.correct.mean(axis=1)
        return accuracy


def removal_rank(images: Images, maps: Maps | None, *, order: Order, seed: int) -> NDArray[np.int64]:
    """Position of every pixel in the removal order: 0 goes first.

    Args:
        images: float32 (N,3,H,W); key of the random draws.
        maps: (N,H,W), signed; ignored (may be None) for "random".
        order: see ``RoadCurve``.
        seed: of tie-breaks and of the random order.

    Returns:
        int64 (N,H,W), a permutation of 0..H*W-1 per image.

    Raises:
        ShapeError, UserError: maps missing, misshapen or not finite; unknown order.
    """
    if order not in ("morf", "lerf", "random"):
        raise UserError(f'order "{order}" is unknown; allowed: morf, lerf, random')
    if images.ndim != 4 or (maps is None and order != "random"):
        raise ShapeError(f"order {order} needs images (N,3,H,W), not {images.shape}, and maps (N,H,W)")
    count, _, height, width = images.shape
    pixels = height * width
    if maps is None or order == "random":
        draws = image_streams(images, seed=seed, purpose="road random order")
        keys = np.array([stream.random(pixels) for stream in draws]).reshape(count, pixels)
        sequence = np.argsort(keys, axis=1, kind="stable")
    else:
        ties = image_streams(images, seed=seed, purpose="road ties")
        keys = np.array([stream.random(pixels) for stream in ties]).reshape(count, pixels)
        values = check_maps(maps)
        sequence = np.lexsort((keys, -values if order == "morf" else values), axis=1)
    rank = np.empty((count, pixels), dtype=np.int64)
    np.put_along_axis(rank, sequence, np.broadcast_to(np.arange(pixels), rank.shape), axis=1)
    return rank.reshape(count, height, width)


def remove(images: Images, rank: NDArray[np.int64], *, level: float, noise_std: float, seed: int) -> Images:
    """The images with the first ``level`` of the ranked pixels imputed.

    Args:
        images: float32 (N,3,H,W) in [0,1]; not modified.
        rank: int64 (N,H,W), see ``removal_rank``.
        level: fraction of pixels in [0,1), rounded to whole pixels; 0 removes nothing.
        noise_std: of the Gaussian noise on imputed pixels, in pixels of [0,1].
        seed: of that noise.

    Returns:
        float32 (N,3,H,W) in [0,1].

    Raises:
        UserError: nothing would be left at this level.
    """
    gone = rank < round(level * rank[0].size)
    filled = linear_impute(images, gone)
    if noise_std == 0:
        return np.clip(filled, 0, 1)
    noise = np.empty_like(filled)
    for index, stream in enumerate(image_streams(images, seed=seed, purpose="road noise")):
        noise[index] = stream.standard_normal(images.shape[1:], dtype=np.float32)
    noisy = np.clip(filled + np.float32(noise_std) * noise, 0, 1)
    return np.where(gone[:, None], noisy, filled).astype(np.float32, copy=False)


def road(
    predict: Predict,
    images: Images,
    labels: Labels,
    maps: Maps | None,
    *,
    order: Order,
    levels: Sequence[float] = LEVELS,
    noise_std: float = 0.01,
    seed: int,
    batch_size: int = 256,
) -> RoadCurve:
    """The curve of one map in one order. ``order="random"`` needs no map: compute it once for all explainers.

    Args:
        predict: images -> logits.
        images: float32 (N,3,H,W) in [0,1], N >= 1, as a rule those the predictor gets right; not modified.
        labels: int64 (N,).
        maps: (N,H,W), or None for "random"; not modified.
        order: "morf", "lerf" or "random".
        levels: fractions of pixels in [0,1), rising.
        noise_std: of imputed pixels, in pixels of [0,1].
        seed: of tie-breaks, random order and noise.
        batch_size: images per call of ``predict``, at most.

    Returns:
        A ``RoadCurve``.

    Raises:
        ShapeError, UserError: inputs do not fit together; levels out of range or not rising.
    """
    check_images(images, labels, maps)
    grid = np.asarray(levels, dtype=np.float64)
    if grid.ndim != 1 or not len(grid) or not (grid[0] >= 0 and grid[-1] < 1 and (np.diff(grid) > 0).all()):
        raise UserError(f"levels {tuple(levels)} must rise within [0, 1)")
    if not noise_std >= 0 or not len(images):
        raise UserError(f"noise_std = {noise_std}, {len(images)} images: at least 0 and 1")
    rank = removal_rank(images, maps, order=order, seed=seed)
    correct = np.empty((len(grid), len(images)), dtype=np.bool_)
    # Level by level: nine copies of the images at once would gain no speed, the batches are full anyway.
    for row, level in enumerate(grid):
        changed = remove(images, rank, level=float(level), noise_std=noise_std, seed=seed)
        correct[row] = is_correct(predict, changed, labels, batch_size=batch_size)
    return RoadCurve(order=order, levels=grid, correct=correct)


def road_curves(
    predict: Predict,
    images: Images,
    labels: Labels,
    maps: Mapping[str, Maps],
    *,
    orders: Sequence[Order] = ("morf", "lerf"),
    levels: Sequence[float] = LEVELS,
    noise_std: float = 0.01,
    seed: int,
    batch_size: int = 256,
) -> dict[tuple[str, Order], RoadCurve]:
    """Curves of several explainers, and the random order once.

    Args:
        maps: explainer -> (N,H,W).
        orders: computed for every explainer; the rest as in ``road``.

    Returns:
        (explainer, order) -> curve, and ("", "random") -> the shared random curve.

    Raises:
        ShapeError, UserError: as ``road``.
    """
    wanted: list[tuple[str, Order]] = [("", "random")]
    wanted += [(name, order) for name in maps for order in orders if order != "random"]
    return {
        (name, order): road(
            predict,
            images,
            labels,
            maps.get(name),
            order=order,
            levels=levels,
            noise_std=noise_std,
            seed=seed,
            batch_size=batch_size,
        )
        for name, order in wanted
    }


def road_gap(random: RoadCurve, curve: RoadCurve) -> NDArray[np.float64]:
    """Per image: mean over levels of right-after-random-removal minus right-after-this-removal.

    Its mean over images is the gap between the curves; ``rows.mean_row`` gives it a bootstrap interval over images.
    Positive for "morf" = faithful; about 0 for a random map. Level 0, where nothing is removed, is left out.

    Args:
        random: of the same predictor, images, levels, noise and seed.
        curve: the explainer's.

    Returns:
        (N,) in [-1,1].

    Raises:
        ShapeError: the curves are not of the same images and levels.
    """
    if random.correct.shape != curve.correct.shape or not np.array_equal(random.levels, curve.levels):
        raise ShapeError("the two curves are not of the same images and levels")
    removed = curve.levels > 0
    if not removed.any():
        raise ShapeError("the curves remove nothing: give a level above 0")
    difference = random.correct[removed].astype(np.float64) - curve.correct[removed]
    gap: NDArray[np.float64] = difference.mean(axis=0)
    return gap
