"""Elastic: a random affine map, then a smooth random displacement. See ``corruptions`` for source and convention."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

_Pixels = NDArray[np.float64]
_Rngs = Sequence[np.random.Generator]


def elastic_transform(x: _Pixels, severity: int, rngs: _Rngs) -> _Pixels:
    """Three points of a square are moved at random, which fixes the affine map; then every pixel is displaced."""
    n, size = x.shape[:2]
    reach, sigma, shift = (
        size * part
        for part in ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03))[
            severity - 1
        ]
    )
    middle, half = float(size // 2), float(size // 3)
    corners = np.array([[middle + half, middle + half], [middle + half, middle - half], [middle - half, middle - half]])
    moved = np.stack([corners + rng.uniform(-shift, shift, (3, 2)) for rng in rngs])
    ones = np.ones((n, 3, 1))
    # Rows (x, y, 1) of the moved corners times the map give the corners: the map from the result into the image.
    back = np.linalg.solve(np.concatenate([moved, ones], axis=2), np.broadcast_to(corners, (n, 3, 2)))
    rows, columns = np.meshgrid(np.arange(size, dtype=np.float64), np.arange(size, dtype=np.float64), indexing="ij")
    at = np.stack([columns, rows, np.ones_like(rows)], axis=-1).reshape(1, -1, 3) @ back
    x = _sampled(x, at[..., 1].reshape(n, size, size), at[..., 0].reshape(n, size, size), edge_twice=False)
    noise = np.stack([rng.uniform(-1, 1, (2, size, size)) for rng in rngs])
    field = reach * gaussian_filter(noise, sigma=(0, 0, sigma, sigma), mode="reflect", truncate=3)
    return np.clip(_sampled(x, rows + field[:, 1], columns + field[:, 0], edge_twice=True), 0, 1)


def _sampled(x: _Pixels, rows: _Pixels, columns: _Pixels, *, edge_twice: bool) -> _Pixels:
    """Bilinear values at (n,S,S) places; outside, the image is mirrored, its edge counted twice or once."""
    top, left = np.floor(rows).astype(np.int64), np.floor(columns).astype(np.int64)
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    size, image = x.shape[1], np.arange(len(x))[:, None, None]

    def inside(k: NDArray[np.int64]) -> NDArray[np.int64]:
        if edge_twice:
            k = k % (2 * size)
            return np.where(k < size, k, 2 * size - 1 - k)
        k = k % (2 * size - 2)
        return np.where(k < size, k, 2 * size - 2 - k)

    r0, r1, c0, c1 = inside(top), inside(top + 1), inside(left), inside(left + 1)
    upper = x[image, r0, c0] * (1 - right) + x[image, r0, c1] * right
    lower = x[image, r1, c0] * (1 - right) + x[image, r1, c1] * right
    return upper * (1 - down) + lower * down
