"""LIME's stages as pictures: its superpixels, some of the perturbed images, the surrogate it ends with.

As the pipelines of LIME tutorials show them: boundaries on the image; segments hidden with the fill; the largest
coefficients, orange for and blue against the class, the other segments darkened.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError

_LINE = np.array([255, 225, 0], dtype=np.uint8)
_FOR, _AGAINST = np.array([255.0, 140.0, 0.0]), np.array([40.0, 120.0, 255.0])


def superpixels(image: NDArray[np.uint8], segments: NDArray[np.int32], *, side: int = 448) -> NDArray[np.uint8]:
    """The image with the segments' boundaries, enlarged to about ``side`` pixels.

    Args:
        image: uint8 (H,W,3).
        segments: int32 (H,W).
        side: of the picture's longer side.

    Returns:
        uint8 (kH,kW,3), k a whole number.

    Raises:
        ShapeError: sizes differ.
    """
    if image.shape[:2] != segments.shape:
        raise ShapeError(f"image {image.shape}, segments {segments.shape}; wanted one height and width")
    times = max(1, round(side / max(segments.shape)))
    shown: NDArray[np.uint8] = image.repeat(times, axis=0).repeat(times, axis=1).copy()
    large = segments.repeat(times, axis=0).repeat(times, axis=1)
    edge = np.zeros(large.shape, dtype=np.bool_)
    edge[1:] |= large[1:] != large[:-1]
    edge[:, 1:] |= large[:, 1:] != large[:, :-1]
    shown[edge] = _LINE
    return shown


def perturbations(
    image: NDArray[np.uint8],
    hidden: NDArray[np.uint8],
    segments: NDArray[np.int32],
    masks: NDArray[np.bool_],
    *,
    columns: int = 4,
    tile: int = 160,
) -> NDArray[np.uint8]:
    """The image under each mask, in rows.

    Args:
        image, hidden: uint8 (H,W,3), all shown and all hidden.
        segments: int32 (H,W).
        masks: bool (M,S), True = shown.
        columns: pictures in a row.
        tile: about how many pixels a picture is wide.

    Returns:
        uint8 (height,width,3).
    """
    times = max(1, round(tile / max(segments.shape)))
    rows = -(-len(masks) // columns)
    height, width = (s * times + 4 for s in segments.shape)
    sheet = np.full((rows * height, columns * width, 3), 255, dtype=np.uint8)
    for k, mask in enumerate(masks):
        shown = np.where(mask[segments][..., None], image, hidden)
        top, left = k // columns * height, k % columns * width
        sheet[top : top + height - 4, left : left + width - 4] = shown.repeat(times, axis=0).repeat(times, axis=1)
    return sheet


def surrogate(
    image: NDArray[np.uint8],
    segments: NDArray[np.int32],
    coefficients: NDArray[np.float64],
    *,
    shown: int,
    side: int = 448,
) -> NDArray[np.uint8]:
    """The ``shown`` largest coefficients on the image; the other segments darkened, boundaries drawn.

    Args:
        image: uint8 (H,W,3).
        segments: int32 (H,W).
        coefficients: float64 (S,); NaN counts as absent.
        shown: how many.
        side: of the picture's longer side.

    Returns:
        uint8 (kH,kW,3), k a whole number.
    """
    own = np.nan_to_num(coefficients[: int(segments.max()) + 1])
    top = np.argsort(-np.abs(own), kind="stable")[:shown]
    kept = np.zeros(len(own), dtype=np.bool_)
    kept[top] = own[top] != 0
    strength = 0.2 + 0.5 * np.abs(own) / max(float(np.abs(own).max()), 1e-30)
    colour = np.where((own >= 0)[:, None], _FOR, _AGAINST)[segments]
    share = np.where(kept, strength, 0.0)[segments][..., None]
    dark = np.where(kept[segments][..., None], 1.0, 0.35)
    mixed = image * dark * (1 - share) + colour * share
    return superpixels(
        np.rint(mixed).astype(np.uint8), np.where(kept[segments], segments, -1).astype(np.int32), side=side
    )
