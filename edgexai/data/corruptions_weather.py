"""Weather: snow, frost and fog. See ``corruptions`` for source and convention."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgexai.data.corruptions_blur import smoothed
from edgexai.data.corruptions_motion import streak, zoomed

_Pixels = NDArray[np.float64]
_Rngs = Sequence[np.random.Generator]
_GREY = np.array([0.299, 0.587, 0.114])


def snow(x: _Pixels, severity: int, rngs: _Rngs) -> _Pixels:
    """Flakes: thresholded noise, zoomed and streaked downwards, over a whitened image."""
    mean, std, zoom, least, radius, sigma, keep = (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    )[severity - 1]
    size = x.shape[1]
    scale = size / 32
    flakes = np.stack([rng.normal(mean, std, (size, size)) for rng in rngs])[..., None]
    flakes = zoomed(flakes, zoom * scale)
    flakes[flakes < least] = 0
    degrees = np.array([rng.uniform(-135, -45) for rng in rngs])
    flakes = np.floor(np.clip(flakes, 0, 1) * 255) / 255
    flakes = streak(flakes, radius=round(radius * scale), sigma=sigma * scale, degrees=degrees)
    flakes = np.round(flakes * 255) / 255
    grey = (x @ _GREY)[..., None]
    x = keep * x + (1 - keep) * np.maximum(x, grey * 1.5 + 0.5)
    return np.clip(x + flakes + flakes[:, ::-1, ::-1], 0, 1)


def fog(x: _Pixels, severity: int, rngs: _Rngs) -> _Pixels:
    """A plasma fractal added, and the whole brought back to the image's own maximum."""
    amount, decay = ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))[severity - 1]
    size = x.shape[1]
    most = x.max(axis=(1, 2, 3), keepdims=True)
    clouds = plasma(1 << (size - 1).bit_length(), decay, rngs)[:, :size, :size, None]
    foggy: _Pixels = (x + amount * clouds) * most / (most + amount)
    return np.clip(foggy, 0, 1)


def plasma(size: int, decay: float, rngs: _Rngs) -> _Pixels:
    """Height maps (n,size,size) in [0,1] by the diamond-square rule on a torus; ``size`` is a power of two.

    Every new point is the mean of its four neighbours and a uniform draw whose reach falls with the square of
    ``decay`` from one level to the next.
    """
    n = len(rngs)
    field, step, reach = np.zeros((n, size, size)), size, 100.0
    while step >= 2:
        half, count = step // 2, size // step
        draws = np.stack([rng.uniform(-1, 1, (3, count, count)) for rng in rngs]) * reach * reach
        corners = field[:, ::step, ::step]
        columns = corners + np.roll(corners, -1, axis=1)
        field[:, half::step, half::step] = (columns + np.roll(columns, -1, axis=2)) / 4 + draws[:, 0]
        middles, corners = field[:, half::step, half::step], field[:, ::step, ::step]
        across = middles + np.roll(middles, 1, axis=1) + corners + np.roll(corners, -1, axis=2)
        field[:, ::step, half::step] = across / 4 + draws[:, 1]
        down = middles + np.roll(middles, 1, axis=2) + corners + np.roll(corners, -1, axis=1)
        field[:, half::step, ::step] = down / 4 + draws[:, 2]
        step, reach = half, reach / decay
    field -= field.min(axis=(1, 2), keepdims=True)
    highest: _Pixels = field.max(axis=(1, 2), keepdims=True)
    return field / highest


def frost(x: _Pixels, severity: int, rngs: _Rngs) -> _Pixels:
    """Ice on the pane: the dimmed image and a share of an icy picture."""
    keep, ice = ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))[severity - 1]
    return np.clip(keep * x + ice * _ice(x.shape[1], rngs), 0, 1)


def _ice(size: int, rngs: _Rngs) -> _Pixels:
    """Our own icy pictures (n,size,size,3): needles over a cloudy ground, bluish, as bright as the published ones.

    The published pictures are photographs of others and not ours to ship. What is matched are their numbers, measured
    on 1,000 random pieces of 32 pixels: mean 0.63, its spread between pieces 0.15, spread within a piece 0.06, blue
    above red by 0.13 on average; not their drawing.
    """
    n, scale = len(rngs), size / 32
    grain = np.stack([rng.standard_normal((size, size)) for rng in rngs])
    degrees = np.array([rng.uniform(0, 360) for rng in rngs])
    needles = streak(grain[..., None], radius=round(4 * scale), sigma=2 * scale, degrees=degrees)[..., 0]
    ground = smoothed(np.stack([rng.standard_normal((size, size)) for rng in rngs]), 4 * scale)
    shape = _standard(ground) * 0.6 + _standard(np.abs(needles)) * 0.6 + _standard(smoothed(grain, 0.7)) * 0.4
    level = np.array([rng.normal(0.635, 0.15) for rng in rngs])[:, None, None]
    blue = np.array([rng.uniform(0, 2) for rng in rngs])[:, None] * np.array([-0.071, 0.012, 0.059])
    icy: _Pixels = (level + 0.062 * shape)[..., None] + blue.reshape(n, 1, 1, 3)
    return np.clip(icy, 0, 1)


def _standard(field: _Pixels) -> _Pixels:
    field = field - field.mean(axis=(1, 2), keepdims=True)
    spread: _Pixels = field.std(axis=(1, 2), keepdims=True)
    return field / spread
