"""How far two networks' class activation maps are apart: a loss that keeps a pruned network's reasons (differentiable).

After "Attribution Preservation in Network Compression" (Park et al. 2020, arXiv 2010.15054): maps are collapsed over
channels and compared after division by their norm. Differs: the map is the exact CAM of the true class, so no gradient
of a gradient is needed; hence only networks with a linear head after global average pooling.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgexai.errors import UserError
from edgexai.models.base import Network


def map_mismatch(net: Network, features: Tensor, teacher: Network, images: Tensor, labels: Tensor) -> Tensor:
    """Mean squared distance between unit-norm maps, in [0,2]: 0 = same places, 2 = no place in common.

    Args:
        net: whose ``features`` are given, with their gradients.
        features: ``net.features(images)``, (N,C,h,w).
        teacher: in eval mode; no gradient flows into it. Its feature map must be as large.
        images: (N,3,H,W) in [0,1].
        labels: int64 (N,), the true classes.

    Returns:
        Scalar. An image on which one of the maps is zero everywhere adds only the other's norm.

    Raises:
        UserError: one of the networks has no linear head.
    """
    with torch.no_grad():
        wanted = _unit_map(teacher, teacher.features(images), labels)
    return (_unit_map(net, features, labels) - wanted).square().sum(1).mean()


def _unit_map(net: Network, features: Tensor, labels: Tensor) -> Tensor:
    """(N,h*w) >= 0 of norm 1, or 0."""
    if not net.linear_head or not isinstance(net.head, nn.Linear):
        raise UserError(
            f"prune.attribution_weight: {net.arch.name} has no linear head after global average pooling",
            next_step="set prune.attribution_weight = 0, or take another model",
        )
    flat = torch.einsum("nchw,nc->nhw", features, net.head.weight[labels]).relu().flatten(1)
    norm: Tensor = flat / (flat.square().sum(1, keepdim=True) + torch.finfo(flat.dtype).tiny).sqrt()
    return norm
