"""One picture from disk, in any format Pillow reads, as a network's input."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from edgexai.errors import UserError

Fit = Literal["crop", "squash"]
"""``crop``: the middle of the picture, in the input's proportions. ``squash``: all of it, proportions changed."""


def read_picture(path: Path, size: tuple[int, int], *, fit: Fit = "crop") -> NDArray[np.float32]:
    """Reads, turns as the camera was held, and resizes (bilinear, averaging when it shrinks).

    Args:
        path: of the picture; 16-bit grey is scaled, transparency lies on white.
        size: (height, width) wanted, pixels.
        fit: see ``Fit``.

    Returns:
        float32 (3,H,W) in [0,1].

    Raises:
        UserError: no file, or not a picture that can be read whole.
    """
    if path.is_dir():
        raise UserError(f"{path}: is a folder", next_step=f"give its pictures: {path}/*.png")
    if not path.is_file():
        raise UserError(f"{path}: no such picture")
    try:
        with Image.open(path) as opened:
            picture = _as_rgb(ImageOps.exif_transpose(opened))
    except UnidentifiedImageError as error:
        raise UserError(f"{path}: not a picture in a known format") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: cannot be read whole: {error}") from error
    height, width = size
    if fit == "crop":
        resized = ImageOps.fit(picture, (width, height), method=Image.Resampling.BILINEAR)
    else:
        resized = picture.resize((width, height), Image.Resampling.BILINEAR)
    planes = np.asarray(resized, dtype=np.float32).transpose(2, 0, 1) / np.float32(255)
    return np.ascontiguousarray(planes)


def _as_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.asarray(picture, dtype=np.float64)
        top = 65535.0 if picture.mode.startswith("I") else max(float(values.max()), 1e-12)
        picture = Image.fromarray(np.rint(np.clip(values / top, 0, 1) * 255).astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        clear = picture.convert("RGBA")
        ground = Image.new("RGBA", clear.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, clear).convert("RGB")
    return picture.convert("RGB")
