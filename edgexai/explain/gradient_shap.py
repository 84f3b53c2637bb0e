"""GradientSHAP: expected gradients, (x - baseline) times the gradient at random points of random paths.

Source: Lundberg & Lee, 2017, and Erion et al., 2021 (arXiv 1906.10670), the formula of Captum's ``GradientShap``: noisy
copies of the image, each with a baseline and a point between them drawn at random, product with the difference to the
baseline, mean. Convention: *signed*, summed over channels; unit: logit. Differs: every image has a generator of its
own; the map's standard error, and how far its sum is from completeness, are told by ``expected_gradients``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from edgexai.errors import ShapeError, UserError
from edgexai.explain.contract import check_gradient_inputs, points_per_pass


@dataclass(frozen=True)
class ExpectedGradients:
    """Maps and what the draw left open.

    Attributes:
        maps: (N,H,W), signed, in logits.
        standard_error: (N,), mean over pixels of the map's standard error, in logits.
        completeness_gap: (N,), |sum of the map - (logit(x) - mean logit of the drawn baselines)|, in logits.
    """

    maps: torch.Tensor
    standard_error: torch.Tensor
    completeness_gap: torch.Tensor


def gradient_shap(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    *,
    seed: int = 0,
    n_samples: int = 50,
    noise_std: float = 0.0,
    baselines: torch.Tensor | None = None,
    batch_size: int = 128,
) -> torch.Tensor:
    """The maps of ``expected_gradients``, which see for arguments and errors.

    Returns:
        (N,H,W) in logits, detached, on the images' device.
    """
    return expected_gradients(
        model,
        images,
        targets,
        seed=seed,
        n_samples=n_samples,
        noise_std=noise_std,
        baselines=baselines,
        batch_size=batch_size,
    ).maps


def expected_gradients(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    *,
    seed: int = 0,
    n_samples: int = 50,
    noise_std: float = 0.0,
    baselines: torch.Tensor | None = None,
    batch_size: int = 128,
) -> ExpectedGradients:
    """Expected gradients of each image's target logit, with their sampling error.

    Args:
        model: images -> logits (N,K), in eval mode; neither its parameters nor their ``.grad`` are touched.
        images: float (N,3,H,W) in [0,1]; not modified.
        targets: int64 (N,).
        seed: image ``i`` draws from a CPU generator seeded with ``seed + i``.
        n_samples: draws per image, >= 2. Places on the path are drawn one in each n-th of it (stratified).
        noise_std: of Gaussian noise on the image's copies, in pixels; Captum's default is 0.
        baselines: (B,3,H,W) in [0,1], what is drawn from; None: black, mid grey and white, the colours a background
            can take.
        batch_size: points per pass, fewer of large images.

    Returns:
        The ``ExpectedGradients``, detached.

    Raises:
        ShapeError: wrong shapes or types.
        UserError: training mode, a target that is no class, ``n_samples`` < 2 or ``noise_std`` < 0.
    """
    check_gradient_inputs(model, images, targets, batch_size=batch_size)
    if n_samples < 2 or noise_std < 0:
        raise UserError(f"n_samples = {n_samples}, noise_std = {noise_std}; must be at least 2 and at least 0")
    if baselines is None:
        greys = torch.tensor([0.0, 0.5, 1.0]).to(images)
        baselines = greys.view(-1, 1, 1, 1).expand(-1, *images.shape[1:])
    if baselines.ndim != 4 or baselines.shape[1:] != images.shape[1:] or len(baselines) == 0:
        raise ShapeError(f"baselines: {tuple(baselines.shape)}; wanted (B,{', '.join(map(str, images.shape[1:]))})")
    at_once = points_per_pass(images, batch_size)
    per_pass = max(1, at_once // n_samples)
    baselines = baselines.detach()
    maps, errors, gaps = [], [], []
    for start in range(0, len(images), per_pass):
        chunk = images[start : start + per_pass].detach()
        copies, starts, places, drawn = [], [], [], []
        for i, image in enumerate(chunk):
            generator = torch.Generator().manual_seed(seed + start + i)
            which = torch.randint(len(baselines), (n_samples,), generator=generator)
            place = (torch.randperm(n_samples, generator=generator) + torch.rand(n_samples, generator=generator)) / (
                n_samples
            )
            noise = torch.randn((n_samples, *image.shape), generator=generator) if noise_std else torch.zeros(1)
            copies.append(image + noise_std * noise.to(image).expand(n_samples, *image.shape[-3:]))
            starts.append(baselines[which.to(baselines.device)])
            places.append(place.to(image))
            drawn.append(which)
        ends, origins = torch.cat(copies), torch.cat(starts)
        labels = targets[start : start + per_pass].repeat_interleave(n_samples)
        difference = ends - origins
        points = origins + torch.cat(places).view(-1, 1, 1, 1) * difference
        gradients = []
        for some, wanted in zip(torch.split(points, at_once), torch.split(labels, at_once), strict=True):
            with torch.enable_grad():
                logits = model(some.requires_grad_(True)).gather(1, wanted[:, None])[:, 0]
                gradients.append(torch.autograd.grad(logits.sum(), some)[0])
        gradient = torch.cat(gradients)
        parts = (gradient * difference).sum(dim=1).reshape(len(chunk), n_samples, *images.shape[2:])
        maps.append(parts.mean(dim=1))
        errors.append((parts.std(dim=1) / n_samples**0.5).mean(dim=(1, 2)))
        with torch.no_grad():
            at_baselines = model(baselines)
            at_images = model(chunk).gather(1, targets[start : start + per_pass, None])[:, 0]
            counts = torch.stack([torch.bincount(w, minlength=len(baselines)) for w in drawn]).to(at_baselines)
            before = (counts / n_samples * at_baselines[:, targets[start : start + per_pass]].T).sum(dim=1)
            gaps.append((maps[-1].sum(dim=(1, 2)) - (at_images - before)).abs())
    return ExpectedGradients(torch.cat(maps).detach(), torch.cat(errors).detach(), torch.cat(gaps).detach())
