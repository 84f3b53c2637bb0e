"""A second set of batch norms for adversarial images (Xie et al., "Adversarial Examples Improve Image Recognition",
arXiv 1911.09665): clean and attacked images differ in their statistics, so each kind is normalised by its own.

They stand in the network only inside ``in_place``; outside, its modules, parameters and state dict are what they were.
They keep no running statistics: nothing is ever evaluated through them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgexai.errors import UserError
from edgexai.models.base import Network


class AuxiliaryNorms(nn.Module):
    """Scales and offsets of their own, one batch norm for each of the network's, starting as copies.

    Args:
        net: keeps its own norms; its device and types are taken over.

    Raises:
        UserError: the network has no batch norm.
    """

    def __init__(self, net: Network) -> None:
        super().__init__()
        places = [
            (parent, name, child)
            for parent in net.modules()
            for name, child in parent.named_children()
            if isinstance(child, _BatchNorm)
        ]
        if not places:
            raise UserError(
                f'train.method = "advprop": {net.arch.name} has no batch norm, hence nothing to keep apart',
                next_step='take a model with batch norm, or train.method = "adversarial"',
            )
        # a plain list of places: registering the parents here would list the network's parameters twice
        self._places = [(parent, name) for parent, name, _ in places]
        self.norms = nn.ModuleList(_twin(child) for _, _, child in places)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the network runs through these norms; afterwards, error or not, through its own."""
        own = [parent.get_submodule(name) for parent, name in self._places]
        try:
            for (parent, name), norm in zip(self._places, self.norms, strict=True):
                setattr(parent, name, norm)
            yield
        finally:
            for (parent, name), norm in zip(self._places, own, strict=True):
                setattr(parent, name, norm)


@torch.no_grad()
def _twin(norm: _BatchNorm) -> _BatchNorm:
    """Same kind, scale and offset; statistics of the batch at hand only."""
    twin = type(norm)(norm.num_features, eps=norm.eps, affine=norm.affine, track_running_stats=False)
    if norm.affine:
        twin.to(norm.weight.device, norm.weight.dtype)
        twin.weight.copy_(norm.weight)
        twin.bias.copy_(norm.bias)
    return twin
