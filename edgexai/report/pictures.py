"""Signs and maps as small PNG data URIs, with boxes and flagged cells drawn over them as SVG.

A map is shown on the darkened grey sign: orange speaks for the class, blue against it, each map scaled by its own
99th percentile of absolute value, so colours compare places within one map, never strength between two.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgexai.errors import ShapeError
from edgexai.report.folder import RunFolder

_FOR, _AGAINST = np.array([255.0, 140.0, 0.0]), np.array([40.0, 120.0, 255.0])
_LARGEST_SIDE = 96


@dataclass(frozen=True)
class Tile:
    """One small picture; ``box`` and ``cells`` are x, y, width, height in per cent of its side."""

    uri: str
    alt: str
    box: tuple[float, ...] = ()
    cells: Sequence[tuple[float, ...]] = ()


def png_uri(pixels: NDArray[np.uint8]) -> str:
    """``data:image/png;base64,...`` of (H,W,3); sides above 96 pixels are shrunk to 96."""
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    if max(picture.size) > _LARGEST_SIDE:
        picture.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE), Image.Resampling.BOX)
    return _uri(picture)


def overlay(image: NDArray[np.uint8], attribution: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(H,W,3) uint8 sign and (h,w) map, no larger than it -> (H,W,3) uint8."""
    height, width = image.shape[:2]
    rows, columns = (np.arange(s) * attribution.shape[k] // s for k, s in enumerate((height, width)))
    values = np.nan_to_num(attribution.astype(np.float64))[np.ix_(rows, columns)]
    top = float(np.percentile(np.abs(values), 99)) or float(np.abs(values).max()) or 1.0
    strength = np.clip(np.abs(values) / top, 0, 1)[..., None]
    grey = image.astype(np.float64).mean(axis=2, keepdims=True) * 0.45 + 12
    colour = np.where(values[..., None] >= 0, _FOR, _AGAINST)
    shown: NDArray[np.uint8] = np.rint(grey * (1 - strength) + colour * strength).astype(np.uint8)
    return shown


def in_cells(attribution: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """A map for a small picture: cells of pixels, at most ``most`` along the longer side.

    A cell has the mean of its pixels' absolute values and the sign of their sum. Gradients change their sign from pixel
    to pixel, so a picture that is only shrunk shows specks, or grey.

    Args:
        attribution: (h,w).
        most: cells along the longer side.

    Returns:
        (ceil(h/k),ceil(w/k)) with k pixels to a cell; the map itself where it has no more than ``most``.
    """
    side = -(-max(attribution.shape) // most)
    if side == 1:
        return attribution
    starts = [np.arange(0, length, side) for length in attribution.shape]

    def summed(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.add.reduceat(np.add.reduceat(values, starts[0], axis=0), starts[1], axis=1)

    known = np.nan_to_num(attribution)
    sums, strength, pixels = (summed(v) for v in (known, np.abs(known), np.ones_like(known)))
    return (np.where(sums < 0, -strength, strength) / pixels).astype(np.float32)


def box_in_per_cent(box: NDArray[np.float32] | None, height: int, width: int) -> tuple[float, ...]:
    """x1,y1,x2,y2 in pixels -> x, y, width, height in per cent of the sides; () where there is no box."""
    if box is None or np.isnan(box).any():
        return ()
    x1, y1, x2, y2 = (float(v) for v in box)
    return (100 * x1 / width, 100 * y1 / height, 100 * (x2 - x1) / width, 100 * (y2 - y1) / height)


def strip_uri(tiles: Sequence[NDArray[np.uint8] | None]) -> str:
    """One PNG of square tiles (H,W,3) side by side; None leaves a transparent place.

    128 colours: a map is grey, orange and blue, and a page of a thousand signs stays small.

    Raises:
        ShapeError: no tile at all, or tiles of two sizes.
    """
    sizes = {tile.shape for tile in tiles if tile is not None}
    if len(sizes) != 1:
        raise ShapeError(f"a strip takes tiles of one size, not {sorted(sizes)}")
    height, width, _ = sizes.pop()
    pixels = np.zeros((height, width * len(tiles), 4), np.uint8)
    for k, tile in enumerate(tiles):
        if tile is not None:
            pixels[:, k * width : (k + 1) * width, :3], pixels[:, k * width : (k + 1) * width, 3] = tile, 255
    picture = Image.fromarray(pixels)
    if height > _LARGEST_SIDE:
        size = (_LARGEST_SIDE * width // height * len(tiles), _LARGEST_SIDE)
        picture = picture.resize(size, Image.Resampling.BOX)
    return _uri(picture.quantize(128, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE))


def _uri(picture: Image.Image) -> str:
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode("ascii")


def flagged_cells(flags: NDArray[np.bool_]) -> list[tuple[float, ...]]:
    """(g,g) -> rectangles in per cent."""
    rows, columns = flags.shape
    return [(100 * x / columns, 100 * y / rows, 100 / columns, 100 / rows) for y, x in np.argwhere(flags)]


def refinement_strips(run: RunFolder, arm: str, *, most: int = 8) -> list[tuple[str, list[Tile]]]:
    """(caption, a tile a round) for the first signs of refine_<arm>.npz: importance, flagged cells outlined."""
    arrays = run.refinements[arm]
    if not {"images", "flagged"} <= set(arrays):
        return []
    images, flagged, importance = arrays["images"], arrays["flagged"], arrays.get("importance")
    strips = []
    for i in range(min(most, len(images), flagged.shape[1])):
        caption = run.class_name(int(arrays["labels"][i])) if "labels" in arrays else f"image {i + 1}"
        tiles = [Tile(png_uri(images[i]), caption)]
        for r in range(len(flagged)):
            shown = images[i] if importance is None else overlay(images[i], importance[r, i])
            count = int(flagged[r, i].sum())
            alt = f"round {r + 1}: {count} of {flagged[r, i].size} cells flagged"
            tiles.append(Tile(png_uri(shown), alt, cells=flagged_cells(flagged[r, i])))
        strips.append((caption, tiles))
    return strips


def frequency_tiles(run: RunFolder, arm: str, *, most: int = 12) -> list[tuple[str, list[Tile]]]:
    """(class name, a tile a round) of the classes with the largest flag frequency; black 0, orange 1."""
    frequency = run.refinements[arm].get("class_frequency")
    if frequency is None or frequency.ndim != 4:
        return []
    peak = np.nan_to_num(frequency).max(axis=(0, 2, 3))
    chosen = [int(c) for c in np.argsort(-peak, kind="stable")[:most] if peak[c] > 0]
    strips = []
    for c in chosen:
        tiles = []
        for r in range(len(frequency)):
            share = np.clip(np.nan_to_num(frequency[r, c]), 0, 1)[..., None]
            pixels = np.rint(20 * (1 - share) + _FOR * share).astype(np.uint8)
            tiles.append(Tile(png_uri(pixels), f"round {r + 1}: highest share {float(share.max()):.2f}"))
        strips.append((run.class_name(c), tiles))
    return strips
