"""Pictures of explanations: one overlay, and a sheet of images by methods. Arrays in, arrays out.

Colours as in the report: orange speaks for the class, blue against it, each map scaled by its own 99th percentile, so
colours compare places within one map only. On a sheet a large map is shown in cells; its own picture has every pixel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from edgexai.errors import ShapeError
from edgexai.report.pictures import in_cells, overlay

_INK, _PAPER, _WARN, _GAP = (30, 30, 30), (255, 255, 255), (190, 30, 30), 6
_CELLS = 64


def enlarged(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """(H,W,3) at a whole multiple of its size, so that the longer side is about ``side``; never smaller."""
    times = max(1, round(side / max(pixels.shape[:2])))
    return pixels.repeat(times, axis=0).repeat(times, axis=1)


def contact_sheet(
    images: NDArray[np.uint8],
    captions: Sequence[str],
    maps: Mapping[str, NDArray[np.float32]],
    *,
    notes: Mapping[str, str] | None = None,
    tile: int = 160,
) -> NDArray[np.uint8]:
    """One row an image: the image itself, then its map by every method.

    Args:
        images: uint8 (N,H,W,3).
        captions: N, written under the images.
        maps: heading -> (N,H,W).
        notes: heading -> a second line in red, e.g. "fails sanity".
        tile: longer side of a picture, pixels.

    Returns:
        uint8 (height,width,3).

    Raises:
        ShapeError: numbers do not match.
    """
    if len(captions) != len(images) or any(len(m) != len(images) for m in maps.values()):
        raise ShapeError(f"{len(images)} images, {len(captions)} captions, maps {[len(m) for m in maps.values()]}")
    height, width = images.shape[1:3]
    scale = tile / max(height, width)
    box = (max(1, round(width * scale)), max(1, round(height * scale)))
    font = ImageFont.load_default(size=12)
    head, foot = 34, 34
    columns = ["image", *maps]
    sheet = Image.new(
        "RGB",
        (_GAP + len(columns) * (max(box[0], 96) + _GAP), head + len(images) * (box[1] + foot + _GAP)),
        _PAPER,
    )
    draw = ImageDraw.Draw(sheet)
    for c, name in enumerate(columns):
        left = _GAP + c * (max(box[0], 96) + _GAP)
        draw.text((left, 2), _fitted(draw, name, max(box[0], 96), font), _INK, font=font)
        if notes and name in notes:
            draw.text((left, 17), _fitted(draw, notes[name], max(box[0], 96), font), _WARN, font=font)
        for r, image in enumerate(images):
            top = head + r * (box[1] + foot + _GAP)
            shown = image if c == 0 else overlay(image, in_cells(maps[name][r], _CELLS))
            way = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
            sheet.paste(Image.fromarray(shown).resize(box, way), (left, top))
            if c == 0:
                for k, line in enumerate(captions[r].split("\n")[:2]):
                    draw.text((left, top + box[1] + 1 + 15 * k), line, _INK, font=font)
    return np.asarray(sheet)


def _fitted(
    draw: ImageDraw.ImageDraw, text: str, width: int, font: ImageFont.ImageFont | ImageFont.FreeTypeFont
) -> str:
    if draw.textlength(text, font=font) <= width:
        return text
    while len(text) > 1 and draw.textlength(text + "…", font=font) > width:
        text = text[:-1]
    return text + "…"
