"""Decodes many image files into one uint8 array, in threads.

The whole image is resized to a square with Pillow's BILINEAR, which averages over the source pixels when shrinking
(antialiased); colours become RGB. Only raster formats are tried: no format that would run another program.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from edgexai.data.faults import Faults
from edgexai.data.gtsrb_source import READ_ERRORS, Member
from edgexai.types import Progress

_FORMATS = ("PPM", "PNG", "WEBP", "JPEG", "BMP", "TIFF", "GIF", "TGA", "JPEG2000", "AVIF", "QOI")
_CHUNK = 64
_MAX_PIXELS = 64_000_000
_DECODE_ERRORS = (*READ_ERRORS, SyntaxError, struct.error)


def decode(
    members: Sequence[Member],
    *,
    sizes: Sequence[tuple[int, int]] | None = None,
    size: int,
    faults: Faults,
    progress: Progress | None = None,
    crops: Sequence[tuple[int, int, int, int]] | None = None,
) -> NDArray[np.uint8]:
    """Reads, checks, crops where asked, converts and resizes every member.

    Args:
        members: N files.
        sizes: N (width, height) that the ground truth states, pixels; checked before any pixel is decoded, so that
            a decompression bomb costs nothing. None: any size up to 64 megapixels.
        size: side of the result, pixels.
        faults: gets unreadable and mislabelled images, in the order of ``members``.
        progress: told how many are done.
        crops: N boxes x1, y1, x2, y2 to keep, half-open, pixels of the original; None keeps all.

    Returns:
        uint8 (N,size,size,3), C-contiguous; zeros where an image had a fault.
    """
    images = np.zeros((len(members), size, size, 3), dtype=np.uint8)

    def chunk(start: int) -> list[tuple[str, str]]:
        found = []
        for k in range(start, min(start + _CHUNK, len(members))):
            expected, crop = sizes[k] if sizes else None, crops[k] if crops else None
            result = _decode_one(members[k], expected=expected, size=size, crop=crop)
            if isinstance(result, str):
                found.append((members[k].where, result))
            else:
                images[k] = result
        return found

    # Finding the codecs is not safe from several threads at once, decoding is.
    Image.init()
    pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1))
    try:
        starts = range(0, len(members), _CHUNK)
        for start, found in zip(starts, pool.map(chunk, starts), strict=True):
            for where, problem in found:
                faults.add(where, problem)
            if progress is not None:
                done = min(start + _CHUNK, len(members))
                progress({"what": "decode", "done": done, "total": len(members)})
    finally:
        pool.shutdown(cancel_futures=True)
    return images


def _decode_one(
    member: Member, *, expected: tuple[int, int] | None, size: int, crop: tuple[int, int, int, int] | None
) -> NDArray[np.uint8] | str:
    """uint8 (size,size,3), or what is wrong with the image."""
    try:
        data = member.read()
        if not data:
            return "empty file"
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if expected is not None and image.size != expected:
                return f"image of {image.width} x {image.height}, its CSV row says {expected[0]} x {expected[1]}"
            if image.width * image.height > _MAX_PIXELS:
                return f"image too large: {image.width} x {image.height} pixels"
            if crop is not None and (crop[2] > image.width or crop[3] > image.height):
                return f"image of {image.width} x {image.height}, its box {crop} reaches outside"
            image.load()
            whole = image.convert("RGB")
            part = whole if crop is None else whole.crop(crop)
            small = part.resize((size, size), Image.Resampling.BILINEAR)
    except UnidentifiedImageError:
        return f"not an image (starts with {data[:8]!r})"
    except Image.DecompressionBombError:
        return "image too large: its header names more pixels than any sign has"
    except _DECODE_ERRORS as error:
        return f"truncated or corrupt image: {error}"
    return np.asarray(small)
