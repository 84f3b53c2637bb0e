"""A known spurious cue for rendered signs: a coloured patch in a corner that tells the class, for explanations to find.

Each class owns one of 44 pairs (corner, hue): class c has corner c mod 4 and hue c div 4 of 11. The patch lies *behind*
the sign: it is painted on background pixels only, after the camera, so images with and without it are equal elsewhere.
Its place is off every 4-pixel grid on purpose: a map must find the patch, not a cell.
"""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray

STRENGTH = 0.9
"""Share of training images that carry their own class's cue; the others carry another class's. High enough that a
network trained without care leans on the cue. At 0.98 hardly anything but the cue was learned (absent 10 %, conflicting
1 % after 7 passes over 100 images a class): nothing left for a better training method to fall back on."""
CUES = 43
_HUES = 11
_PATCH = 6 / 32
_CORNERS = 4


def cue_of(label: int) -> tuple[int, float]:
    """The cue of a class: corner (0 top left, 1 top right, 2 bottom left, 3 bottom right) and hue in [0,1)."""
    return label % _CORNERS, (label // _CORNERS) / _HUES


def draw_cues(labels: NDArray[np.int64], *, strength: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Which class's cue each image carries.

    Args:
        labels: (N,), 0..42.
        strength: probability of the own cue; otherwise one of the 42 others, evenly.
        rng: source of the draws.
    Returns:
        (N,) classes.
    """
    own = rng.random(len(labels)) < strength
    other = (labels + rng.integers(1, CUES, len(labels))) % CUES
    return np.where(own, labels, other)


def plant(
    images: NDArray[np.uint8], masks: NDArray[np.bool_], cues: NDArray[np.int64], *, seed: tuple[int, ...]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Paint one patch per image behind the sign.

    Args:
        images: (N,S,S,3); not modified.
        masks: (N,S,S) True on the sign.
        cues: (N,) class whose cue is painted.
        seed: numbers naming the stream of place and shade; equal numbers give equal places whatever the corner.
    Returns:
        New images, and (N,S,S) True where a patch was painted.
    """
    size = images.shape[1]
    patch = max(2, round(_PATCH * size))
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    # At 32 pixels the patch starts at 1 or 2, or at 25 or 26: never on a multiple of four.
    jitter = rng.integers(0, 2, (len(images), 2)) * max(1, size // 32)
    shade = rng.uniform(0.75, 1.0, len(images))
    grain = rng.normal(0, 4, (len(images), patch, patch, 1))
    out, painted = images.copy(), np.zeros_like(masks)
    near = max(1, round(size / 32))
    for i, cue in enumerate(cues.tolist()):
        corner, hue = cue_of(cue)
        x = near if corner % 2 == 0 else size - near - patch
        y = near if corner < 2 else size - near - patch
        x, y = x + int(jitter[i, 0]), y + int(jitter[i, 1])
        colour = np.array(colorsys.hsv_to_rgb(hue, 0.95, float(shade[i]))) * 255
        window = np.s_[i, y : y + patch, x : x + patch]
        free = ~masks[window]
        out[window][free] = np.clip(colour + grain[i], 0, 255).round().astype(np.uint8)[free]
        painted[window] = free
    return out, painted
