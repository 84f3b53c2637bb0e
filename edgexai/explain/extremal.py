"""Extremal Perturbation: the masks of fixed areas that keep the class best.

Source: Fong, Patrick & Vedaldi, ICCV 2019 (arXiv 1910.08485), with the settings of arXiv 2205.13042: 800 steps, areas
0.025, 0.05, 0.1, 0.2 of the image, mask values 7 pixels apart and smoothed over 21 at 224 pixels, the maps of all areas
added and smoothed (0.09 of the side). The area is held by the distance between the sorted mask and its ideal, whose
weight grows. Differs: that weight begins at nothing and is whole after a tenth of the steps (all values start alike, so
at first the order it sorts by means nothing); the smooth maximum is taken between mask values and then enlarged
bilinearly, instead of at every pixel; what the mask hides is one strong blur, not a pyramid of them; nothing is drawn.
Convention: map in [0,1], 1 = kept at every area.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
import torch
from torch import nn
from torch.nn.functional import interpolate, pad

from edgexai.errors import UserError
from edgexai.explain.contract import check_gradient_inputs, points_per_pass
from edgexai.explain.fill import blurred

_TEMPERATURE, _MOMENTUM, _GROWTH, _FIRST_WEIGHT = 20.0, 0.9, 1.0035, 300.0


def extremal_perturbation(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    *,
    seed: int = 0,
    steps: int = 800,
    areas: Sequence[float] = (0.025, 0.05, 0.1, 0.2),
    lr: float = 0.01,
    batch_size: int = 32,
) -> torch.Tensor:
    """Mean over areas of the masks that keep each image's target logit highest.

    Args:
        model: images -> logits (N,K), in eval mode; neither its parameters nor their ``.grad`` are touched.
        images: float (N,3,H,W) in [0,1]; not modified.
        targets: int64 (N,).
        seed: unused: nothing is drawn.
        steps: of gradient descent with momentum, each one forward and one backward pass per area.
        areas: shares of the image that may be shown, in (0,1).
        lr: of the descent.
        batch_size: masked images at a time, fewer of large ones (one image's areas are never split).

    Returns:
        (N,H,W) in [0,1], detached, on the images' device.

    Raises:
        ShapeError: wrong shapes or types.
        UserError: training mode, a target that is no class, or an option out of range.
    """
    check_gradient_inputs(model, images, targets, batch_size=batch_size)
    if steps < 1 or not areas or not all(0 < area < 1 for area in areas) or not lr > 0:
        raise UserError(f"steps = {steps}, areas = {list(areas)}, lr = {lr}; at least 1, each in (0,1), above 0")
    height, width = images.shape[2:]
    plain = images.detach().cpu().float().numpy()
    soft = torch.from_numpy(blurred(plain, sigma=max(height, width) / 8)).to(images)
    per_pass = max(1, points_per_pass(images, batch_size) // len(areas))
    maps = []
    for start in range(0, len(images), per_pass):
        part = slice(start, start + per_pass)
        masks = _descend(model, images[part].detach(), soft[part], targets[part], steps=steps, areas=areas, lr=lr)
        maps.append(masks.mean(dim=1))
    whole = torch.cat(maps).cpu().float().numpy()[:, None]
    smooth = blurred(np.ascontiguousarray(whole), sigma=0.09 * min(height, width))
    return torch.from_numpy(smooth[:, 0].clip(0, 1)).to(images)


def _descend(
    model: nn.Module,
    images: torch.Tensor,
    soft: torch.Tensor,
    targets: torch.Tensor,
    *,
    steps: int,
    areas: Sequence[float],
    lr: float,
) -> torch.Tensor:
    """(N,A,H,W): the mask of every image and area."""
    n, (height, width), a = len(images), images.shape[2:], len(areas)
    step = max(2, round(7 * min(height, width) / 224))
    rows, columns = -(-height // step), -(-width // step)
    kernel = _kernel(3.0).to(images)  # 21 pixels are three mask values of 7
    pixels = height * width
    ideal = torch.stack([(torch.arange(pixels) >= round(pixels * (1 - area))).float() for area in areas]).to(images)
    ideal = ideal.repeat(n, 1)
    image, blur, target = (t.repeat_interleave(a, dim=0) for t in (images, soft, targets))
    values = torch.full((n * a, 1, rows, columns), 0.5).to(images).requires_grad_(True)
    velocity = torch.zeros_like(values)
    weight = _FIRST_WEIGHT
    for number in range(steps):
        begun = min(1.0, number / max(1, steps // 10))
        with torch.enable_grad():
            mask = interpolate(_smooth_maximum(values, kernel), size=(height, width), mode="bilinear")
            logit = model(mask * image + (1 - mask) * blur).gather(1, target[:, None])[:, 0]
            off = (mask.flatten(1).sort(dim=1).values - ideal).square().mean(dim=1)
            gradient = torch.autograd.grad((begun * weight * off - logit).sum(), values)[0]
        with torch.no_grad():
            velocity.mul_(_MOMENTUM).add_(gradient)
            values.sub_(lr * velocity).clamp_(0, 1)
        weight *= _GROWTH
    with torch.no_grad():
        mask = interpolate(_smooth_maximum(values, kernel), size=(height, width), mode="bilinear")
    return mask.reshape(n, a, height, width)


def _kernel(sigma: float) -> torch.Tensor:
    """(k,k): 1 up to half of ``sigma`` (in mask values), then exp(-2 (d / sigma - 1/2)^2)."""
    reach = ceil(1.5 * sigma)
    offset = torch.arange(-reach, reach + 1, dtype=torch.float32)
    distance = (offset[:, None] ** 2 + offset[None, :] ** 2).sqrt() / sigma
    return torch.exp(-2 * (distance - 0.5).clamp(min=0) ** 2)


def _smooth_maximum(values: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """At every mask value, the softmax-weighted maximum of its neighbours times the kernel. (B,1,h,w)."""
    reach = kernel.shape[0] // 2
    around = pad(values, (reach,) * 4, mode="constant", value=0.0)
    near = around.unfold(2, kernel.shape[0], 1).unfold(3, kernel.shape[1], 1)
    weighted = (near * kernel).flatten(4)
    maximum: torch.Tensor = (weighted * (_TEMPERATURE * weighted).softmax(dim=-1)).sum(dim=-1)
    return maximum
