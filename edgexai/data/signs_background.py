"""What stands behind a rendered sign: sky, foliage, houses, poles, plates, in display values without light.

Convention: float32 (n,3,r,r), mostly in [0,1]; the light comes later, so a dark hedge here is dark under every sun.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from edgexai.data.signs_draws import Draws, image_wise

_PALETTE = torch.tensor(
    [
        (0.92, 0.94, 0.97),  # overcast sky
        (1.00, 1.00, 1.00),  # burnt-out sky
        (0.55, 0.70, 0.90),  # blue sky
        (0.42, 0.42, 0.42),  # asphalt, concrete
        (0.25, 0.26, 0.26),
        (0.16, 0.21, 0.12),  # hedge
        (0.30, 0.34, 0.20),
        (0.38, 0.29, 0.20),  # bark, autumn
        (0.46, 0.36, 0.24),
        (0.42, 0.27, 0.23),  # brick
        (0.70, 0.65, 0.56),  # plaster
        (0.10, 0.10, 0.11),  # deep shade
    ]
)


def background(draws: Draws, edge: int) -> Tensor:
    """Backgrounds of ``edge`` pixels.

    Args:
        draws: stream of the batch.
        edge: height and width in pixels.
    Returns:
        float32 (n,3,edge,edge).
    """
    colours = _colours(draws, 3)
    axis = _axes(draws, edge)
    ramp = torch.sigmoid(axis * image_wise(draws.uniform(0.5, 4.0)) + image_wise(draws.normal(0, 0.5)))
    far = colours[:, 0] * ramp + (colours[:, 0] * 0.8 + colours[:, 1] * 0.2) * (1 - ramp)
    leaves = noise(draws, edge, (3, 6, 12, edge // 2))
    near = colours[:, 1] * (1 + leaves * image_wise(draws.uniform(0.0, 1.6)))
    # Trees against the sky, shrubs against a wall: one noise decides which of two layers shows.
    cut = noise(draws, edge, (2, 4, 9, 20)) * image_wise(draws.uniform(0.2, 1.0)) + _axes(draws, edge)
    cover = torch.sigmoid((cut + image_wise(draws.normal(0, 0.6))) * image_wise(draws.uniform(2, 25)))
    scene = far * (1 - cover) + near * cover
    for k in range(3):
        scene = _bar(draws, scene, colours[:, 2] if k else _colours(draws, 1)[:, 0], p=0.35)
    speckle = noise(draws, edge, (edge // 4, edge // 2)) * image_wise(draws.uniform(0.0, 0.4) ** 1.5)
    return (scene * (1 + 2 * speckle)).clamp(0, 1.2)


def noise(draws: Draws, edge: int, cells: tuple[int, ...]) -> Tensor:
    """Smooth noise (n,1,edge,edge), standard deviation about 0.5: octaves of ``cells`` per edge, randomly weighted."""
    total = torch.zeros(draws.n, 1, 1, 1)
    for c in cells:
        # Coarse octaves are enlarged step by step: one full-size enlargement instead of one per octave.
        octave = draws.normal(0, 0.8, 1, c, c) * image_wise(draws.uniform(0.2, 1.0))
        total = octave + F.interpolate(total, size=(c, c), mode="bilinear", align_corners=False)
    return F.interpolate(total / len(cells) ** 0.5, size=(edge, edge), mode="bilinear", align_corners=False)


def _colours(draws: Draws, k: int) -> Tensor:
    """(n,k,3,1,1): palette colours, each varied."""
    base = _PALETTE[draws.choice(len(_PALETTE), k)]
    varied = base * draws.uniform(0.6, 1.25, k, 1) + draws.normal(0, 0.02, k, 3)
    return varied.clamp(0.02, 1)[..., None, None]


def _axes(draws: Draws, edge: int) -> Tensor:
    """(n,1,edge,edge): the coordinate along a random direction, -1..1 at the edges; upright directions come oftener."""
    line = torch.linspace(-1, 1, edge)
    angle = torch.where(draws.chance(0.5), draws.normal(torch.pi / 2, 0.3), draws.uniform(0, 2 * torch.pi))
    return image_wise(angle.cos()) * line[None, None, None, :] + image_wise(angle.sin()) * line[None, None, :, None]


def _bar(draws: Draws, scene: Tensor, colour: Tensor, *, p: float) -> Tensor:
    """Paints a straight-edged bar (wall, roof, post, branch, frame) over a share ``p`` of the scenes."""
    edge = scene.shape[-1]
    axis = _axes(draws, edge)
    middle, half = image_wise(draws.uniform(-1.2, 1.2)), image_wise(draws.uniform(0.02, 0.9) ** 1.5)
    inside = torch.sigmoid((half - (axis - middle).abs()) * edge / 1.5) * image_wise(draws.chance(p).float())
    return scene * (1 - inside) + colour * image_wise(draws.uniform(0.8, 1.2)) * inside
