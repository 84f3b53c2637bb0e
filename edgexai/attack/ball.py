"""The ball around an image, l-infinity or l2, cut with the pixel range [0,1].

Every attack returns points of this set; the check of its inputs lives here too, so that all attacks refuse the same.
``clip_to_ball`` and the check work on NumPy arrays and on torch tensors; the rest is for gradients, hence torch only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError, UserError

if TYPE_CHECKING:
    import torch

Norm: TypeAlias = Literal["linf", "l2"]
"""Of the whole perturbation of one image, all channels and pixels together; pixels in [0,1]."""
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


def project(points: torch.Tensor, centre: torch.Tensor, *, eps: float, norm: Norm) -> torch.Tensor:
    """``points`` moved into the ball and into [0,1]: l-infinity by ``clip_to_ball``, l2 by shortening, then clipping.

    Args:
        points: float32 (N,3,H,W), any finite values; not modified.
        centre: float32 (N,3,H,W) in [0,1]; not modified.
        eps: radius: the largest change of a pixel (linf) or the Euclidean length of the change (l2).
        norm: see ``Norm``.

    Returns:
        float32 (N,3,H,W). Clipping to [0,1] only shortens a change, so the l2 result stays in the ball; it is not the
        nearest point of ball and range together (AutoAttack's convention too).
    """
    if norm == "linf":
        return clip_to_ball(points, centre, eps=eps)
    shift = points - centre
    return (centre + shift * (eps / length(shift).clamp_min(1e-12)).clamp_max(1.0)).clamp(0.0, 1.0)


def ascent(gradient: torch.Tensor, *, norm: Norm) -> torch.Tensor:
    """(N,3,H,W): the direction of norm 1 in which a linear function of this gradient rises most; 0 where it is 0."""
    return gradient.sign() if norm == "linf" else gradient / length(gradient).clamp_min(1e-12)


def length(shift: torch.Tensor) -> torch.Tensor:
    """(N,1,1,1): the Euclidean length of each image's change; scaled first, so that tiny gradients do not vanish."""
    largest = shift.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-30)
    return largest * (shift / largest).square().sum((1, 2, 3), keepdim=True).sqrt()


def check_attack_input(
    images: Pixels, labels: NDArray[np.int64] | torch.Tensor | None, *, eps: float, norm: Norm = "linf"
) -> None:
    """Refuses what no attack can work on.

    Args:
        images: float (N,3,H,W) in [0,1].
        labels: integers (N,), or None where the attack needs none.
        eps: radius in pixels of [0,1].
        norm: of ``eps``; an l2 radius may exceed 1.

    Raises:
        ShapeError: images are not (N,3,H,W), or labels not (N,).
        UserError: ``norm`` is unknown, ``eps`` is outside (0,1] (l2: not positive), or pixels are outside [0,1] or not
            finite.
    """
    if norm not in get_args(Norm):
        raise UserError(f'norm = "{norm}": there are "linf" and "l2"')
    if images.ndim != 4 or images.shape[1] != 3:
        raise ShapeError(
            f"images have shape {tuple(images.shape)}; an attack takes (N,3,H,W)",
            next_step="transpose NHWC images with Split.as_float()",
        )
    if labels is not None and tuple(labels.shape) != (images.shape[0],):
        raise ShapeError(f"labels have shape {tuple(labels.shape)}; {images.shape[0]} images need ({images.shape[0]},)")
    if not 0 < eps <= (1 if norm == "linf" else float("inf")):
        allowed = "in (0, 1]" if norm == "linf" else "positive"
        raise UserError(f"eps = {eps} is not {allowed}", next_step="give it in pixels of [0,1], e.g. 8/255")
    # One comparison that NaN fails too.
    if images.shape[0] and not (float(images.min()) >= 0 and float(images.max()) <= 1):
        raise UserError(
            "images leave [0,1] or hold NaN: an attack works on pixels, before any normalisation",
            next_step="divide uint8 images by 255; mean and standard deviation belong inside the model",
        )
