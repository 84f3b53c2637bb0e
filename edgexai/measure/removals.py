"""Random sets of pixels, and what removing each does to one logit: the raw material of infidelity and sensitivity-n.

The forward passes depend on the images alone, so they are made once for all maps of an image. Convention: the logit of
the explained class, not its probability, which saturates; removed pixels take the colours of a substrate image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgexai.attack.stream import image_streams
from edgexai.errors import ShapeError, UserError
from edgexai.measure.accuracy import logits_of
from edgexai.measure.shapes import check_images, check_maps
from edgexai.types import Images, Labels, Maps, Predict

Sets = NDArray[np.bool_]
"""(P,N,H,W): P sets of pixels for each image, True = removed."""


def random_pixels(images: Images, *, sets: int, removed: float, seed: int) -> Sets:
    """Scattered sets, all of one size: as sensitivity-n wants them.

    Args:
        images: float32 (N,3,H,W); with the seed the key of the draws.
        sets: P, at least 1.
        removed: fraction of pixels in (0,1), rounded to whole pixels, at least one.
        seed: of the draws.

    Returns:
        bool (P,N,H,W).

    Raises:
        ShapeError, UserError: images misshapen; counts out of range.
    """
    height, width = _sized(images, sets)
    pixels = height * width
    if not 0 < removed < 1:
        raise UserError(f"removed = {removed} is not in (0, 1)")
    size = max(1, round(removed * pixels))
    found = np.zeros((sets, len(images), pixels), np.bool_)
    for index, stream in enumerate(image_streams(images, seed=seed, purpose=f"removed pixels {size}")):
        chosen = np.argpartition(stream.random((sets, pixels), dtype=np.float32), size - 1, axis=1)[:, :size]
        np.put_along_axis(found[:, index], chosen, True, axis=1)
    return found.reshape(sets, len(images), height, width)


def random_squares(images: Images, *, sets: int, sides: Sequence[int], seed: int) -> Sets:
    """One square per set, its side drawn from ``sides`` and its place uniform inside the image.

    Args:
        images: float32 (N,3,H,W); with the seed the key of the draws.
        sets: P, at least 1.
        sides: in pixels, each from 1 to the smaller side of the image.
        seed: of the draws.

    Returns:
        bool (P,N,H,W).

    Raises:
        ShapeError, UserError: images misshapen; counts or sides out of range.
    """
    height, width = _sized(images, sets)
    if not sides or min(sides) < 1 or max(sides) > min(height, width):
        raise UserError(f"sides {tuple(sides)}: name some from 1 to {min(height, width)} pixels")
    found = np.empty((sets, len(images), height, width), np.bool_)
    y, x = np.arange(height), np.arange(width)
    for index, stream in enumerate(image_streams(images, seed=seed, purpose="removed squares")):
        side = np.asarray(sides)[stream.integers(0, len(sides), sets)]
        top, left = (stream.integers(0, length - side + 1) for length in (height, width))
        rows = (y >= top[:, None]) & (y < (top + side)[:, None])
        columns = (x >= left[:, None]) & (x < (left + side)[:, None])
        found[:, index] = rows[:, :, None] & columns[:, None, :]
    return found


def removal_effects(
    predict: Predict,
    images: Images,
    targets: Labels,
    sets: Sets,
    *,
    substrate: Images,
    batch_size: int = 256,
) -> NDArray[np.float64]:
    """How much the target's logit falls when each set is removed; (P + 1) N forward passes.

    Args:
        predict: images -> logits.
        images: float32 (N,3,H,W) in [0,1]; not modified.
        targets: int64 (N,), the classes explained.
        sets: bool (P,N,H,W).
        substrate: float32 (N,3,H,W), what removed pixels show (``deletion.substrate_images``).
        batch_size: images per call, at most.

    Returns:
        float64 (P,N): logit of the image minus logit without the set.

    Raises:
        ShapeError, UserError: inputs do not fit together.
    """
    check_images(images, targets, None)
    if substrate.shape != images.shape:
        raise ShapeError(f"substrate {substrate.shape} is not of the images' shape {images.shape}")
    if sets.dtype != np.bool_ or sets.ndim != 4 or sets.shape[1:] != (len(images), *images.shape[2:]):
        raise ShapeError(f"sets are {sets.dtype} {sets.shape}; these images need bool (P,N,H,W)")
    whole = logits_of(predict, images, batch_size=batch_size)
    if targets.min() < 0 or targets.max() >= whole.shape[1]:
        raise ShapeError(f"targets run from {targets.min()} to {targets.max()}; there are {whole.shape[1]} classes")
    count, chosen = len(sets), np.arange(len(images))
    found = np.empty((count, len(images)))
    # Few images would leave the batches half empty: several sets of them then share one call.
    together = max(1, batch_size // len(images))
    for first in range(0, count, together):
        part = sets[first : first + together, :, None]
        mixed = np.where(part, substrate, images).reshape(-1, *images.shape[1:])
        logits = logits_of(predict, mixed, batch_size=batch_size).reshape(part.shape[0], len(images), -1)
        found[first : first + together] = logits[:, chosen, targets]
    effects: NDArray[np.float64] = whole[chosen, targets].astype(np.float64) - found
    return effects


def attributed(maps: Maps, sets: Sets) -> NDArray[np.float64]:
    """What a map says of every set: the sum of its values there.

    Args:
        maps: (N,H,W), signed; not modified.
        sets: bool (P,N,H,W).

    Returns:
        float64 (P,N).

    Raises:
        ShapeError, UserError: shapes do not fit, or maps are not finite.
    """
    values = check_maps(maps)
    if sets.dtype != np.bool_ or sets.ndim != 4 or sets.shape[1:] != maps.shape:
        raise ShapeError(f"sets are {sets.dtype} {sets.shape}; these maps need bool (P, {maps.shape})")
    flat = sets.reshape(len(sets), len(maps), -1)
    sums: NDArray[np.float64] = np.stack([flat[:, k] @ values[k] for k in range(len(maps))], axis=1)
    return sums


def _sized(images: Images, sets: int) -> tuple[int, int]:
    if images.ndim != 4 or not len(images):
        raise ShapeError(f"images have shape {images.shape}; they are (N,3,H,W), N >= 1")
    if sets < 1:
        raise UserError(f"sets = {sets}: at least 1")
    return images.shape[2], images.shape[3]
