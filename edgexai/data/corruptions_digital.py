"""Light and encoding: brightness, contrast, saturation, JPEG and pixelation. See ``corruptions`` for the source.

Hue, saturation and value are never computed: with value v = max(r,g,b), raising v by a factor scales all three, and a
new saturation moves them along the line to v.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_Pixels = NDArray[np.float64]
_Rngs = Sequence[np.random.Generator]


def brightness(x: _Pixels, severity: int, rngs: _Rngs) -> _Pixels:
    """Value raised, hue and saturation kept."""
    more = (0.05, 0.1, 0.15, 0.2, 0.3)[severity - 1]
    value = x.max(axis=3, keepdims=True)
    raised = np.minimum(value + more, 1)
    scaled: _Pixels = x * raised / np.where(value > 0, value, 1)
    return np.where(value > 0, scaled, raised)


def saturate(x: _Pixels, severity: int, rngs: _Rngs) -> _Pixels:
    """Colours paler (severities 1 and 2) or stronger; grey turns reddish where an offset is added, as published."""
    times, more = ((0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2))[severity - 1]
    value, least = x.max(axis=3, keepdims=True), x.min(axis=3, keepdims=True)
    old = np.where(value > 0, (value - least) / np.where(value > 0, value, 1), 0)
    new = np.clip(old * times + more, 0, 1)
    # Grey has no hue of its own; hue 0 is red.
    red = np.concatenate([value, value * (1 - new), value * (1 - new)], axis=3)
    return np.where(old > 0, value - (value - x) * new / np.where(old > 0, old, 1), red)


def contrast(x: _Pixels, severity: int, rngs: _Rngs) -> _Pixels:
    """Each channel drawn towards its mean."""
    times = (0.75, 0.5, 0.4, 0.3, 0.15)[severity - 1]
    means = x.mean(axis=(1, 2), keepdims=True)
    out: _Pixels = (x - means) * times + means
    return np.clip(out, 0, 1)


def jpeg_compression(x: _Pixels, severity: int, rngs: _Rngs) -> _Pixels:
    """Written as JPEG at a low quality and read again, by Pillow."""
    quality = (80, 65, 58, 50, 40)[severity - 1]
    out = np.empty_like(x)
    for k, image in enumerate(_pictures(x)):
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=quality)
        out[k] = np.asarray(Image.open(stream)) / 255.0
    return out


def pixelate(x: _Pixels, severity: int, rngs: _Rngs) -> _Pixels:
    """Shrunk and enlarged again with boxes."""
    size = x.shape[1]
    small = int(size * (0.95, 0.9, 0.85, 0.75, 0.65)[severity - 1])
    out = np.empty_like(x)
    for k, image in enumerate(_pictures(x)):
        shrunk = image.resize((small, small), Image.Resampling.BOX)
        out[k] = np.asarray(shrunk.resize((size, size), Image.Resampling.BOX)) / 255.0
    return out


def _pictures(x: _Pixels) -> list[Image.Image]:
    return [Image.fromarray(image) for image in np.round(x * 255).astype(np.uint8)]
