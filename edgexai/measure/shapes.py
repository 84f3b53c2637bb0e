"""What every metric refuses: arrays of the wrong shape or type, and maps with holes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError, UserError
from edgexai.types import Images, Labels, Maps


def check_maps(maps: Maps, *, name: str = "maps") -> NDArray[np.float64]:
    """``maps`` as float64 (N, H*W), a fresh array.

    Raises:
        ShapeError: not (N,H,W).
        UserError: NaN or infinite values.
    """
    if maps.ndim != 3 or 0 in maps.shape[1:]:
        raise ShapeError(f"{name} have shape {maps.shape}; attribution maps are (N,H,W), channels summed")
    flat = np.array(maps, dtype=np.float64).reshape(len(maps), -1)
    if not np.isfinite(flat).all():
        bad = int(np.flatnonzero(~np.isfinite(flat).all(axis=1))[0])
        raise UserError(
            f"{name}: map {bad} holds NaN or infinity",
            next_step="look at the explainer that made it; nothing is masked",
        )
    return flat


def check_relevance(relevance: NDArray[np.bool_], maps: Maps) -> NDArray[np.bool_]:
    """``relevance`` as bool (N, H*W).

    Raises:
        ShapeError: not boolean, or not of the maps' shape.
    """
    if relevance.dtype != np.bool_ or relevance.shape != maps.shape:
        raise ShapeError(f"relevance is {relevance.dtype} {relevance.shape}; the maps need bool {maps.shape}")
    return relevance.reshape(len(relevance), -1)


def check_images(images: Images, labels: Labels, maps: Maps | None) -> None:
    """Images, labels and maps belong together.

    Raises:
        ShapeError: images are not (N,3,H,W), labels not (N,), or maps not (N,H,W).
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ShapeError(f"images have shape {images.shape}; they are (N,3,H,W)")
    count, _, height, width = images.shape
    if labels.shape != (count,):
        raise ShapeError(f"labels have shape {labels.shape}; {count} images need ({count},)")
    if maps is not None and maps.shape != (count, height, width):
        raise ShapeError(f"maps have shape {maps.shape}; these images need {(count, height, width)}")


def check_same_shape(a: NDArray[Any], b: NDArray[Any], *, ndim: int, name: str) -> None:
    """Two arrays to compare have one shape of ``ndim`` axes.

    Raises:
        ShapeError: otherwise.
    """
    if a.shape != b.shape or a.ndim != ndim:
        raise ShapeError(f"{name}: shapes {a.shape} and {b.shape}; both must be one shape of {ndim} axes")
