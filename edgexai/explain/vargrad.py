"""VarGrad: the variance of the gradient over noisy copies of the image.

Source: Adebayo et al., ICLR workshop 2018 (arXiv 1810.03307), as Captum's ``NoiseTunnel`` with ``vargrad`` over
``Saliency`` (signed) does it: population variance (divided by n), noisy pixels not clipped to [0,1]. Convention:
variance of the signed derivative, summed over channels. Noise as in ``smoothgrad``: each image its own generator.
"""

from __future__ import annotations

import torch
from torch import nn

from edgexai.errors import UserError
from edgexai.explain.contract import check_gradient_inputs
from edgexai.explain.noise import noisy_gradients


def vargrad(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    *,
    seed: int = 0,
    n_samples: int = 25,
    noise_std: float = 0.15,
    batch_size: int = 128,
) -> torch.Tensor:
    """Variance of the gradient over ``n_samples`` Gaussian perturbations of each image.

    Args:
        model: images -> logits (N,K), in eval mode; neither its parameters nor their ``.grad`` are touched.
        images: float (N,3,H,W) in [0,1]; not modified.
        targets: int64 (N,).
        seed: image ``i`` draws from a generator seeded with ``seed + i``.
        n_samples: noisy copies per image, >= 2.
        noise_std: standard deviation in pixels of [0,1], > 0.
        batch_size: noisy images per pass, fewer of large ones.

    Returns:
        (N,H,W) >= 0, detached, on the images' device.

    Raises:
        ShapeError: wrong shapes or types.
        UserError: training mode, a target that is no class, ``n_samples`` < 2 or ``noise_std`` not positive.
    """
    check_gradient_inputs(model, images, targets, batch_size=batch_size)
    if n_samples < 2 or not noise_std > 0:
        raise UserError(f"n_samples = {n_samples}, noise_std = {noise_std}; must be at least 2 and above 0")
    gradients = noisy_gradients(
        model,
        images,
        targets,
        seed=seed,
        n_samples=n_samples,
        noise_std=noise_std,
        batch_size=batch_size,
        absolute=False,
    )
    return torch.cat([found.var(dim=1, correction=0).sum(dim=1) for found in gradients])
