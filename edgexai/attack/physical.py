"""What patch and sticker share: checks, the climb over poses and light, the result with its random control.

Convention: the margin (largest other logit minus the label's) is climbed by Adam and counts up to 2 for an image, so
that images that fell long ago do not rule the sum. Prints are optimised in [0,1] by clamping.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from edgexai.attack.ball import check_attack_input
from edgexai.attack.loss import image_losses
from edgexai.errors import ShapeError, UserError
from edgexai.types import Differentiable

_STEP = 0.05
_ENOUGH = 2.0
_SCENE_GAIN = (0.85, 1.15)
"""Of the whole scene, while climbing: a darker day darkens sign and print."""

Show = Callable[[torch.Tensor, int | None], tuple[torch.Tensor, torch.Tensor]]
"""(prints, step) -> images with the prints in the poses of that step, and the pixels that show them."""


@dataclass(frozen=True)
class PhysicalResult:
    """What a printed attack makes of N images.

    Attributes:
        images: float32 (N,3,H,W), detached: the optimised print, in a pose and light that it was not optimised for.
        control: the same pose, light and size with random colours.
        changed: bool (N,H,W): pixels that show the print; all others are the image's own.
        area_of_region: float64 (N,), share of the region's pixels that show the print; NaN where the region is empty.
        prints: the optimised colours, float32 in [0,1].
    """

    images: torch.Tensor
    control: torch.Tensor
    changed: torch.Tensor
    area_of_region: NDArray[np.float64]
    prints: torch.Tensor


def checked_region(
    images: torch.Tensor, labels: torch.Tensor, region: NDArray[np.bool_] | None, *, area: float, steps: int
) -> NDArray[np.bool_]:
    """The region as bool (N,H,W); the whole image where None.

    Raises:
        ShapeError, UserError: as ``check_attack_input``; the region has another shape, or a number is out of range.
    """
    check_attack_input(images, labels, eps=1.0)
    shape = (len(images), *images.shape[2:])
    if not 0 < area <= 0.5 or steps < 0:
        raise UserError(f"area = {area}, steps = {steps}: a share of the region in (0, 0.5], and at least 0")
    if region is None:
        return np.ones(shape, dtype=np.bool_)
    if region.shape != shape or region.dtype != np.bool_:
        raise ShapeError(f"region: {region.dtype} {region.shape}; {len(images)} images need bool {shape}")
    return region


def climb(
    model: Differentiable,
    show: Show,
    labels: Callable[[int], torch.Tensor],
    prints: torch.Tensor,
    *,
    steps: int,
    generator: np.random.Generator,
) -> torch.Tensor:
    """Prints that make the model err over many poses.

    Args:
        model: images -> logits, in eval mode.
        show: see ``Show``; called with steps 0 to ``steps`` - 1.
        labels: step -> the true classes of the images it shows.
        prints: float32 (...,3,h,w) in [0,1], where to start; not modified.
        steps: of Adam, the step size falling to a tenth.
        generator: of the scene's light.

    Returns:
        float32, in [0,1], detached.
    """
    best = prints.detach().clone().requires_grad_(True)
    optimiser = torch.optim.Adam([best], lr=_STEP)
    with torch.enable_grad():
        for step in range(steps):
            optimiser.param_groups[0]["lr"] = _STEP * (1 - 0.9 * step / steps)
            shown, _ = show(best, step)
            light = generator.uniform(*_SCENE_GAIN, size=len(shown)).astype(np.float32)
            gain = torch.from_numpy(light).to(shown.device)[:, None, None, None]
            margins = image_losses(model((shown * gain).clamp(0, 1)), labels(step), loss="margin")
            (gradient,) = torch.autograd.grad(-margins.clamp(max=_ENOUGH).sum(), best)
            best.grad = gradient
            optimiser.step()
            with torch.no_grad():
                best.clamp_(0, 1)
    return best.detach()


def finished(show: Show, prints: torch.Tensor, colours: torch.Tensor, region: NDArray[np.bool_]) -> PhysicalResult:
    """The prints and the random colours in the poses that are kept for judging (``step`` None)."""
    with torch.no_grad():
        images, changed = show(prints, None)
        control, _ = show(colours, None)
    pixels = region.sum((1, 2))
    share = changed.cpu().numpy().sum((1, 2)) / np.where(pixels > 0, pixels, np.nan)
    return PhysicalResult(images.detach(), control.detach(), changed, share, prints)
