"""Cuts images into the segments that LIME switches on and off.

A fixed grid is the default choice: the same index means the same place in every image, so coefficients can be
compared, averaged and flagged across images, and one set of masks serves them all. Superpixels follow edges and are
for pictures. Few segments explain nothing (the common quickshift defaults give a single one on 32x32): fewer than
``min_segments`` are refused.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from edgexai.errors import MissingCapability, ShapeError, UserError
from edgexai.types import Images, Segments


def grid(size: int, cells: int, *, min_segments: int = 8) -> Segments:
    """``cells`` x ``cells`` rectangles, row by row; sides differ by at most one pixel where they do not divide.

    Args:
        size: side of the square image, pixels.
        cells: per side.
        min_segments: refuse fewer.

    Returns:
        int32 (size,size), 0..cells**2-1.

    Raises:
        UserError: fewer than ``min_segments`` cells in all, or cells smaller than a pixel.
    """
    if not 1 <= cells <= size:
        raise UserError(f"{cells} cells per side do not fit {size} pixels; allowed: 1 to {size}")
    _refuse_few(cells * cells, min_segments, "the grid")
    index = np.arange(size) * cells // size
    return (index[:, None] * cells + index[None, :]).astype(np.int32)


def slic(
    images: Images, n_segments: int, *, compactness: float = 10.0, sigma: float = 0.0, min_segments: int = 8
) -> Segments:
    """SLIC superpixels of each image (scikit-image; Achanta et al., 2012), numbered without gaps.

    Args:
        images: float32 (N,3,H,W) in [0,1].
        n_segments: asked for; SLIC gives about as many, and each image has its own number.
        compactness: weight of distance against colour (CIELAB).
        sigma: Gaussian blur before, pixels; 0 = none, right for small images.
        min_segments: refuse an image that gets fewer.

    Returns:
        int32 (N,H,W); image i holds 0..S_i-1.

    Raises:
        MissingCapability: scikit-image is not installed.
        ShapeError: images are not (N,3,H,W).
        UserError: an image got fewer than ``min_segments``.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ShapeError(f"images: {images.shape}; wanted (N,3,H,W)")
    try:
        segmentation: Any = import_module("skimage.segmentation")
    except ImportError as error:
        raise MissingCapability(
            "SLIC superpixels need scikit-image, which is not installed",
            next_step='pip install "edgexai[reference]", or use a grid',
        ) from error
    segments = np.empty((len(images), *images.shape[2:]), dtype=np.int32)
    for i, image in enumerate(images):
        labels = segmentation.slic(
            image.transpose(1, 2, 0),
            n_segments=n_segments,
            compactness=compactness,
            sigma=sigma,
            start_label=0,
            channel_axis=-1,
        )
        present, gapless = np.unique(labels, return_inverse=True)
        _refuse_few(len(present), min_segments, f"image {i}")
        segments[i] = gapless.reshape(labels.shape)
    return segments


def _refuse_few(n: int, least: int, what: str) -> None:
    if n < least:
        raise UserError(
            f"{what} has {n} segments, fewer than {least}: an explanation of so few parts says next to nothing",
            next_step="ask for more segments or cells, or pass min_segments to allow it",
        )
