"""SGD with Nesterov momentum and a one-cycle learning rate, both plain enough to restart bit by bit."""

from __future__ import annotations

import math

import torch
from torch import nn

_WARM, _START, _END = 0.15, 0.1, 0.001


def sgd(net: nn.Module, *, weight_decay: float) -> torch.optim.SGD:
    """SGD, momentum 0.9, Nesterov; no weight decay on biases and batch norm (vectors)."""
    matrices = [p for p in net.parameters() if p.ndim > 1]
    vectors = [p for p in net.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True)


def one_cycle(step: int, total: int, peak: float) -> float:
    """Learning rate at ``step`` of ``total``: up over 15 %, then a cosine to 0.1 % of ``peak``."""
    warm = max(1, int(_WARM * total))
    if step < warm:
        return peak * (_START + (1 - _START) * step / warm)
    done = (step - warm) / max(1, total - warm)
    return peak * (_END + (1 - _END) * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def set_lr(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Sets one learning rate in all groups."""
    for group in optimiser.param_groups:
        group["lr"] = lr
