"""What is coupled: which channels can only be removed together, by Torch-Pruning's dependency graph (Fang et al. 2023).

Traps of the library that this guards against: frozen parameters are invisible to its tracing, so pruning would do
nothing; tracing needs eval mode; cutting changes the network in place. So a copy is traced and cut, never the original.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch_pruning as tp
from torch import nn

from edgexai.models.base import Network

_OUT = (tp.prune_conv_out_channels, tp.prune_linear_out_channels, tp.prune_depthwise_conv_out_channels)


@dataclass(frozen=True)
class Coupled:
    """Channels of several layers that share one fate.

    Attributes:
        places: indices into ``Arch.widths`` that this group sets, in forward order.
        width: channels.
        producers: layers (convolutions, also depthwise ones and shortcuts, or linear) whose outputs the channels are.
        norms: batch norms over these channels.
        gates: modules whose outputs, all set to zero in one channel, are the network without that channel.
        kind: equal for groups of equal structure (isomorphic pruning).
        handle: the library's group over all channels.
    """

    places: tuple[int, ...]
    width: int
    producers: tuple[nn.Module, ...]
    norms: tuple[nn.BatchNorm2d, ...]
    gates: tuple[nn.Module, ...]
    kind: str
    handle: Any


class Coupling:
    """A traced copy of a network and its groups in forward order; ``remove`` cuts the copy.

    Attributes:
        net: the copy, in eval mode, all its parameters with gradients.
        groups: what can be cut. The classifier's outputs are in none of them.
    """

    def __init__(self, net: Network) -> None:
        self.net = copy.deepcopy(net).eval().requires_grad_(True)
        example = torch.zeros(1, 3, net.arch.size, net.arch.size, device=net.mean.device)
        self._graph = tp.DependencyGraph().build_dependency(self.net, example)
        layers = width_layers(self.net)
        after = _norm_after(self.net)
        classifier = _linears(self.net)[-1]
        self.groups: list[Coupled] = []
        for index, layer in enumerate(layers):
            if any(index in group.places for group in self.groups):
                continue
            group = self._group(layer, layers, after)
            if classifier in group.producers:
                raise RuntimeError(f"width {index} of {net.arch.name} is coupled to the classifier's outputs")
            self.groups.append(group)

    def remove(self, group: Coupled, channels: Sequence[int]) -> None:
        """Cuts ``channels`` (indices into the group's present width) out of the copy; once per group."""
        if channels:
            cut = self._graph.get_pruning_group(group.producers[0], _out_of(group.producers[0]), idxs=list(channels))
            cut.prune()

    def _group(self, layer: nn.Module, layers: list[nn.Module], after: dict[nn.Module, nn.BatchNorm2d]) -> Coupled:
        width = len(layer.get_parameter("weight"))
        handle = self._graph.get_pruning_group(layer, _out_of(layer), idxs=list(range(width)))
        items = [(item.dep.target.module, item.dep.handler) for item in handle]
        producers = [module for module, handler in items if handler in _OUT]
        norms = [module for module, handler in items if handler == tp.prune_batchnorm_out_channels]
        # A depthwise convolution reads what the group's other layers produce, so it has the last word on a channel.
        last = [m for m in producers if isinstance(m, nn.Conv2d) and m.groups > 1] or producers
        return Coupled(
            places=tuple(k for k, other in enumerate(layers) if other in producers),
            width=width,
            producers=tuple(producers),
            norms=tuple(norms),
            gates=tuple(after.get(m, m) for m in last),
            kind=" ".join(_role(module, handler) for module, handler in items if hasattr(module, "weight")),
            handle=handle,
        )


def width_layers(net: Network) -> list[nn.Module]:
    """The layers behind ``Arch.widths``, in forward order.

    Without shortcuts and depthwise convolutions, whose widths follow from others, and without the classifier.
    """
    layers: list[nn.Module] = [
        module
        for name, module in net.named_modules()
        if (isinstance(module, nn.Conv2d) and ".shortcut" not in name and ".depthwise" not in name)
        or isinstance(module, nn.Linear)
    ]
    return layers[:-1]


def widths_of(net: Network) -> tuple[int, ...]:
    """Output channels as ``Arch.widths`` lists them, read from the weights."""
    return tuple(len(layer.get_parameter("weight")) for layer in width_layers(net))


def _linears(net: Network) -> list[nn.Linear]:
    return [m for m in net.modules() if isinstance(m, nn.Linear)]


def _norm_after(net: Network) -> dict[nn.Module, nn.BatchNorm2d]:
    """Convolution -> the batch norm registered right behind it."""
    leaves = [m for m in net.modules() if not list(m.children())]
    return {
        one: other
        for one, other in pairwise(leaves)
        if isinstance(one, nn.Conv2d) and isinstance(other, nn.BatchNorm2d)
    }


def _out_of(layer: nn.Module) -> Any:
    return tp.prune_conv_out_channels if isinstance(layer, nn.Conv2d) else tp.prune_linear_out_channels


def _role(module: nn.Module, handler: Any) -> str:
    return f"{type(module).__name__}.{getattr(handler, '__name__', '')}"
