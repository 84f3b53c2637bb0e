"""The l-infinity ball around an image, cut with the pixel range [0,1]. Works on NumPy arrays and torch tensors.

Every attack returns points of this set; the check of its inputs lives here too, so that all attacks refuse the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError, UserError

if TYPE_CHECKING:
    import torch

Pixels = TypeVar("Pixels", NDArray[np.float32], "torch.Tensor")


def clip_to_ball(points: Pixels, centre: Pixels, *, eps: float) -> Pixels:
    """The nearest point of the ball around ``centre`` that is also an image.

    Args:
        points: float32 (N,3,H,W), any values; not modified.
        centre: float32 (N,3,H,W) in [0,1]; not modified.
        eps: radius in pixels of [0,1].

    Returns:
        float32 (N,3,H,W) with ``|result - centre| <= eps`` (up to float32 rounding) and in [0,1].
    """
    return points.clip(centre - eps, centre + eps).clip(0.0, 1.0)


def check_attack_input(images: Pixels, labels: NDArray[np.int64] | torch.Tensor | None, *, eps: float) -> None:
    """Refuses what no attack can work on.

    Args:
        images: float (N,3,H,W) in [0,1].
        labels: integers (N,), or None where the attack needs none.
        eps: radius in pixels of [0,1].

    Raises:
        ShapeError: images are not (N,3,H,W), or labels not (N,).
        UserError: ``eps`` is outside (0,1], or pixels are outside [0,1] or not finite.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ShapeError(
            f"images have shape {tuple(images.shape)}; an attack takes (N,3,H,W)",
            next_step="transpose NHWC images with Split.as_float()",
        )
    if labels is not None and tuple(labels.shape) != (images.shape[0],):
        raise ShapeError(f"labels have shape {tuple(labels.shape)}; {images.shape[0]} images need ({images.shape[0]},)")
    if not 0 < eps <= 1:
        raise UserError(f"eps = {eps} is not in (0, 1]", next_step="give it in pixels of [0,1], e.g. 8/255")
    # One comparison that NaN fails too.
    if images.shape[0] and not (float(images.min()) >= 0 and float(images.max()) <= 1):
        raise UserError(
            "images leave [0,1] or hold NaN: an attack works on pixels, before any normalisation",
            next_step="divide uint8 images by 255; mean and standard deviation belong inside the model",
        )
