"""Sign-aware augmentation of a whole batch: small affine and perspective warps, light and colour.

Never flips: a mirrored "turn left" is a "turn right". One grid_sample for the batch, no Python per image.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from edgexai.train.share import Share

_ROTATION, _SCALE, _SHIFT, _SHEAR, _ASPECT, _PERSPECTIVE = 0.26, 0.15, 0.16, 0.10, 0.08, 0.06
_CONTRAST, _BRIGHTNESS, _TINT = 0.5, 0.2, 0.1


def augment_sign(
    images: Tensor,
    generator: torch.Generator,
    *,
    strength: float = 1.0,
    marked: Tensor | None = None,
    share: Share | None = None,
) -> tuple[Tensor, Tensor | None]:
    """A randomly warped and re-lit copy.

    Args:
        images: (N,3,H,W) in [0,1]; not modified.
        generator: CPU generator; all draws come from it.
        strength: scales every range; 0 changes nothing.
        marked: (N,1,H,W) float 0/1 map that moves with the pixels (nearest), e.g. flagged cells.
        share: ``images`` are these rows of a batch that is drawn for as a whole; None = they are the batch.

    Returns:
        (N,3,H,W) in [0,1], channels_last; and the moved map, or None.
    """
    n, _, height, width = images.shape
    draws = (torch.rand(n if share is None else share.whole(n), 13, generator=generator) * 2 - 1).mul_(strength)
    draws = (draws if share is None else share.mine(draws)).to(images.device)
    grid = _grid(draws[:, :8], height, width)
    warped = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    moved = None
    if marked is not None:
        moved = F.grid_sample(marked, grid, mode="nearest", padding_mode="reflection", align_corners=False)
    # ((x - middle) * contrast + middle + brightness) * tint, as one gain and one offset per image and channel
    middle = warped.mean((1, 2, 3)).unsqueeze(1)
    contrast, brightness = (draws[:, 8:9] * _CONTRAST).exp(), draws[:, 9:10] * _BRIGHTNESS
    tint = 1 + draws[:, 10:13] * _TINT
    gain, offset = contrast * tint, (middle * (1 - contrast) + brightness) * tint
    lit = warped.mul_(gain[:, :, None, None]).add_(offset[:, :, None, None]).clamp_(0, 1)
    return lit.contiguous(memory_format=torch.channels_last), moved


def _grid(draws: Tensor, height: int, width: int) -> Tensor:
    """(N,8) draws in [-1,1] -> (N,H,W,2) places to sample, laid out as two planes, which grid_sample reads fastest."""
    n = len(draws)
    angle, scale, aspect = draws[:, 0] * _ROTATION, 1 + draws[:, 1] * _SCALE, 1 + draws[:, 2] * _ASPECT
    cos, sin = angle.cos() * scale, angle.sin() * scale
    shift, shear = draws[:, 3:5] * _SHIFT, draws[:, 5] * _SHEAR
    rows = torch.stack([cos * aspect, shear - sin, shift[:, 0], sin, cos / aspect, shift[:, 1]], 1)
    y, x = (2 * (torch.arange(size, device=draws.device) + 0.5) / size - 1 for size in (height, width))
    plane = torch.stack([x.expand(height, width), y[:, None].expand(height, width), draws.new_ones(height, width)])
    places = (rows.view(2 * n, 3) @ plane.view(3, -1)).view(n, 2, -1)
    # x*y bends the grid like a view from the side, at a fraction of a homography's cost
    bent = torch.addcmul(places, places[:, :1] * places[:, 1:], draws[:, 6:8, None] * _PERSPECTIVE)
    return bent.view(n, 2, height, width).permute(0, 2, 3, 1)
