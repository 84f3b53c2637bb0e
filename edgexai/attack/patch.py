"""Adversarial patch: one printed square that makes a network err wherever it is stuck on a sign, whatever the sign.

Source: Brown et al., arXiv 1712.09665. Differs: untargeted; the place is drawn within the sign's region (its mask or
box), as somebody who tampers with a sign would stick it, and the patch is clipped to that region. It is learned on
images of its own where those are given, and is judged in a pose and light drawn anew.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from edgexai.attack.physical import PhysicalResult, checked_region, climb, finished
from edgexai.attack.pose import Boxes, Jitter, Poses, as_poses, paste
from edgexai.attack.stream import image_streams
from edgexai.types import Differentiable

CELLS = 12
"""Of the print, per side: coarser than the camera sees, so that it can be printed."""
_BATCH = 64


def patch(
    model: Differentiable,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    region: NDArray[np.bool_] | None,
    area: float,
    steps: int,
    seed: int,
    learn: tuple[torch.Tensor, torch.Tensor, NDArray[np.bool_] | None] | None = None,
) -> PhysicalResult:
    """One patch for all images.

    Args:
        model: images -> logits, in eval mode, see ``edgexai.attack.fgsm.loss_gradient``.
        images: float32 (N,3,H,W) in [0,1], N >= 1; not modified.
        labels: int64 (N,), the true classes.
        region: bool (N,H,W): the sign; None = the whole image. An image whose region is empty stays as it is.
        area: of the patch, as a share of the region's pixels, in (0, 0.5].
        steps: gradient steps, each over at most 64 images in poses drawn anew; 0 leaves random colours.
        seed: of start, poses and light. The pose an image is judged in is keyed by its bytes.
        learn: images, labels and region to learn the patch on; None = on the very images that are judged, which makes
            it stronger than any patch that was printed beforehand.

    Returns:
        A ``PhysicalResult``; ``prints`` is (1,3,12,12).

    Raises:
        ShapeError, UserError: shapes, pixels or numbers are off.
    """
    here = checked_region(images, labels, region, area=area, steps=steps)
    on, true, within = (images, labels, here) if learn is None else learn
    there = here if learn is None else checked_region(on, true, within, area=area, steps=steps)
    device = images.device
    draws = np.random.default_rng([seed, 41])
    start = torch.from_numpy(draws.random((1, 3, CELLS, CELLS), dtype=np.float32)).to(device)
    colours = torch.from_numpy(draws.random((1, 3, CELLS, CELLS), dtype=np.float32)).to(device)
    usable = np.flatnonzero(there.any((1, 2)))
    boxes, own = Boxes.around(there), Boxes.around(here)
    judged = _poses(
        Jitter.of_images(image_streams(images.cpu().numpy(), seed=seed, purpose="patch")), own, area, device
    )
    chosen = [draws.permutation(usable)[:_BATCH] for _ in range(steps)] if len(usable) else []
    masks, kept = torch.from_numpy(there).to(device), torch.from_numpy(here).to(device)

    def show(prints: torch.Tensor, step: int | None) -> tuple[torch.Tensor, torch.Tensor]:
        if step is None:
            return paste(prints, images, judged, region=kept)
        index = chosen[step]
        place = torch.from_numpy(index).to(device)
        poses = _poses(Jitter.draw(len(index), draws), boxes.take(index), area, device)
        return paste(prints, on[place], poses, region=masks[place])

    def labels_of(step: int) -> torch.Tensor:
        return true[torch.from_numpy(chosen[step]).to(device)]

    learned = climb(model, show, labels_of, start, steps=len(chosen), generator=draws)
    return finished(show, learned, colours, here)


def _poses(jitter: Jitter, boxes: Boxes, area: float, device: torch.device) -> Poses:
    """Anywhere in the region's box from which the square does not stick out."""
    side = np.maximum(np.sqrt(area * boxes.area), 1.0)
    room_x, room_y = np.maximum(boxes.width - side, 0) / 2, np.maximum(boxes.height - side, 0) / 2
    x = boxes.left + boxes.width / 2 + jitter.across * room_x
    y = boxes.top + boxes.height / 2 + jitter.down * room_y
    return as_poses(jitter, x=x, y=y, width=side, height=side, device=device)
