"""What stands where a segment is hidden.

Sources: segment mean, the ``lime`` package; 20th percentile, the TML LIME assignment (there ambiguous; here per channel
and per image, in raw pixels, which keeps the hue); blur, Fong & Vedaldi, ICCV 2017; a fixed colour such as the data
set's mean, RISE and ROAD practice. Runs on NumPy alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import UserError
from edgexai.types import Images, Segments

Fill: TypeAlias = Literal["segment_mean", "mean", "black", "p20", "blur"] | Sequence[float] | NDArray[np.floating]
"""The segment's mean (as the ``lime`` package), the image's mean, 0, the image's 20th percentile per channel, the image
blurred (Gaussian, standard deviation an eighth of the longer side), or one (r, g, b), e.g. the data set's mean."""

_BLUR_SHARE = 1 / 8


def hidden_images(images: Images, segments: Segments, fill: Fill) -> Images:
    """Each image with every segment hidden.

    Args:
        images: float32 (N,3,H,W).
        segments: int32 (H,W), shared; only "segment_mean" looks at it.
        fill: see ``Fill``.

    Returns:
        float32 (N,3,H,W), fresh.

    Raises:
        UserError: unknown fill.
    """
    if not isinstance(fill, str):
        colour = np.asarray(fill, dtype=np.float32)
        if colour.shape != images.shape[1:2]:
            raise _unknown_fill(fill)
        return np.ascontiguousarray(np.broadcast_to(colour[None, :, None, None], images.shape))
    if fill == "black":
        return np.zeros(images.shape, dtype=np.float32)
    if fill == "mean":
        colours = images.mean(axis=(2, 3), keepdims=True, dtype=np.float64)
        return np.broadcast_to(colours, images.shape).astype(np.float32)
    if fill == "p20":
        colours = np.percentile(images, 20, axis=(2, 3), keepdims=True)
        return np.broadcast_to(colours, images.shape).astype(np.float32)
    if fill == "blur":
        return blurred(images, sigma=_BLUR_SHARE * max(images.shape[2:]))
    if fill != "segment_mean":
        raise _unknown_fill(fill)
    flat, n_segments = segments.ravel().astype(np.intp), int(segments.max()) + 1
    planes = images.reshape(-1, flat.size)
    sums = np.stack([np.bincount(flat, weights=plane, minlength=n_segments) for plane in planes])
    means = (sums / np.bincount(flat, minlength=n_segments)).astype(np.float32)
    return means[:, flat].reshape(images.shape)


def blurred(images: Images, *, sigma: float) -> Images:
    """Gaussian blur, edges reflected.

    Args:
        images: float32 (N,3,H,W); not modified.
        sigma: standard deviation in pixels, > 0.

    Returns:
        float32 (N,3,H,W), fresh.

    Raises:
        UserError: ``sigma`` is not positive.
    """
    if not sigma > 0:
        raise UserError(f"sigma = {sigma} pixels; must be above 0")
    height, width = images.shape[2:]
    out = _band(height, sigma) @ images @ _band(width, sigma).T
    return np.ascontiguousarray(out, dtype=np.float32)


def _band(side: int, sigma: float) -> NDArray[np.float32]:
    """(side,side): row y holds the weights of the pixels that make the blurred pixel y."""
    reach = int(np.ceil(4 * sigma))
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    weights /= weights.sum()
    # reflected as often as the reach asks: d c b a | a b c d | d c b a
    source = (np.arange(side)[:, None] + offsets) % (2 * side)
    source = np.where(source < side, source, 2 * side - 1 - source)
    band = np.zeros((side, side))
    np.add.at(band, (np.arange(side)[:, None], source), weights)
    return band.astype(np.float32)


def _unknown_fill(fill: object) -> UserError:
    return UserError(
        f'fill = {fill!r}; allowed: "segment_mean", "mean", "black", "p20", "blur", or one colour (r, g, b) in [0,1]'
    )
