"""Sign-aware augmentation of a whole batch: small affine and perspective warps, light and colour.

Never flips: a mirrored "turn left" is a "turn right". One grid_sample for the batch, no Python per image.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_ROTATION, _SCALE, _SHIFT, _SHEAR, _ASPECT, _PERSPECTIVE = 0.26, 0.15, 0.16, 0.10, 0.08, 0.06
_CONTRAST, _BRIGHTNESS, _TINT = 0.5, 0.2, 0.1


def augment_sign(
    images: Tensor, generator: torch.Generator, *, marked: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """A randomly warped and re-lit copy.

    Args:
        images: (N,3,H,W) in [0,1]; not modified.
        generator: CPU generator; all draws come from it.
        marked: (N,1,H,W) float 0/1 map that moves with the pixels (nearest), e.g. flagged cells.

    Returns:
        (N,3,H,W) in [0,1], channels_last; and the moved map, or None.
    """
    n = len(images)

    def draw(*shape: int) -> Tensor:
        return (torch.rand(n, *shape, generator=generator) * 2 - 1).to(images.device)

    angle, scale, aspect = draw() * _ROTATION, 1 + draw() * _SCALE, 1 + draw() * _ASPECT
    cos, sin = angle.cos() * scale, angle.sin() * scale
    shift, shear = draw(2) * _SHIFT, draw() * _SHEAR
    rows = torch.stack([cos * aspect, shear - sin, shift[:, 0], sin, cos / aspect, shift[:, 1]], 1)
    grid = F.affine_grid(rows.view(n, 2, 3), list(images.shape), align_corners=False)
    # x*y bends the grid like a view from the side, at a fraction of a homography's cost
    bend = (grid[..., 0] * grid[..., 1]).unsqueeze(-1) * (draw(1, 1, 2) * _PERSPECTIVE)
    grid = grid + bend
    warped = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    moved = None
    if marked is not None:
        moved = F.grid_sample(marked, grid, mode="nearest", padding_mode="reflection", align_corners=False)
    middle = warped.mean((1, 2, 3), keepdim=True)
    contrast, brightness = (draw(1, 1, 1) * _CONTRAST).exp(), draw(1, 1, 1) * _BRIGHTNESS
    tint = 1 + draw(3, 1, 1) * _TINT
    lit = ((warped - middle) * contrast + (middle + brightness)) * tint
    return lit.clamp_(0, 1).contiguous(memory_format=torch.channels_last), moved
