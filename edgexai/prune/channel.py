"""Channels physically removed until the MACs fit, widths rounded to a multiple (Torch-Pruning 1.6).

Traps of the library that this guards against: frozen parameters make pruning a silent no-op; ``round_to`` skips a
layer rather than emptying it; ``step`` leaves the network in eval mode; an unprotected head loses classes. So the
achieved MACs, the class count and every width are asserted on the result, which is rebuilt from explicit widths.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch_pruning as tp
from torch import nn

from edgexai.errors import UserError
from edgexai.models.arch import Arch
from edgexai.models.base import Network
from edgexai.models.cost import macs
from edgexai.models.store import build
from edgexai.prune import IMPORTANCES

_STEPS = 200


@dataclass(frozen=True)
class PruneReport:
    """What was asked and what came out."""

    macs_before: int
    macs_after: int
    widths_before: tuple[int, ...]
    widths_after: tuple[int, ...]

    @property
    def macs_ratio(self) -> float:
        """After / before."""
        return self.macs_after / self.macs_before


def prune_channels(
    net: Network, *, importance: str, macs_ratio: float, round_to: int, seed: int
) -> tuple[Network, PruneReport]:
    """A smaller copy of ``net``; ``net`` itself stays as it is.

    One channel ratio for all layers is raised slowly, each width rounded to the nearest multiple; where several groups
    of coupled layers would step down at the same ratio they do so one after the other, the last layers first. The first
    stair whose MACs are at most ``macs_ratio`` of the dense network's is taken.

    Raises:
        UserError: no channel ratio reaches ``macs_ratio`` with widths in multiples of ``round_to``.
    """
    before = macs(net)
    for goal in _stairs(net, round_to):
        if macs(_shape_only(replace(net.arch, widths=goal))) <= macs_ratio * before:
            pruned = _cut(net, importance, goal, seed)
            break
    else:
        raise UserError(
            f"prune.macs_ratio = {macs_ratio} cannot be reached with widths in multiples of {round_to}",
            next_step="raise prune.macs_ratio or lower prune.round_to",
        )
    if _widths(pruned) != goal:
        raise RuntimeError(f"pruning to {goal} gave {_widths(pruned)}")
    rebuilt = _rebuild(pruned, seed)
    _check_same_function(pruned, rebuilt)
    report = PruneReport(before, macs(rebuilt), net.arch.widths, rebuilt.arch.widths)
    return rebuilt, report


def _stairs(net: Network, round_to: int) -> Iterator[tuple[int, ...]]:
    """Widths from full to narrow, one group of coupled layers narrowed by one multiple at a time."""
    goal, groups = list(net.arch.widths), _coupled(net)
    yield tuple(goal)
    for k in range(1, _STEPS):
        for group in reversed(groups):
            wanted = _rounded(net.arch.widths[group[0]], k / _STEPS, round_to)
            if wanted < goal[group[0]]:
                for index in group:
                    goal[index] = wanted
                yield tuple(goal)


def _shape_only(arch: Arch) -> Network:
    """A network without memory behind its weights: enough to count MACs."""
    with torch.device("meta"):
        return build(arch, seed=0)


def _coupled(net: Network) -> list[tuple[int, ...]]:
    """Indices into ``Arch.widths`` that can only be narrowed together (sums of a residual stage), in forward order."""
    small = _traceable_copy(net)
    layers = _width_layers(small)
    graph = tp.DependencyGraph().build_dependency(small, torch.zeros(1, 3, net.arch.size, net.arch.size))
    groups: list[tuple[int, ...]] = []
    for index, layer in enumerate(layers):
        if any(index in group for group in groups):
            continue
        is_conv = isinstance(layer, nn.Conv2d)
        cut = tp.prune_conv_out_channels if is_conv else tp.prune_linear_out_channels
        members = {
            dependency.target.module
            for dependency, _ in graph.get_pruning_group(layer, cut, idxs=[0])
            if dependency.handler in (tp.prune_conv_out_channels, tp.prune_linear_out_channels)
        }
        groups.append(tuple(i for i, other in enumerate(layers) if other in members))
    return groups


def _traceable_copy(net: Network) -> Network:
    """In eval mode, nothing frozen: the library follows gradients, and a frozen layer would be invisible to it."""
    return copy.deepcopy(net).eval().requires_grad_(True)


def _rounded(width: int, ratio: float, round_to: int) -> int:
    """``width`` less ``ratio`` of it, as the nearest multiple of ``round_to``, never 0 and never wider."""
    return min(width, max(round_to, round_to * round(width * (1 - ratio) / round_to)))


def _cut(net: Network, importance: str, goal: tuple[int, ...], seed: int) -> Network:
    """One one-shot pruning of a copy to the widths ``goal``."""
    small = _traceable_copy(net)
    example = torch.zeros(1, 3, net.arch.size, net.arch.size, device=net.mean.device)
    layers = _width_layers(small)
    # The library keeps int(have * (1 - ratio)) channels; the half channel keeps that from rounding below ``want``.
    ratios = {
        layer: 1 - min(have, want + 0.5) / have for layer, want, have in zip(layers, goal, net.arch.widths, strict=True)
    }
    last = [m for m in small.head.modules() if isinstance(m, nn.Linear)][-1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pruner = tp.pruner.BasePruner(
            small,
            example,
            importance=IMPORTANCES[importance].load()(),
            pruning_ratio=0.0,
            pruning_ratio_dict=ratios,
            ignored_layers=[last],
            global_pruning=False,
        )
        pruner.step()
    return small


def _width_layers(net: Network) -> list[nn.Module]:
    """The layers behind ``Arch.widths``, in forward order: without shortcuts and the classifier's outputs."""
    layers: list[nn.Module] = [
        module
        for name, module in net.named_modules()
        if (isinstance(module, nn.Conv2d) and ".shortcut" not in name) or isinstance(module, nn.Linear)
    ]
    return layers[:-1]


def _widths(net: Network) -> tuple[int, ...]:
    """Output channels in forward order, as ``Arch.widths`` lists them."""
    return tuple(len(m.get_parameter("weight")) for m in _width_layers(net))


def _rebuild(pruned: Network, seed: int) -> Network:
    """The same weights in a network built from explicit widths, which can be saved and loaded as data."""
    arch: Arch = replace(pruned.arch, widths=_widths(pruned))
    rebuilt = build(arch, seed=seed)
    rebuilt.load_state_dict(pruned.state_dict())
    return rebuilt.to(pruned.mean.device).eval()


def _check_same_function(pruned: Network, rebuilt: Network) -> None:
    """Guards the rebuild: one batch through both must agree, with every class still there."""
    generator = torch.Generator().manual_seed(0)
    size = rebuilt.arch.size
    images = torch.rand(4, 3, size, size, generator=generator).to(rebuilt.mean.device)
    with torch.inference_mode():
        expected, got = pruned.eval()(images), rebuilt(images)
    if got.shape[1] != rebuilt.arch.classes or not torch.allclose(expected, got, atol=1e-4):
        raise RuntimeError("the rebuilt pruned network differs from the pruned one")
