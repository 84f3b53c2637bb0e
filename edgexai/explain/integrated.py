"""Integrated gradients (IG): the target logit's change from a baseline image, shared out among the pixels.

Source: Sundararajan et al., 2017 (arXiv 1703.01365), computed by Captum's ``IntegratedGradients`` with Gauss-Legendre
nodes. Convention: (x - x0) times the path integral, *signed*, summed over channels; unit: logit. The path and the
baseline live in pixels of [0,1], before the network's own normalisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from captum.attr import IntegratedGradients
from torch import nn

from edgexai.errors import ShapeError, UserError
from edgexai.explain.contract import check_gradient_inputs, points_per_pass

Baseline: TypeAlias = Literal["black", "mean"] | Sequence[float]
"""``black``: 0. ``mean``: the image's own mean colour. Or one colour in [0,1], e.g. the data set's mean."""


def integrated_gradients(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    *,
    seed: int = 0,
    steps: int = 50,
    baseline: Baseline = "black",
    batch_size: int = 256,
) -> torch.Tensor:
    """Signed integrated gradients of each image's target logit.

    Args:
        model: images -> logits (N,K), in eval mode; neither its parameters nor their ``.grad`` are touched.
        images: float (N,3,H,W) in [0,1]; not modified.
        targets: int64 (N,).
        seed: unused: nothing is drawn.
        steps: points on the path; ``completeness_gap`` says whether they were enough.
        baseline: see ``Baseline``.
        batch_size: points per pass, fewer of large images.

    Returns:
        (N,H,W) in logits, detached; sums to logit(x) - logit(baseline) up to ``completeness_gap``.

    Raises:
        ShapeError: wrong shapes or types.
        UserError: training mode, a target that is no class, ``steps`` < 1 or an unknown baseline.
    """
    check_gradient_inputs(model, images, targets, batch_size=batch_size)
    if steps < 1:
        raise UserError(f"steps = {steps}; must be at least 1")
    start_images = _baseline_images(images, baseline)
    integrator = IntegratedGradients(model)
    points = points_per_pass(images, batch_size)
    per_pass = max(1, points // steps)
    maps = []
    for start in range(0, len(images), per_pass):
        part = slice(start, start + per_pass)
        chunk = images[part].detach().clone().requires_grad_(True)
        signed = integrator.attribute(
            chunk,
            baselines=start_images[part],
            target=targets[part],
            n_steps=steps,
            internal_batch_size=points if steps > points else None,
        )
        maps.append(signed.detach().sum(dim=1))
    return torch.cat(maps)


def completeness_gap(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    *,
    maps: torch.Tensor,
    baseline: Baseline = "black",
    batch_size: int = 256,
) -> torch.Tensor:
    """How far integrated gradients miss the axiom of completeness: |sum(map) - (logit(x) - logit(x0))|.

    Args:
        model, images, targets, baseline: as given to ``integrated_gradients``.
        maps: (N,H,W), what it returned.
        batch_size: images per pass, fewer of large ones.

    Returns:
        (N,) >= 0, in logits.

    Raises:
        ShapeError: wrong shapes or types.
        UserError: as ``integrated_gradients``.
    """
    check_gradient_inputs(model, images, targets, batch_size=batch_size)
    if maps.shape != (len(images), *images.shape[2:]):
        raise ShapeError(f"maps: {tuple(maps.shape)}; wanted {(len(images), *images.shape[2:])}")
    start_images = _baseline_images(images, baseline)
    gaps = []
    with torch.no_grad():
        per_pass = points_per_pass(images, batch_size)
        for start in range(0, len(images), per_pass):
            part = slice(start, start + per_pass)
            change = model(images[part].detach()) - model(start_images[part])
            change = change.gather(1, targets[part, None])[:, 0]
            gaps.append((maps[part].detach().flatten(1).sum(dim=1) - change).abs())
    return torch.cat(gaps)


def _baseline_images(images: torch.Tensor, baseline: Baseline) -> torch.Tensor:
    if not isinstance(baseline, str):
        if len(baseline) != images.shape[1]:
            raise _unknown_baseline(baseline)
        colour = torch.tensor([float(value) for value in baseline]).to(images)
        return colour[None, :, None, None].expand_as(images).contiguous()
    if baseline == "black":
        return torch.zeros_like(images, requires_grad=False)
    if baseline == "mean":
        return images.detach().mean(dim=(2, 3), keepdim=True).expand_as(images).contiguous()
    raise _unknown_baseline(baseline)


def _unknown_baseline(baseline: object) -> UserError:
    return UserError(f'baseline = {baseline!r}; allowed: "black", "mean", or one colour (r, g, b) in [0,1]')
