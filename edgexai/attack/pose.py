"""Where a printed thing lies in an image and how it is lit: what a physical attack is averaged over (EOT).

Source: Athalye et al., ICML 2018 (expectation over transformation). A print is a small picture that covers a turned
rectangle; a pixel whose centre lies in the rectangle and in the region shows the print, all others stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

TURN = np.deg2rad(15.0)
SCALE, GAIN, BIAS = (0.9, 1.1), (0.8, 1.2), (-0.05, 0.05)
SHIFT = 0.05
"""Of the region's box, each way: how badly the print was stuck on."""


@dataclass(frozen=True)
class Poses:
    """One pose and light for each of N images; float32 tensors (N,), lengths in pixels.

    Attributes:
        x, y: centre of the print, pixel corners at whole numbers.
        width, height: of the print.
        turn: radians, clockwise on the screen.
        gain, bias: a printed colour c is seen as gain * c + bias, clipped to [0,1].
    """

    x: torch.Tensor
    y: torch.Tensor
    width: torch.Tensor
    height: torch.Tensor
    turn: torch.Tensor
    gain: torch.Tensor
    bias: torch.Tensor


@dataclass(frozen=True)
class Jitter:
    """Draws of N images: float64 (N,), turn, scale, gain and bias in their ranges, across and down in [-1,1]."""

    turn: NDArray[np.float64]
    scale: NDArray[np.float64]
    gain: NDArray[np.float64]
    bias: NDArray[np.float64]
    across: NDArray[np.float64]
    down: NDArray[np.float64]

    @staticmethod
    def draw(n: int, generator: np.random.Generator) -> Jitter:
        """N independent draws."""
        unit = generator.uniform(-1, 1, (6, n))
        low = [-TURN, SCALE[0], GAIN[0], BIAS[0], -1.0, -1.0]
        high = [TURN, SCALE[1], GAIN[1], BIAS[1], 1.0, 1.0]
        made = [a + (b - a) * (row + 1) / 2 for a, b, row in zip(low, high, unit, strict=True)]
        return Jitter(*made)

    @staticmethod
    def of_images(streams: list[np.random.Generator]) -> Jitter:
        """One draw from each image's own stream, so that batching does not change it."""
        drawn = [Jitter.draw(1, stream) for stream in streams]
        names = ("turn", "scale", "gain", "bias", "across", "down")
        return Jitter(*(np.array([getattr(one, name)[0] for one in drawn]) for name in names))


@dataclass(frozen=True)
class Boxes:
    """Tight boxes of regions, and their areas: float64 (N,), pixels; an empty region has area 0."""

    left: NDArray[np.float64]
    top: NDArray[np.float64]
    width: NDArray[np.float64]
    height: NDArray[np.float64]
    area: NDArray[np.float64]

    @staticmethod
    def around(region: NDArray[np.bool_]) -> Boxes:
        """Of bool (N,H,W)."""
        columns, rows = np.asarray(region.any(1)), np.asarray(region.any(2))
        left, top = columns.argmax(1), rows.argmax(1)
        right, bottom = region.shape[2] - columns[:, ::-1].argmax(1), region.shape[1] - rows[:, ::-1].argmax(1)
        area = region.sum((1, 2))
        sides = (left, top, right - left, bottom - top, area)
        return Boxes(*(np.where(area > 0, side, 0).astype(np.float64) for side in sides))

    def take(self, index: NDArray[np.int64]) -> Boxes:
        """Those at ``index``."""
        return Boxes(self.left[index], self.top[index], self.width[index], self.height[index], self.area[index])


def as_poses(
    jitter: Jitter,
    *,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    width: NDArray[np.float64],
    height: NDArray[np.float64],
    device: torch.device,
) -> Poses:
    """Poses of prints whose places are known; scale, turn and light are the jitter's."""
    values = (x, y, width * jitter.scale, height * jitter.scale, jitter.turn, jitter.gain, jitter.bias)
    return Poses(*(torch.from_numpy(np.ascontiguousarray(v, dtype=np.float32)).to(device) for v in values))


def paste(
    prints: torch.Tensor, images: torch.Tensor, poses: Poses, *, region: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Images with a print on each.

    Args:
        prints: float32 (N,3,h,w) in [0,1], or (1,3,h,w) for all; gradients flow through them.
        images: float32 (N,3,H,W) in [0,1]; not modified.
        poses: of N images.
        region: bool (N,H,W): pixels that may change.

    Returns:
        float32 (N,3,H,W) in [0,1], and bool (N,H,W): pixels that show the print.
    """
    n, _, tall, wide = images.shape
    rows = torch.arange(tall, device=images.device, dtype=torch.float32) + 0.5
    columns = torch.arange(wide, device=images.device, dtype=torch.float32) + 0.5
    down = (rows[None, :, None] - poses.y[:, None, None]).expand(n, tall, wide)
    across = (columns[None, None, :] - poses.x[:, None, None]).expand(n, tall, wide)
    cos, sin = poses.turn.cos()[:, None, None], poses.turn.sin()[:, None, None]
    u = (cos * across + sin * down) / (poses.width[:, None, None] / 2).clamp_min(1e-6)
    v = (cos * down - sin * across) / (poses.height[:, None, None] / 2).clamp_min(1e-6)
    inside = (u.abs() <= 1) & (v.abs() <= 1) & region
    seen = torch.nn.functional.grid_sample(
        prints.expand(n, -1, -1, -1), torch.stack([u, v], -1), padding_mode="border", align_corners=False
    )
    lit = (seen * poses.gain[:, None, None, None] + poses.bias[:, None, None, None]).clamp(0, 1)
    return torch.where(inside[:, None], lit, images), inside
