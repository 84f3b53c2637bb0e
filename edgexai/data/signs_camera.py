"""The camera behind the rendered scenes: resolution, blur, exposure, sensor noise, colour fringes, block compression.

Convention: float32 (n,3,size,size) display values in and out, in [0,1] after ``photograph``. Lengths scale with
``size``, so a 64-pixel image is blurred over twice as many pixels as one of 32.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from edgexai.data.signs_draws import Draws, image_wise

_RESOLUTIONS = (1.0, 1.0, 1.0, 1.0, 0.8, 0.6)
"""Share of the final resolution an image was taken at; one is picked per image."""


def photograph(draws: Draws, scene: Tensor, gain: Tensor) -> Tensor:
    """Lens, sensor and file of a small road camera.

    Args:
        draws: stream of the batch.
        scene: (n,3,size,size) lit scenes.
        gain: (n,) exposure; 1 shows white paint in even light at about 0.85.
    Returns:
        (n,3,size,size) in [0,1].
    """
    size = scene.shape[-1]
    image = _blur(draws, _resample(draws, scene))
    image = _fringe(draws, image)
    # Veiling light and the sensor's dark level lift black, the more the brighter the picture is.
    veil = image_wise(draws.uniform(0.01, 0.06)) + image_wise(draws.uniform(0, 0.7) ** 5)
    warmth = draws.normal(-0.02, 0.06, 1) * torch.tensor([1.0, 0.0, -1.0])
    cast = image_wise(1 + warmth + draws.normal(0, 0.03, 3))
    image = image * image_wise(gain) * cast * (1 - veil) + veil * image_wise(gain.clamp(0.15, 1.2))
    image = image.clamp(min=0) ** image_wise(draws.uniform(0.85, 1.2))
    # Over-sharpening of cheap cameras: the difference from a small average, added back.
    soft = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, 1)
    image = image + (image - soft) * image_wise(draws.uniform(-0.4, 0.9).clamp(min=0))
    grain = draws.normal(0, 1.0, 1, size, size) + 0.6 * draws.normal(0, 1.0, 3, size, size)
    image = image + grain * image_wise(draws.uniform(0.002, 0.17) ** 2.4) * (0.3 + image.clamp(0, 1)).sqrt()
    image = image.clamp(0, 1)
    squeezed = draws.chance(0.12)
    image[squeezed] = _blocks(image[squeezed], (draws.uniform(0.03, 0.2) * image.mean((1, 2, 3)))[squeezed])
    return image


def _resample(draws: Draws, scene: Tensor) -> Tensor:
    """Takes some of the images at fewer pixels and enlarges them again."""
    size, picked, out = scene.shape[-1], draws.choice(len(_RESOLUTIONS)), scene.clone()
    for k, share in enumerate(_RESOLUTIONS):
        chosen = picked == k
        if share < 1 and chosen.any():
            small = F.interpolate(scene[chosen], size=round(size * share), mode="bilinear", antialias=True)
            out[chosen] = F.interpolate(small, size=size, mode="bilinear", align_corners=False)
    return out


def _blur(draws: Draws, image: Tensor) -> Tensor:
    """Gaussian blur, longer in one direction: defocus and motion at once."""
    n, _, size, _ = image.shape
    unit = size / 32
    radius = math.ceil(3 * unit)
    across = (0.25 + 0.6 * draws.uniform(0, 1) ** 1.8) * unit
    along = across + draws.uniform(0, 1) ** 4 * 1.4 * unit
    angle = draws.uniform(0, math.pi)
    line = torch.arange(-radius, radius + 1, dtype=torch.float32)
    x, y = line[None, None, :], line[None, :, None]
    u = image_wise(angle.cos(), 3) * x + image_wise(angle.sin(), 3) * y
    v = image_wise(angle.cos(), 3) * y - image_wise(angle.sin(), 3) * x
    kernel = torch.exp(-0.5 * ((u / image_wise(along, 3)) ** 2 + (v / image_wise(across, 3)) ** 2))
    kernel = (kernel / kernel.sum((1, 2), keepdim=True)).repeat_interleave(3, 0)[:, None]
    padded = F.pad(image, (radius,) * 4, mode="replicate").reshape(1, n * 3, size + 2 * radius, -1)
    return F.conv2d(padded, kernel, groups=n * 3).reshape(n, 3, size, size)


def _fringe(draws: Draws, image: Tensor) -> Tensor:
    """Shifts red and blue against green by a fraction of a pixel, as lenses and colour filters do."""
    for channel in (0, 2):
        for dim in (2, 3):
            share = image_wise(draws.normal(0, 0.22), 3)
            plane = image[:, channel]
            moved = torch.where(share > 0, plane.roll(1, dim - 1), plane.roll(-1, dim - 1))
            mixed = plane * (1 - share.abs()) + moved * share.abs()
            image = torch.cat([image[:, :channel], mixed[:, None], image[:, channel + 1 :]], 1)
    return image


def _blocks(image: Tensor, step: Tensor) -> Tensor:
    """Rounds the cosine coefficients of 8x8 blocks, coarser for the finer waves: the artefacts of JPEG."""
    n, _, size, _ = image.shape
    full = math.ceil(size / 8) * 8
    padded = F.pad(image, (0, full - size, 0, full - size), mode="replicate")
    k = torch.arange(8, dtype=torch.float32)
    basis = torch.cos(math.pi / 8 * (k[None, :] + 0.5) * k[:, None]) * 0.5
    basis[0] /= math.sqrt(2)
    tiles = padded.reshape(n, 3, full // 8, 8, full // 8, 8).permute(0, 1, 2, 4, 3, 5)
    waves = basis @ tiles @ basis.T
    coarse = image_wise(step, 6) * (1 + k[:, None] + k[None, :]) * 0.6
    tiles = basis.T @ ((waves / coarse).round() * coarse) @ basis
    return tiles.permute(0, 1, 2, 4, 3, 5).reshape(n, 3, full, full)[:, :, :size, :size].clamp(0, 1)
