"""Weights set to zero and held there: no size, no MACs and no time are saved (PAPERS A.3, the sources' nine variants).

Scopes: "per_layer" (L1 unstructured, a share of each layer), "global" (L1 unstructured, one threshold for all layers),
"structured" (whole filters of lowest L2 norm, a share of each layer). The classifier's outputs are never masked whole:
that would remove classes. Differs from the released code there, in that shortcut convolutions are masked too, and in
that batch-norm scales never are.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from edgexai.errors import UserError
from edgexai.models.base import Network

SCOPES = ("per_layer", "global", "structured")


def mask_weights(
    net: Network, *, scope: str, amount: float, amount_linear: float | None = None
) -> tuple[Network, dict[str, Tensor]]:
    """A copy with the smallest weights at zero, and what to keep; ``net`` itself stays as it is.

    Args:
        scope: "per_layer", "global" or "structured".
        amount: share of weights, or of filters, set to zero: of every layer, or of all together.
        amount_linear: of linear layers, for "per_layer"; ``amount`` where None.

    Returns:
        The copy, and per parameter name a bool tensor of its shape, True where the weight is kept.

    Raises:
        UserError: unknown scope or a share outside [0,1).
    """
    if scope not in SCOPES:
        raise UserError(f'prune.scope = "{scope}" is unknown for masks; allowed: {", ".join(SCOPES)}')
    if not 0 <= amount < 1 or not 0 <= (amount_linear or 0) < 1:
        raise UserError(f"prune.amount = {amount}, amount_linear = {amount_linear}: shares in [0, 1)")
    layers = {f"{name}.weight": m for name, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    sizes = {name: layer.get_parameter("weight").detach().abs() for name, layer in layers.items()}
    if scope == "global":
        together = _keep(torch.cat([size.flatten() for size in sizes.values()]), amount)
        parts = torch.split(together, [size.numel() for size in sizes.values()])
        keep = {name: part.view_as(sizes[name]) for name, part in zip(sizes, parts, strict=True)}
    elif scope == "per_layer":
        shares = {
            n: amount if isinstance(m, nn.Conv2d) or amount_linear is None else amount_linear for n, m in layers.items()
        }
        keep = {name: _keep(size.flatten(), shares[name]).view_as(size) for name, size in sizes.items()}
    else:
        *hidden, _ = sizes  # without the classifier
        filters = {name: _keep(sizes[name].flatten(1).norm(2, 1), amount) for name in hidden}
        keep = {
            name: kept.view(-1, *[1] * (sizes[name].ndim - 1)).expand_as(sizes[name]) for name, kept in filters.items()
        }
    masked = copy.deepcopy(net)
    _zero(masked, keep)
    return masked, {name: kept.contiguous() for name, kept in keep.items()}


@contextmanager
def held(net: Network, keep: Mapping[str, Tensor]) -> Iterator[None]:
    """While open, training ``net`` in place leaves every masked weight at exactly zero, whatever the loop.

    Their gradients are set to zero as they arrive; a weight that is zero and gets no gradient stays zero under
    momentum, weight decay, Adam and weight averaging.

    Raises:
        RuntimeError: on closing, a masked weight is not zero: the loop replaced the network's parameters.
    """
    _zero(net, keep)
    hooks = []
    for name, kept in keep.items():
        factor = kept.to(net.mean.device, net.get_parameter(name).dtype)
        hooks.append(net.get_parameter(name).register_hook(lambda gradient, factor=factor: gradient * factor))  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    wrong = [name for name, kept in keep.items() if net.get_parameter(name).detach()[~kept.to(net.mean.device)].any()]
    if wrong:
        raise RuntimeError(f"masked weights moved in {', '.join(wrong)}")


def masked_sparsity(net: Network, keep: Mapping[str, Tensor]) -> float:
    """Share of zeros among the weights of all convolutions and linear layers, those without a mask included."""
    weights = [m.get_parameter("weight") for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    return sum(int((~kept).sum()) for kept in keep.values()) / sum(weight.numel() for weight in weights)


def _keep(sizes: Tensor, amount: float) -> Tensor:
    """False at the ``round(amount * n)`` smallest, ties by place."""
    kept = torch.ones(len(sizes), dtype=torch.bool, device=sizes.device)
    kept[torch.argsort(sizes, stable=True)[: round(amount * len(sizes))]] = False
    return kept


@torch.no_grad()
def _zero(net: Network, keep: Mapping[str, Tensor]) -> None:
    for name, kept in keep.items():
        net.get_parameter(name).mul_(kept.to(net.mean.device))
