"""Accuracy of a twin on a split, clean or under a short PGD, for watching a training."""

from __future__ import annotations

import torch

from edgexai.attack.ball import Norm
from edgexai.attack.pgd import pgd
from edgexai.models.base import Network
from edgexai.types import Split


def twin_accuracy(net: Network, split: Split, *, batch_size: int = 500) -> float:
    """Share of ``split`` that ``net`` gets right, in eval mode; the mode is restored."""
    device, was_training = net.mean.device, net.training
    net.eval()
    right = 0
    with torch.inference_mode():
        for start in range(0, len(split), batch_size):
            images = torch.from_numpy(split.images[start : start + batch_size]).to(device)
            labels = torch.from_numpy(split.labels[start : start + batch_size]).to(device)
            right += int((net(images.permute(0, 3, 1, 2).float() / 255).argmax(1) == labels).sum())
    net.train(was_training)
    return right / len(split)


def robust_accuracy(net: Network, split: Split, *, eps: float, steps: int, seed: int, norm: Norm = "linf") -> float:
    """Share of ``split`` that withstands PGD (white box), in eval mode; the mode is restored.

    Args:
        eps: radius in pixels of [0,1], of one value ("linf") or of a whole image's Euclidean length ("l2").
    """
    device, was_training = net.mean.device, net.training
    net.eval()
    images = torch.from_numpy(split.as_float()).to(device)
    labels = torch.from_numpy(split.labels).to(device)
    attacked = pgd(net, images, labels, eps=eps, norm=norm, steps=steps, seed=seed)
    with torch.inference_mode():
        right = float((net(attacked).argmax(1) == labels).float().mean())
    net.train(was_training)
    return right
