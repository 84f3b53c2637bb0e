"""Random starts that belong to an image and not to its batch."""

from __future__ import annotations

import numpy as np
import torch

from edgexai.attack.ball import Norm, ascent, project
from edgexai.attack.stream import image_streams


def sphere_start(images: torch.Tensor, *, eps: float, norm: Norm, seed: int, purpose: str) -> torch.Tensor:
    """A random point at distance eps from each image, then clipped to [0,1]; APGD's start.

    Args:
        images: float32 (N,3,H,W) in [0,1], any device and memory format (kept); not modified.
        eps, norm: of the ball. linf: uniform in the cube, stretched until one pixel touches; l2: a uniform direction.
        seed, purpose: keyed with each image's bytes, so batching does not change the draw; NumPy draws it, so neither
            does the device.

    Returns:
        float32 (N,3,H,W) in the ball and in [0,1].
    """
    shape = tuple(images.shape[1:])
    draws = np.empty((len(images), *shape), dtype=np.float32)
    for row, stream in enumerate(image_streams(images.cpu().numpy(), seed=seed, purpose=purpose)):
        uniform = norm == "linf"
        draws[row] = (
            2 * stream.random(shape, dtype=np.float32) - 1 if uniform else stream.standard_normal(shape, np.float32)
        )
    draw = torch.from_numpy(draws).to(images.device)
    if norm == "linf":
        direction = draw / draw.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-12)
    else:
        direction = ascent(draw, norm=norm)
    return project(images + eps * direction, images, eps=eps, norm=norm)
