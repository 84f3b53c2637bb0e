"""MACs and parameters, counted by running one image through.

One multiply-add of a convolution or linear layer is one MAC; batch norm and activations are not counted (they fold
into the convolutions at export).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from edgexai.models.base import Network


def macs(net: Network) -> int:
    """Multiply-accumulates of convolutions and linear layers for one image."""
    total = 0

    def count(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += output[0].numel() * math.prod(module.weight.shape[1:])
        elif isinstance(module, nn.Linear):
            total += module.weight.numel()

    handles = [m.register_forward_hook(count) for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    was_training = net.training
    try:
        with torch.no_grad():
            net.eval()(torch.zeros(1, 3, net.arch.size, net.arch.size, device=net.mean.device))
    finally:
        net.train(was_training)
        for handle in handles:
            handle.remove()
    return total


def parameters(net: Network) -> int:
    """Trainable numbers."""
    return sum(p.numel() for p in net.parameters())
