"""Noisy copies of images and what a network's maps become on them: the raw material of relative input stability.

Source: Quantus' default, which the study of pruning and maps (arXiv 2509.20148) uses with 5 copies: uniform noise in
[0.02, 0.2], *added*, so that a copy is also brighter. Differs: clipped to [0,1] and rounded to whole levels, so that a
copy is an image like any other.
NumPy only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgexai.attack.stream import image_streams
from edgexai.types import Images, Maps

COPIES = 5
NOISE = (0.02, 0.2)
"""Smallest and largest noise, in pixels of [0,1]."""


@dataclass(frozen=True)
class NoisyCopies:
    """P noisy copies of the first s probed images, explained for the class decided on the clean image.

    Attributes:
        images: float32 (P,s,3,H,W) in [0,1], whole 8-bit levels.
        same_class: bool (P,s): the network decides on the copy as on the image.
        maps: explainer -> float32 (P,s,H,W).
    """

    images: NDArray[np.float32]
    same_class: NDArray[np.bool_]
    maps: Mapping[str, Maps]


def noisy_copies(images: Images, *, seed: int) -> NDArray[np.float32]:
    """``COPIES`` noisy versions of every image.

    Args:
        images: float32 (s,3,H,W) in [0,1]; not modified.
        seed: keyed with each image's bytes, so batching does not change the result.

    Returns:
        float32 (P,s,3,H,W) in [0,1], whole 8-bit levels.
    """
    out = np.empty((COPIES, *images.shape), np.float32)
    for index, stream in enumerate(image_streams(images, seed=seed, purpose="noisy copies")):
        noise = stream.uniform(*NOISE, size=(COPIES, *images.shape[1:]))
        out[:, index] = np.round(np.clip(images[index] + noise, 0, 1) * 255) / 255
    return out
