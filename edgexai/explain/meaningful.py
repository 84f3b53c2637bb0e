"""Meaningful Perturbation: the smallest smooth mask whose blurring takes the class away.

Source: Fong & Vedaldi, ICCV 2017 (arXiv 1704.03296), the deletion game, with the settings of arXiv 2205.13042: Adam,
learning rate 0.1, beta 3, weights 0.01 (area) and 0.2 (variation). Minimises, for every image on its own,
0.01 mean(1 - m) + 0.2 mean(|grad m|^3) + p(target | m x + (1 - m) blur(x)). Differs: no jitter and no noise, so nothing
is drawn; the mask starts at 1 (all shown). Convention: map = 1 - m, in [0,1]; 1 = must be blurred.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import interpolate

from edgexai.errors import UserError
from edgexai.explain.contract import check_gradient_inputs, points_per_pass
from edgexai.explain.fill import blurred

_BETAS = (0.9, 0.999)


def meaningful_perturbation(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    *,
    seed: int = 0,
    steps: int = 500,
    cell: int | None = None,
    lr: float = 0.1,
    area_weight: float = 0.01,
    variation_weight: float = 0.2,
    batch_size: int = 32,
) -> torch.Tensor:
    """The mask of each image's target class, found by gradient descent.

    Args:
        model: images -> logits (N,K), in eval mode; neither its parameters nor their ``.grad`` are touched.
        images: float (N,3,H,W) in [0,1]; not modified.
        targets: int64 (N,).
        seed: unused: nothing is drawn.
        steps: of the descent, each one forward and one backward pass.
        cell: pixels per mask value and side; None: a 28th of the shorter side, at least 2.
        lr: of Adam.
        area_weight, variation_weight: of the two penalties.
        batch_size: images at a time, fewer of large ones.

    Returns:
        (N,H,W) in [0,1], detached, on the images' device.

    Raises:
        ShapeError: wrong shapes or types.
        UserError: training mode, a target that is no class, or an option out of range.
    """
    check_gradient_inputs(model, images, targets, batch_size=batch_size)
    height, width = images.shape[2:]
    cell = max(2, min(height, width) // 28) if cell is None else cell
    if steps < 1 or not lr > 0 or not 1 <= cell <= min(height, width):
        raise UserError(f"steps = {steps}, lr = {lr}, cell = {cell}; at least 1, above 0, 1 to {min(height, width)}")
    soft = torch.from_numpy(blurred(images.detach().cpu().float().numpy(), sigma=max(height, width) / 16)).to(images)
    maps = []
    per_pass = points_per_pass(images, batch_size)
    for start in range(0, len(images), per_pass):
        part = slice(start, start + per_pass)
        image, blur, target = images[part].detach(), soft[part], targets[part]
        small = torch.ones((len(image), 1, -(-height // cell), -(-width // cell))).to(image).requires_grad_(True)
        # Adam by hand: torch's own imports its compiler, seconds before the first step. It looks at every value alone,
        # so one image's mask does not depend on the others.
        first, second = torch.zeros_like(small), torch.zeros_like(small)
        for number in range(1, steps + 1):
            with torch.enable_grad():
                mask = interpolate(small, size=(height, width), mode="bilinear", align_corners=False)
                share = model(mask * image + (1 - mask) * blur).softmax(dim=1).gather(1, target[:, None])[:, 0]
                area = (1 - small).mean(dim=(1, 2, 3))
                down = (small[:, :, 1:] - small[:, :, :-1]).abs() ** 3
                across = (small[..., 1:] - small[..., :-1]).abs() ** 3
                variation = down.mean(dim=(1, 2, 3)) + across.mean(dim=(1, 2, 3))
                loss = (share + area_weight * area + variation_weight * variation).sum()
                gradient = torch.autograd.grad(loss, small)[0]
            with torch.no_grad():
                first.lerp_(gradient, 1 - _BETAS[0])
                second.lerp_(gradient.square(), 1 - _BETAS[1])
                size = (second / (1 - _BETAS[1] ** number)).sqrt() + 1e-8
                small.sub_(lr * first / (1 - _BETAS[0] ** number) / size).clamp_(0, 1)
        with torch.no_grad():
            mask = interpolate(small, size=(height, width), mode="bilinear", align_corners=False)
            maps.append(1 - mask[:, 0])
    return torch.cat(maps)
