"""Which stair: the first that is cheap enough, or the one whose engine is as fast as was asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from edgexai.errors import UserError
from edgexai.models.base import Network
from edgexai.models.store import build

Widths = tuple[int, ...]


@dataclass(frozen=True)
class LatencyTarget:
    """A latency to be met by measurement.

    Attributes:
        latency_ms: wanted.
        measure: network -> milliseconds; called on untrained networks, since the time does not depend on the weights.
        tolerance: accepted relative difference, on either side.
    """

    latency_ms: float
    measure: Callable[[Network], float]
    tolerance: float = 0.1


def first_that_fits(
    net: Network, stairs: Sequence[Widths], *, cost: Callable[[Network], int], limit: float
) -> Widths | None:
    """The widest stair whose cost is at most ``limit``; None where there is none. Cost must fall along the stairs."""
    low, high = 0, len(stairs)
    while low < high:
        middle = (low + high) // 2
        if cost(_shape_only(net, stairs[middle])) <= limit:
            high = middle
        else:
            low = middle + 1
    return next((widths for widths in stairs[low:] if _same_structure(net, widths)), None)


def as_fast_as(net: Network, stairs: Sequence[Widths], *, target: LatencyTarget) -> tuple[Widths, float]:
    """Bisection along the stairs: (widths, measured milliseconds) of the nearest stair that was measured.

    It goes on inside the tolerance until a quarter of it, or no stair is left between: a stair at its very edge would
    be outside when it is measured again.

    Raises:
        UserError: no stair's engine is within the tolerance; says what the nearest ones take.
    """
    usable = [widths for widths in stairs if _same_structure(net, widths)]
    measured: dict[int, float] = {}
    low, high = 0, len(usable) - 1
    while low <= high:
        middle = (low + high) // 2
        # nothing to search once the full network is fast enough, nor when the narrowest is too slow
        probe = 0 if not measured else len(usable) - 1 if len(measured) == 1 else middle
        measured[probe] = took = target.measure(build(replace(net.arch, widths=usable[probe]), seed=0).eval())
        if abs(took / target.latency_ms - 1) <= target.tolerance / 4:
            break
        if took > target.latency_ms:
            low = probe + 1
        else:
            high = probe - 1
    best = min(measured, key=lambda k: abs(measured[k] / target.latency_ms - 1))
    if abs(measured[best] / target.latency_ms - 1) <= target.tolerance:
        return usable[best], measured[best]
    slower = [k for k in measured if measured[k] > target.latency_ms]
    faster = [k for k in measured if measured[k] <= target.latency_ms]
    nearest = ([max(slower)] if slower else []) + ([min(faster)] if faster else [])
    raise UserError(
        f"prune.latency_ms = {target.latency_ms:g}: no widths give that within {target.tolerance:.0%} on this machine",
        problems=tuple(f"widths {' '.join(map(str, usable[k]))}: {measured[k]:.3g} ms" for k in nearest),
        next_step="ask for one of these latencies, or lower prune.round_to for finer steps",
    )


def _shape_only(net: Network, widths: Widths) -> Network:
    """A network without memory behind its weights: enough to count."""
    with torch.device("meta"):
        shape = build(replace(net.arch, widths=widths), seed=0)
    for module in shape.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.forward = _unchanged  # type: ignore[method-assign, assignment]  # slow on shapes, and counts nothing
    return shape


def _unchanged(images: Tensor) -> Tensor:
    return images


def _same_structure(net: Network, widths: Widths) -> bool:
    """False where two widths that pruning made equal would turn a 1x1 shortcut into an identity."""
    return _shape_only(net, widths).state_dict().keys() == net.state_dict().keys()
