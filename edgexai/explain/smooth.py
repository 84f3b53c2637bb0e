"""SmoothGrad: the mean of the vanilla gradient over noisy copies of the image.

Source: Smilkov et al., 2017 (arXiv 1706.03825), as Captum's ``NoiseTunnel`` over ``Saliency`` does it: the mean of
*absolute* gradients, summed over channels, noisy pixels not clipped to [0,1]. Differs: the noise comes from a generator
of its own for every image (Captum draws from torch's global one), so an image's map does not depend on its batch.
"""

from __future__ import annotations

import torch
from torch import nn

from edgexai.errors import UserError
from edgexai.explain.contract import check_gradient_inputs
from edgexai.explain.noise import noisy_gradients


def smoothgrad(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    *,
    seed: int = 0,
    n_samples: int = 25,
    noise_std: float = 0.15,
    batch_size: int = 128,
) -> torch.Tensor:
    """Mean absolute gradient over ``n_samples`` Gaussian perturbations of each image.

    Image ``i`` of the call draws from a CPU generator seeded with ``seed + i``: its map equals that of a call with
    this image alone and ``seed + i``, on any device and for any batch size.

    Args:
        model: images -> logits (N,K), in eval mode; neither its parameters nor their ``.grad`` are touched.
        images: float (N,3,H,W) in [0,1]; not modified.
        targets: int64 (N,).
        seed: see above.
        n_samples: noisy copies per image.
        noise_std: standard deviation in pixels of [0,1].
        batch_size: noisy images per pass, fewer of large ones.

    Returns:
        (N,H,W) >= 0, detached, on the images' device.

    Raises:
        ShapeError: wrong shapes or types.
        UserError: training mode, a target that is no class, ``n_samples`` < 1 or ``noise_std`` < 0.
    """
    check_gradient_inputs(model, images, targets, batch_size=batch_size)
    if n_samples < 1 or noise_std < 0:
        raise UserError(f"n_samples = {n_samples}, noise_std = {noise_std}; must be at least 1 and at least 0")
    gradients = noisy_gradients(
        model,
        images,
        targets,
        seed=seed,
        n_samples=n_samples,
        noise_std=noise_std,
        batch_size=batch_size,
        absolute=True,
    )
    return torch.cat([found.sum(dim=2).mean(dim=1) for found in gradients])
