"""Channels physically removed until a target is met, widths rounded to a multiple (cut by Torch-Pruning 1.6).

The result is rebuilt from explicit widths: nothing of the library's surgery remains, and the achieved widths, the class
count and the function are checked on the rebuilt network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from edgexai.errors import UserError
from edgexai.models.base import Network
from edgexai.models.cost import macs, parameters
from edgexai.models.store import build
from edgexai.prune import IMPORTANCES
from edgexai.prune.coupling import Coupling, widths_of
from edgexai.prune.evidence import Evidence
from edgexai.prune.stairs import SCOPES, stairs
from edgexai.prune.target import LatencyTarget, as_fast_as, first_that_fits

Between = Callable[[Network, int], None]


@dataclass(frozen=True)
class PruneReport:
    """What was there and what is left. ``latency_ms`` is the search's last measurement, None without a search."""

    macs_before: int
    macs_after: int
    parameters_before: int
    parameters_after: int
    widths_before: tuple[int, ...]
    widths_after: tuple[int, ...]
    latency_ms: float | None = None

    @property
    def macs_ratio(self) -> float:
        """After / before."""
        return self.macs_after / self.macs_before

    @property
    def parameter_ratio(self) -> float:
        """After / before."""
        return self.parameters_after / self.parameters_before


def prune_channels(
    net: Network,
    *,
    importance: str,
    round_to: int,
    seed: int,
    macs_ratio: float | None = None,
    parameter_ratio: float | None = None,
    latency: LatencyTarget | None = None,
    scope: str = "per_layer",
    steps: int = 1,
    evidence: Evidence | None = None,
    between: Between | None = None,
) -> tuple[Network, PruneReport]:
    """A smaller copy of ``net``; ``net`` itself stays as it is.

    Args:
        importance: key of ``prune.IMPORTANCES``.
        round_to: widths become multiples of this; a width below it stays.
        macs_ratio, parameter_ratio, latency: the target, exactly one of them; ratios are of ``net``, at most.
        scope: which groups compete, see ``stairs``.
        steps: channels go in so many portions of equal cost, scored anew each time.
        evidence: images for the importances that look at data.
        between: (network, step) is called after every portion but the last, to train the network in place.

    Raises:
        UserError: not exactly one target, an unknown scope, or a target that cannot be reached.
    """
    if sum(target is not None for target in (macs_ratio, parameter_ratio, latency)) != 1:
        raise UserError("pruning takes exactly one of macs_ratio, parameter_ratio and latency_ms")
    if scope not in SCOPES:
        raise UserError(f'prune.scope = "{scope}" is unknown for channels; allowed: {", ".join(SCOPES)}')
    by_parameters = parameter_ratio is not None
    cost, name = (parameters, "parameter_ratio") if by_parameters else (macs, "macs_ratio")
    ratio = parameter_ratio if by_parameters else macs_ratio
    before, now, took = cost(net), net, None
    for step in range(1, steps + 1):
        coupling = Coupling(now)
        scores = IMPORTANCES[importance].load()(coupling, evidence=evidence, seed=seed + step - 1)
        candidates = stairs(now.arch.widths, coupling.groups, scores, scope=scope, round_to=round_to)
        goal: tuple[int, ...] | None = None
        if latency is not None and (ratio is None or step == steps):
            goal, took = as_fast_as(now, candidates, target=latency)
            # portions before the last go by MACs: the first search says how many of them there are to remove
            ratio = cost(build(replace(now.arch, widths=goal), seed=0)) / before
        if latency is None or step < steps:
            share = ratio or 0.0
            limit = before * (share if step == steps else 1 - (1 - share) * step / steps)
            goal = first_that_fits(now, candidates, cost=cost, limit=limit)
        if goal is None:
            raise UserError(
                f"prune.{name} = {ratio} cannot be reached with widths in multiples of {round_to}",
                next_step=f"raise prune.{name} or lower prune.round_to",
            )
        now = _cut(coupling, scores, goal, seed)
        if between is not None and step < steps:
            between(now, step)
    counts = (macs(net), macs(now), parameters(net), parameters(now))
    return now, PruneReport(*counts, net.arch.widths, now.arch.widths, took)


def _cut(coupling: Coupling, scores: list[torch.Tensor | None], goal: tuple[int, ...], seed: int) -> Network:
    """The lowest scores of every group go until its width is that of ``goal``; the rest is rebuilt."""
    for group, score in zip(coupling.groups, scores, strict=True):
        surplus = group.width - goal[group.places[0]]
        if score is not None and surplus:
            coupling.remove(group, sorted(torch.argsort(score, stable=True)[:surplus].tolist()))
    pruned = coupling.net
    if widths_of(pruned) != goal:
        raise RuntimeError(f"pruning to {goal} gave {widths_of(pruned)}")
    rebuilt = build(replace(pruned.arch, widths=goal), seed=seed)
    rebuilt.load_state_dict(pruned.state_dict())
    rebuilt = rebuilt.to(pruned.mean.device).eval()
    _check_same_function(pruned, rebuilt)
    return rebuilt


def _check_same_function(pruned: Network, rebuilt: Network) -> None:
    """Guards the rebuild: one batch through both must agree, with every class still there."""
    generator = torch.Generator().manual_seed(0)
    size = rebuilt.arch.size
    images = torch.rand(4, 3, size, size, generator=generator).to(rebuilt.mean.device)
    with torch.inference_mode():
        expected, got = pruned.eval()(images), rebuilt(images)
    if got.shape[1] != rebuilt.arch.classes or not torch.allclose(expected, got, atol=1e-4, rtol=1e-3):
        raise RuntimeError("the rebuilt pruned network differs from the pruned one")
