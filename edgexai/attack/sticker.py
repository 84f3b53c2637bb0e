"""Stickers on a sign: two bars, their colours optimised for each sign under changes of pose and light.

Source: Eykholt et al. (RP2), CVPR 2018: perturbation confined to sticker-shaped masks, averaged over views. Differs:
the bars' places are fixed (above and below the middle, as on their stop sign), untargeted, one image stands for its
sign's views, and instead of a penalty for colours that cannot be printed the colours are few: 2 x 6 a bar.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from edgexai.attack.physical import PhysicalResult, checked_region, climb, finished
from edgexai.attack.pose import SHIFT, Boxes, Jitter, Poses, as_poses, paste
from edgexai.attack.stream import image_streams
from edgexai.types import Differentiable

COLOURS = (2, 6)
"""Of one bar, down and across."""
_WIDE = 0.6
_OFFSET = 0.22
_BATCH = 128


def sticker(
    model: Differentiable,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    region: NDArray[np.bool_] | None,
    area: float,
    steps: int,
    seed: int,
) -> PhysicalResult:
    """Two stickers for every image.

    Args:
        model: images -> logits, in eval mode, see ``edgexai.attack.fgsm.loss_gradient``.
        images: float32 (N,3,H,W) in [0,1], N >= 1; not modified.
        labels: int64 (N,), the true classes.
        region: bool (N,H,W): the sign; None = the whole image. An image whose region is empty stays as it is.
        area: of both bars together, as a share of the region's pixels, in (0, 0.5].
        steps: gradient steps, each in a pose drawn anew; 0 leaves random colours.
        seed: of start, poses and light. Start and the pose an image is judged in are keyed by its bytes.

    Returns:
        A ``PhysicalResult``; ``prints`` is (N,2,3,2,6): bars, colours, rows, columns.

    Raises:
        ShapeError, UserError: shapes, pixels or numbers are off.
    """
    here = checked_region(images, labels, region, area=area, steps=steps)
    parts = [
        _some(
            model,
            images[k : k + _BATCH],
            labels[k : k + _BATCH],
            here[k : k + _BATCH],
            area=area,
            steps=steps,
            seed=seed,
        )
        for k in range(0, len(images), _BATCH)
    ]
    return PhysicalResult(
        torch.cat([p.images for p in parts]),
        torch.cat([p.control for p in parts]),
        torch.cat([p.changed for p in parts]),
        np.concatenate([p.area_of_region for p in parts]),
        torch.cat([p.prints for p in parts]),
    )


def _some(
    model: Differentiable,
    images: torch.Tensor,
    labels: torch.Tensor,
    region: NDArray[np.bool_],
    *,
    area: float,
    steps: int,
    seed: int,
) -> PhysicalResult:
    device, boxes, kept = images.device, Boxes.around(region), torch.from_numpy(region).to(images.device)
    streams = image_streams(images.cpu().numpy(), seed=seed, purpose="sticker")
    shape = (2, 3, *COLOURS)
    start = torch.from_numpy(np.stack([s.random(shape, dtype=np.float32) for s in streams])).to(device)
    colours = torch.from_numpy(np.stack([s.random(shape, dtype=np.float32) for s in streams])).to(device)
    judged = Jitter.of_images(streams)
    draws = np.random.default_rng([seed, 42])

    def show(prints: torch.Tensor, step: int | None) -> tuple[torch.Tensor, torch.Tensor]:
        jitter = judged if step is None else Jitter.draw(len(images), draws)
        seen, changed = images, torch.zeros_like(kept)
        for bar, offset in enumerate((-_OFFSET, _OFFSET)):
            seen, inside = paste(prints[:, bar], seen, _poses(jitter, boxes, offset, area, device), region=kept)
            changed = changed | inside
        return seen, changed

    learned = climb(model, show, lambda step: labels, start, steps=steps, generator=draws)
    return finished(show, learned, colours, region)


def _poses(jitter: Jitter, boxes: Boxes, offset: float, area: float, device: torch.device) -> Poses:
    width = np.maximum(_WIDE * boxes.width, 1.0)
    height = np.maximum(area * boxes.area / 2 / width, 1.0)
    x = boxes.left + (0.5 + SHIFT * jitter.across) * boxes.width
    y = boxes.top + (0.5 + offset + SHIFT * jitter.down) * boxes.height
    return as_poses(jitter, x=x, y=y, width=width, height=height, device=device)
