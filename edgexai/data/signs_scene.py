"""Scenes of one rendered sign each: paint, pose, background, occlusion, light, camera, and the sign's exact mask.

Source: made to look like crops of GTSRB (sign centred, about 10 % border, boxes stretched to a square), whose exposure
runs from night to burnt out. Convention: everything is drawn at twice the final size and averaged down.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from edgexai.data.signs_art import CLASSES, WEIGHTS, coverage
from edgexai.data.signs_background import background, noise
from edgexai.data.signs_camera import photograph
from edgexai.data.signs_draws import Draws, image_wise
from edgexai.data.signs_pen import MARGIN

_PAINT = torch.tensor(
    [
        (0.86, 0.86, 0.87),  # white
        (0.57, 0.13, 0.15),  # red
        (0.07, 0.07, 0.08),  # black
        (0.05, 0.25, 0.58),  # blue
        (0.93, 0.64, 0.16),  # yellow
        (0.08, 0.45, 0.30),  # green
        (0.46, 0.46, 0.46),  # grey
    ]
)
_TRIANGLES = torch.tensor([11, 13, *range(18, 32)])
_TRIANGLE_HEIGHT = 0.87


@dataclass(frozen=True)
class Pose:
    """How a card frames its signs.

    Attributes:
        reach: smallest and largest half width of the sign as a share of half the image.
        square: stretch triangles to a square box, as GTSRB's square crops do.
        exposure: mean and standard deviation of the natural logarithm of the camera's gain.
    """

    reach: tuple[float, float]
    square: bool
    exposure: tuple[float, float]


def scenes(labels: Tensor, draws: Draws, *, size: int, pose: Pose) -> tuple[Tensor, Tensor]:
    """Photographs of signs.

    Args:
        labels: int64 (n,), 0..42.
        draws: stream of the batch, of the same n.
        size: edge of the images in pixels.
        pose: framing of the card.
    Returns:
        Images uint8 (n,size,size,3) and masks bool (n,size,size): pixels of which the visible sign covers over half.
    """
    edge = 2 * size
    grid = _grid(labels, draws, edge, pose)
    sign = F.grid_sample(_painted(labels, draws, size), grid, align_corners=False)
    alpha = sign[:, 3:]
    scene = _neighbour(draws, background(draws, edge), size)
    scene = _mounting(draws, scene, grid)
    relative = torch.exp(draws.normal(-0.05, 0.65))
    dirt = 1 + noise(draws, edge, (3, 8)) * image_wise(draws.uniform(0, 0.16))
    shine = 1 + _plane(draws, edge) * image_wise(draws.uniform(0, 0.3))
    scene = scene * image_wise(relative) * (1 - alpha) + sign[:, :3] * dirt * shine
    scene, alpha = _occluded(draws, scene, alpha)
    scene = scene * _shadow(draws, edge)
    gain = torch.exp(draws.normal(*pose.exposure)).clamp(max=2.0)
    image = photograph(draws, F.avg_pool2d(scene, 2), gain)
    masks = F.avg_pool2d(alpha, 2)[:, 0] > 0.5
    return (image * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).contiguous(), masks


def _painted(labels: Tensor, draws: Draws, size: int) -> Tensor:
    """(n,4,t,t): the drawing in this sign's own, faded colours, times its silhouette; last channel the silhouette."""
    drawings = torch.from_numpy(coverage(2 * size).copy())
    chosen = drawings[draws.choice(len(WEIGHTS)), labels]
    paint = _PAINT + draws.normal(0, 0.03, *_PAINT.shape)
    white = paint[:, :1] * (1 - draws.uniform(0, 1, 1, 1) ** 3 * torch.tensor([0.0, 0.1, 0.35]))
    # Sun bleaches red, blue and yellow towards a pale orange, pale blue, pale yellow; black greys.
    bleach = draws.uniform(0, 0.75, 1, 1) ** 3 * torch.tensor([0.0, 1.0, 0.35, 0.7, 0.5, 0.6, 0.3])[None, :, None]
    paint = torch.cat([white, paint[:, 1:]], 1)
    paint = (paint * (1 - bleach) + torch.tensor([0.85, 0.68, 0.62]) * bleach).clamp(0.02, 1)
    colour = torch.einsum("npxy,npc->ncxy", chosen, paint)
    return torch.cat([colour, chosen.sum(1, keepdim=True).clamp(max=1)], 1)


def _grid(labels: Tensor, draws: Draws, edge: int, pose: Pose) -> Tensor:
    """(n,edge,edge,2): for each pixel of the image the place on the drawing it shows."""
    reach = draws.uniform(*pose.reach)
    stretch = torch.exp(draws.normal(0, 0.03))
    tall = torch.isin(labels, _TRIANGLES) if pose.square else torch.zeros(draws.n, dtype=torch.bool)
    height = torch.where(tall, 1 / _TRIANGLE_HEIGHT, 1.0) / stretch
    shift = draws.normal(0, 0.045, 2)
    turn, shear = draws.normal(0, 0.07), draws.normal(0, 0.04)
    line = (torch.arange(edge) + 0.5) / edge * 2 - 1
    x = (line[None, None, :] - image_wise(shift[:, 0], 3)) / image_wise(reach, 3)
    y = (line[None, :, None] - image_wise(shift[:, 1], 3)) / image_wise(reach, 3)
    u = image_wise(turn.cos(), 3) * x + image_wise(turn.sin() + shear, 3) * y
    v = image_wise(turn.cos(), 3) * y - image_wise(turn.sin(), 3) * x
    tilt = draws.normal(0, 0.06, 2)
    depth = 1 + image_wise(tilt[:, 0], 3) * u + image_wise(tilt[:, 1], 3) * v
    return torch.stack([u / image_wise(stretch, 3), v / image_wise(height, 3)], -1) / depth[..., None] / MARGIN


def _neighbour(draws: Draws, scene: Tensor, size: int) -> Tensor:
    """Adds a piece of another sign at the edge of some scenes: signs often share a pole."""
    present = draws.chance(0.3)
    others = draws.choice(CLASSES)
    painted = _painted(others, draws, size)
    upright = draws.chance(0.75)
    away = torch.where(draws.chance(0.5), 1.0, -1.0) * draws.uniform(1.35, 1.75)
    aside = draws.normal(0, 0.15)
    shift = torch.where(upright[:, None], torch.stack([aside, away], 1), torch.stack([away, aside], 1))
    zoom = 1 / draws.uniform(0.65, 0.85)
    zero = torch.zeros_like(zoom)
    theta = torch.stack([zoom, zero, -shift[:, 0] * zoom, zero, zoom, -shift[:, 1] * zoom], 1).reshape(-1, 2, 3)
    index = present.nonzero()[:, 0]
    out = scene.clone()
    if len(index):
        grid = F.affine_grid(theta[index], [len(index), 4, *scene.shape[-2:]], align_corners=False)
        other = F.grid_sample(painted[index], grid, align_corners=False)
        out[index] = scene[index] * (1 - other[:, 3:]) + other[:, :3]
    return out


def _mounting(draws: Draws, scene: Tensor, grid: Tensor) -> Tensor:
    """A pole behind the sign and, now and then, a white plate below it."""
    edge = scene.shape[-1]
    x, y = grid[:, None, :, :, 0], grid[:, None, :, :, 1]
    pole = torch.sigmoid((image_wise(draws.uniform(0.04, 0.13)) - (x - image_wise(draws.normal(0, 0.06))).abs()) * edge)
    pole = pole * ((y > 0) | image_wise(draws.chance(0.4))) * image_wise(draws.chance(0.6).float())
    grey = image_wise(draws.uniform(0.1, 0.75)) * (1 + 0.3 * torch.sign(x))
    scene = scene * (1 - pole) + grey * pole
    low, half = image_wise(draws.uniform(0.98, 1.15)), image_wise(draws.uniform(0.5, 1.0))
    plate = (
        torch.sigmoid((y - low) * edge) * torch.sigmoid((half - x.abs()) * edge) * image_wise(draws.chance(0.2).float())
    )
    return scene * (1 - plate) + image_wise(draws.uniform(0.6, 0.95)) * plate


def _occluded(draws: Draws, scene: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """Puts a ragged blob (leaves, snow, a sticker) over the rim of some signs."""
    edge = scene.shape[-1]
    line = torch.linspace(-1, 1, edge)
    angle, distance = draws.uniform(0, 2 * torch.pi), draws.uniform(0.5, 0.95)
    x = line[None, None, None, :] - image_wise(angle.cos() * distance)
    y = line[None, None, :, None] - image_wise(angle.sin() * distance)
    ragged = noise(draws, edge, (5, 11)) * image_wise(draws.uniform(0, 0.25))
    inside = torch.sigmoid((image_wise(draws.uniform(0.08, 0.42)) - (x * x + y * y).sqrt() + ragged) * edge / 2)
    inside = inside * image_wise(draws.chance(0.12).float())
    stuff = image_wise(draws.uniform(0.03, 0.9) ** 1.5) * image_wise(draws.uniform(0.75, 1.1, 3))
    stuff = stuff * (1 + noise(draws, edge, (8, 24)) * 0.4)
    return scene * (1 - inside) + stuff * inside, alpha * (1 - inside)


def _shadow(draws: Draws, edge: int) -> Tensor:
    """(n,1,edge,edge) factor: an edge of shade, or dappled light under a tree, or none."""
    straight = _plane(draws, edge) * 2
    dappled = noise(draws, edge, (3, 6, 10)) * 1.5
    pattern = torch.where(image_wise(draws.chance(0.5)), straight, dappled) + image_wise(draws.normal(0, 0.4))
    dark = torch.sigmoid(pattern * image_wise(draws.uniform(2, 20)))
    return 1 - dark * image_wise(draws.uniform(0.2, 0.65) * draws.chance(0.28).float())


def _plane(draws: Draws, edge: int) -> Tensor:
    """(n,1,edge,edge): a ramp from about -1 to 1 in a random direction."""
    line, angle = torch.linspace(-1, 1, edge), draws.uniform(0, 2 * torch.pi)
    return image_wise(angle.cos()) * line[None, None, None, :] + image_wise(angle.sin()) * line[None, None, :, None]
