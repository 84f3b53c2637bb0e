"""Exponential moving average of weights: flatter minima, and less robust overfitting (Izmailov et al. 2018).

Batch-norm statistics are averaged like weights. The decay warms up as (1 + step) / (10 + step), so that short trainings
are not averages of their own start.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from edgexai.models.base import Network


class WeightAverage:
    """Follows a network step by step.

    Args:
        net: its present state is the start.
        decay: share of the old average kept per step; 0 = the network itself.
    """

    def __init__(self, net: Network, *, decay: float) -> None:
        self.decay = decay
        self.state = {k: v.detach().clone() for k, v in net.state_dict().items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Continues from a saved average."""
        self.state = {k: v.detach().clone().to(self.state[k].device) for k, v in state.items()}

    @torch.no_grad()
    def update(self, net: Network, step: int) -> None:
        """Takes the network as it is after ``step`` (0-based) into the average."""
        keep = min(self.decay, (1 + step) / (10 + step)) if self.decay else 0.0
        for key, value in net.state_dict().items():
            if value.is_floating_point():
                self.state[key].lerp_(value, 1 - keep)
            else:
                self.state[key].copy_(value)

    def network(self, net: Network) -> Network:
        """A copy of ``net`` with the averaged weights, in eval mode."""
        averaged = copy.deepcopy(net)
        averaged.load_state_dict(self.state)
        return averaged.eval()
