"""Cuts images into the segments that LIME and KernelSHAP switch on and off.

A fixed grid is the default choice: the same index means the same place in every image, so coefficients can be
compared, averaged and flagged across images, and one set of masks serves them all. Superpixels follow edges and are
for pictures. Few segments explain nothing (the common quickshift defaults give a single one on 32x32): fewer than
``min_segments`` are refused. Superpixels need scikit-image, imported on use; the grid is NumPy alone.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import MissingCapability, ShapeError, UserError
from edgexai.types import Images, Segments


def grid(size: int | tuple[int, int], cells: int, *, min_segments: int = 8) -> Segments:
    """``cells`` x ``cells`` rectangles, row by row; sides differ by at most one pixel where they do not divide.

    Args:
        size: side of the square image, or (height, width), pixels.
        cells: per side.
        min_segments: refuse fewer.

    Returns:
        int32 (H,W), 0..cells**2-1.

    Raises:
        UserError: fewer than ``min_segments`` cells in all, or cells smaller than a pixel.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if not 1 <= cells <= min(height, width):
        raise UserError(
            f"{cells} cells per side do not fit {min(height, width)} pixels; allowed: 1 to {min(height, width)}"
        )
    _refuse_few(cells * cells, min_segments, "the grid", "more cells")
    rows, columns = (np.arange(side) * cells // side for side in (height, width))
    return (rows[:, None] * cells + columns[None, :]).astype(np.int32)


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
    cut = _segmentation().slic
    return _each(
        images,
        lambda image: cut(
            image, n_segments=n_segments, compactness=compactness, sigma=sigma, start_label=0, channel_axis=-1
        ),
        min_segments,
        "ask for more with n_segments",
    )


def quickshift(
    images: Images,
    *,
    kernel_size: float = 4.0,
    max_dist: float = 200.0,
    ratio: float = 0.2,
    seed: int = 0,
    min_segments: int = 8,
) -> Segments:
    """Quickshift superpixels (scikit-image; Vedaldi & Soatto, 2008). The defaults are those of the ``lime`` package.

    Args:
        images: float32 (N,3,H,W) in [0,1].
        kernel_size: of the density estimate, pixels.
        max_dist: cut-off of the tree's links; larger = fewer segments.
        ratio: of colour to place, in [0,1].
        seed: of the ties between equal densities.
        min_segments: refuse an image that gets fewer; with these defaults a 32-pixel image usually gets one.

    Returns:
        int32 (N,H,W); image i holds 0..S_i-1.

    Raises:
        MissingCapability, ShapeError, UserError: as ``slic``.
    """
    cut = _segmentation().quickshift
    return _each(
        images,
        lambda image: cut(
            image.astype(np.float64), kernel_size=kernel_size, max_dist=max_dist, ratio=ratio, rng=seed, channel_axis=-1
        ),
        min_segments,
        "take a smaller kernel_size or max_dist, slic, or a grid",
    )


def felzenszwalb(
    images: Images, *, scale: float = 100.0, sigma: float = 0.8, min_size: int = 20, min_segments: int = 8
) -> Segments:
    """Felzenszwalb and Huttenlocher's graph-based segments (scikit-image; IJCV 2004).

    Args:
        images: float32 (N,3,H,W) in [0,1].
        scale: larger = larger segments.
        sigma: Gaussian blur before, pixels.
        min_size: of a segment, pixels.
        min_segments: refuse an image that gets fewer.

    Returns:
        int32 (N,H,W); image i holds 0..S_i-1.

    Raises:
        MissingCapability, ShapeError, UserError: as ``slic``.
    """
    cut = _segmentation().felzenszwalb
    return _each(
        images,
        lambda image: cut(image, scale=scale, sigma=sigma, min_size=min_size, channel_axis=-1),
        min_segments,
        "take a smaller scale or min_size, slic, or a grid",
    )


def _segmentation() -> Any:
    try:
        return import_module("skimage.segmentation")
    except ImportError as error:
        raise MissingCapability(
            "superpixels need scikit-image, which is not installed",
            next_step='pip install "edgexai[reference]", or use a grid',
        ) from error


def _each(
    images: Images, cut: Callable[[NDArray[np.float32]], NDArray[np.integer[Any]]], least: int, remedy: str
) -> Segments:
    """``cut`` of every image (H,W,3), numbered without gaps."""
    if images.ndim != 4 or images.shape[1] != 3:
        raise ShapeError(f"images: {images.shape}; wanted (N,3,H,W)")
    segments = np.empty((len(images), *images.shape[2:]), dtype=np.int32)
    for i, image in enumerate(images):
        labels = cut(np.ascontiguousarray(image.transpose(1, 2, 0)))
        present, gapless = np.unique(labels, return_inverse=True)
        _refuse_few(len(present), least, f"image {i}", remedy)
        segments[i] = gapless.reshape(labels.shape)
    return segments


def _refuse_few(n: int, least: int, what: str, remedy: str) -> None:
    if n < least:
        raise UserError(
            f"{what} has {n} segments, fewer than {least}: an explanation of so few parts says next to nothing",
            next_step=f"{remedy}, or pass min_segments to allow it",
        )
