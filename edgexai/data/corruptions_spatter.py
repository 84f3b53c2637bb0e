"""Spatter: drops of water (severities 1 to 3) or mud (4 and 5). See ``corruptions`` for source and convention.

Water follows the published steps: edges of the liquid (Canny), distance to them cut at 20 pixels, equalised, embossed;
each is written out here with SciPy, so that OpenCV is not needed. Distances are exact where OpenCV's are within 2 %.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate, correlate1d, distance_transform_edt, label, uniform_filter

from edgexai.data.corruptions_blur import smoothed

_Pixels = NDArray[np.float64]
_Rngs = Sequence[np.random.Generator]
_EMBOSS = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], dtype=np.float64)[None]
_WATER, _MUD = np.array([175, 238, 238]) / 255, np.array([63, 42, 20]) / 255
_WEAK, _STRONG = 50, 150
_FAR = 20.0


def spatter(x: _Pixels, severity: int, rngs: _Rngs) -> _Pixels:
    """Smoothed noise above a threshold is liquid."""
    mean, std, sigma, least, amount, mud = (
        (0.62, 0.1, 0.7, 0.7, 0.5, False),
        (0.65, 0.1, 0.8, 0.7, 0.5, False),
        (0.65, 0.3, 1.0, 0.69, 0.5, False),
        (0.65, 0.1, 0.7, 0.69, 0.6, True),
        (0.65, 0.1, 0.5, 0.68, 0.6, True),
    )[severity - 1]
    size = x.shape[1]
    scale = size / 32
    # Smoothing over more pixels would leave less spread: more of it goes in.
    liquid = np.stack([rng.normal(mean, std * scale, (size, size)) for rng in rngs])
    liquid = smoothed(liquid, sigma * scale)
    liquid[liquid < least] = 0
    if mud:
        covered = smoothed((liquid > least).astype(np.float64), amount * scale)
        covered[covered < 0.8] = 0
        return np.clip(x * (1 - covered[..., None]) + covered[..., None] * _MUD, 0, 1)
    drops = np.floor(np.clip(liquid, 0, 1) * 255)
    shine = drops * _relief(drops)
    most = shine.max(axis=(1, 2), keepdims=True)
    shine = np.where(most > 0, shine / np.where(most > 0, most, 1), 0) * amount
    return np.clip(x + shine[..., None] * _WATER, 0, 1)


def _relief(drops: _Pixels) -> _Pixels:
    """(n,S,S) brightness of the drops' surface, 0..255."""
    edges = canny(drops)
    far = np.full(drops.shape, _FAR)
    for k in np.flatnonzero(edges.any(axis=(1, 2))):
        far[k] = np.minimum(distance_transform_edt(~edges[k]), _FAR)
    far = np.floor(uniform_filter(far, size=(1, 3, 3), mode="mirror") + 1e-6)
    embossed = np.clip(correlate(_equalised(far.astype(np.int64)), _EMBOSS, mode="mirror"), 0, 255)
    relief: _Pixels = np.round(uniform_filter(embossed, size=(1, 3, 3), mode="mirror"))
    return relief


def canny(levels: _Pixels) -> NDArray[np.bool_]:
    """Edges of (n,S,S) images of 0..255: Sobel gradients, thinned, kept where joined to a strong one.

    Source: J. Canny, IEEE PAMI 8(6), 1986, with |gx| + |gy| as strength.
    """
    # Not SciPy's sobel: that would smooth from one image to the next.
    gx, gy = (
        correlate1d(correlate1d(levels, (-1, 0, 1), axis=along, mode="nearest"), (1, 2, 1), axis=across, mode="nearest")
        for along, across in ((2, 1), (1, 2))
    )
    strength = np.abs(gx) + np.abs(gy)
    ring = np.pad(strength, ((0, 0), (1, 1), (1, 1)))
    height, width = levels.shape[1:]

    def beside(down: int, right: int) -> _Pixels:
        return ring[:, 1 + down : 1 + down + height, 1 + right : 1 + right + width]

    flat = np.abs(gy) < np.tan(np.pi / 8) * np.abs(gx)
    steep = np.abs(gy) > np.tan(3 * np.pi / 8) * np.abs(gx)
    falling = (gx > 0) == (gy > 0)
    before = np.select([flat, steep, falling], [beside(0, -1), beside(-1, 0), beside(-1, -1)], beside(-1, 1))
    after = np.select([flat, steep, falling], [beside(0, 1), beside(1, 0), beside(1, 1)], beside(1, -1))
    straight = flat | steep
    peak = (strength > before) & np.where(straight, strength >= after, strength > after)
    thin = peak & (strength > _WEAK)
    # Images are separate: nothing is joined along the first axis.
    joined = np.zeros((3, 3, 3))
    joined[1] = 1
    parts, count = label(thin, structure=joined)
    strong = np.zeros(count + 1, dtype=np.bool_)
    strong[np.unique(parts[thin & (strength > _STRONG)])] = True
    strong[0] = False
    edges: NDArray[np.bool_] = strong[parts]
    return edges


def _equalised(levels: NDArray[np.int64]) -> _Pixels:
    """Histogram equalisation image by image; an image of one level stays as it is."""
    n, pixels = len(levels), levels[0].size
    numbered = levels + 256 * np.arange(n)[:, None, None]
    counts = np.bincount(numbered.ravel(), minlength=256 * n).reshape(n, 256)
    first = np.argmax(counts > 0, axis=1)
    left = pixels - counts[np.arange(n), first]
    counts[np.arange(n), first] = 0
    table = np.round(np.cumsum(counts, axis=1) * (255 / np.maximum(left, 1))[:, None])
    flat = left == 0
    table[flat] = first[flat, None]
    out: _Pixels = table.reshape(-1)[numbered].astype(np.float64)
    return out
