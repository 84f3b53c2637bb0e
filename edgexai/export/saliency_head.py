"""Class activation map of the winning class as a second output of the same forward pass.

Exact for global average pooling + one linear layer (Zhou et al. 2016): map = relu(sum_c w[k,c] features[c]), bilinear
to the input's size, k the argmax of the logits.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from edgexai.errors import UserError
from edgexai.models.base import Network


class WithCam(nn.Module):
    """(N,3,H,W) -> logits (N,K), saliency (N,H,W)."""

    def __init__(self, net: Network) -> None:
        super().__init__()
        if not net.linear_head or not isinstance(net.head, nn.Linear):
            raise UserError(
                f'export.saliency = "cam" needs a linear head on a global average; {net.arch.name} has none',
                next_step='set export.saliency = "none"',
            )
        self.net, self.weight, self.size = net, net.head.weight, net.arch.size

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and the winning class's map."""
        features = self.net.features(images)
        logits = self.net.classify(features)
        # One Gather and one MatMul, and a scale known at export: a small network's time at batch 1 is its node count.
        weights = self.weight.index_select(0, logits.argmax(1))
        height, width = features.shape[2:]
        cam = F.relu(weights.unsqueeze(1) @ features.flatten(2)).reshape(-1, 1, height, width)
        scale = (self.size / height, self.size / width)
        cam = F.interpolate(cam, scale_factor=scale, mode="bilinear", align_corners=False)
        return logits, cam.squeeze(1)
