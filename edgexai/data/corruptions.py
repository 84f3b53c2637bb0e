"""The 19 common corruptions at 5 severities, from our own seeded generator.

Source: D. Hendrycks, T. Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations",
ICLR 2019 (arXiv 1903.12261), with the constants that the authors use for 32-pixel images (CIFAR-10-C). Lengths in
pixels grow with the image, so that 64-pixel images are corrupted as much as 32-pixel ones; at 32 pixels they are the
published ones. What differs from the published files: every draw (each image has its own stream), and the ice of
``frost``, which is drawn by us where theirs is cut from photographs.
Convention: the result is cut down to whole levels, not rounded, as in the published files.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError, UserError
from edgexai.registry import Entry

_BLUR, _NOISE = "edgexai.data.corruptions_blur", "edgexai.data.corruptions_noise"
_WEATHER, _DIGITAL = "edgexai.data.corruptions_weather", "edgexai.data.corruptions_digital"
CORRUPTIONS: dict[str, Entry] = {
    "gaussian_noise": Entry(f"{_NOISE}:gaussian_noise", 1),
    "shot_noise": Entry(f"{_NOISE}:shot_noise", 1),
    "impulse_noise": Entry(f"{_NOISE}:impulse_noise", 1),
    "defocus_blur": Entry(f"{_BLUR}:defocus_blur", 1),
    "glass_blur": Entry(f"{_BLUR}:glass_blur", 1),
    "motion_blur": Entry(f"{_BLUR}:motion_blur", 1),
    "zoom_blur": Entry(f"{_BLUR}:zoom_blur", 1),
    "snow": Entry(f"{_WEATHER}:snow", 1),
    "frost": Entry(f"{_WEATHER}:frost", 1),
    "fog": Entry(f"{_WEATHER}:fog", 1),
    "brightness": Entry(f"{_DIGITAL}:brightness", 1),
    "contrast": Entry(f"{_DIGITAL}:contrast", 1),
    "elastic_transform": Entry("edgexai.data.corruptions_elastic:elastic_transform", 1),
    "pixelate": Entry(f"{_DIGITAL}:pixelate", 1),
    "jpeg_compression": Entry(f"{_DIGITAL}:jpeg_compression", 1),
    "speckle_noise": Entry(f"{_NOISE}:speckle_noise", 1),
    "gaussian_blur": Entry(f"{_BLUR}:gaussian_blur", 1),
    "spatter": Entry("edgexai.data.corruptions_spatter:spatter", 1),
    "saturate": Entry(f"{_DIGITAL}:saturate", 1),
}
"""Name -> ``f(x, severity, rngs)``: x float64 (n,H,W,3) in [0,1], one generator an image; the four groups of the paper
in its order, then its four extra ones."""

SEVERITIES = (1, 2, 3, 4, 5)
_CHUNK = 256


def corrupt(
    images: NDArray[np.uint8],
    name: str,
    *,
    severity: int,
    seed: int,
    index: Sequence[int] | NDArray[np.int64] | None = None,
) -> NDArray[np.uint8]:
    """Corrupts every image; what happens to one depends on nothing but seed, name, severity and its index.

    Args:
        images: uint8 (N,H,W,3), square, at least 16 pixels; not modified.
        name: key of ``CORRUPTIONS``.
        severity: 1..5.
        seed: of every draw.
        index: (N,) number of each image in its whole data set, so that a part is corrupted as it would be in the
            whole; 0..N-1 when absent.

    Returns:
        uint8 (N,H,W,3), a new array.

    Raises:
        UserError: no such corruption or severity.
        ShapeError: the images are not square uint8 RGB, or ``index`` has another length.
    """
    if name not in CORRUPTIONS or severity not in SEVERITIES:
        raise UserError(
            f"corruption {name} at severity {severity}: not known",
            next_step=f"severities are 1 to 5, corruptions: {', '.join(CORRUPTIONS)}",
        )
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ShapeError(f"images {images.dtype} {images.shape}: expected uint8 (N,H,W,3)")
    if len(images) and (images.shape[1] != images.shape[2] or images.shape[1] < 16):
        raise ShapeError(f"images of {images.shape[2]} x {images.shape[1]} pixels: expected squares of 16 or more")
    numbers = range(len(images)) if index is None else [int(k) for k in index]
    if len(numbers) != len(images):
        raise ShapeError(f"{len(numbers)} indices for {len(images)} images")
    function, key = CORRUPTIONS[name].load(), list(CORRUPTIONS).index(name)
    out = np.empty(images.shape, dtype=np.uint8)
    for start in range(0, len(images), _CHUNK):
        part = slice(start, start + _CHUNK)
        rngs = [np.random.default_rng([seed, key, severity, k]) for k in numbers[part]]
        levels = function(images[part] / 255.0, severity, rngs) * 255.0
        # A whole level must not fall to the one below through rounding in the last bit.
        out[part] = np.floor(np.clip(levels, 0, 255) + 1e-4)
    return out
