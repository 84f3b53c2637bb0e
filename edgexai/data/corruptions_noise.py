"""Noise: four corruptions that act on each pixel by itself. See ``corruptions`` for source and convention."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_Pixels = NDArray[np.float64]
_Rngs = Sequence[np.random.Generator]


def gaussian_noise(x: _Pixels, severity: int, rngs: _Rngs) -> _Pixels:
    """Sensor noise in poor light: the same spread everywhere."""
    scale = (0.04, 0.06, 0.08, 0.09, 0.10)[severity - 1]
    return np.clip(x + scale * _normal(x, rngs), 0, 1)


def shot_noise(x: _Pixels, severity: int, rngs: _Rngs) -> _Pixels:
    """Few photons: Poisson counts."""
    photons = (500, 250, 100, 75, 50)[severity - 1]
    counts = np.stack([rng.poisson(image * photons) for image, rng in zip(x, rngs, strict=True)])
    return np.clip(counts / photons, 0, 1)


def impulse_noise(x: _Pixels, severity: int, rngs: _Rngs) -> _Pixels:
    """Salt and pepper, in each colour channel by itself."""
    amount = (0.01, 0.02, 0.03, 0.05, 0.07)[severity - 1]
    u = np.stack([rng.random(x.shape[1:]) for rng in rngs])
    return np.where(u < amount / 2, 0.0, np.where(u < amount, 1.0, x))


def speckle_noise(x: _Pixels, severity: int, rngs: _Rngs) -> _Pixels:
    """Noise that grows with the pixel's value."""
    scale = (0.06, 0.1, 0.12, 0.16, 0.2)[severity - 1]
    return np.clip(x + x * scale * _normal(x, rngs), 0, 1)


def _normal(x: _Pixels, rngs: _Rngs) -> _Pixels:
    return np.stack([rng.standard_normal(x.shape[1:]) for rng in rngs])
