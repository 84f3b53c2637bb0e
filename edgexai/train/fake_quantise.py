"""A network's forward pass with int8's rounding in it: what the file for the board computes, with gradients.

Inputs of the layers are rounded in fixed steps to -128..127, for whoever else reads them too; weights per output
channel to -127..127; biases and all else stay in float; halves go to the even level. Batch norm is applied by its
running statistics. It stands behind the rounding here and inside the weight in the file; since its factor belongs to an
output channel and levels are symmetric, both round to the same levels. Gradients pass a rounding as if it were not
there (Bengio et al. 2013), but not where an input was clipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from edgexai.errors import UserError
from edgexai.models.base import Network

_LOW, _HIGH = -128, 127


class _Round(torch.autograd.Function):
    """To whole levels between two bounds, and back; the gradient is 1 inside and 0 outside."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, values: Tensor, step: Tensor) -> Tensor:
        levels = torch.round(values / step)
        ctx.save_for_backward((levels >= _LOW) & (levels <= _HIGH))
        return levels.clamp_(_LOW, _HIGH).mul_(step)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        (inside,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return gradients[0] * inside, None


def rounded(values: Tensor, step: Tensor) -> Tensor:
    """``values`` in whole multiples of ``step``, -128 to 127 of them; differentiable straight through.

    Args:
        values: any shape.
        step: broadcastable to ``values``, above 0; gets no gradient.
    """
    out: Tensor = _Round.apply(values, step)
    return out


def fake_quantised(net: Network, images: Tensor, steps: Mapping[str, float]) -> Tensor:
    """Logits (N,K) of the int8 file made of ``net``, but for the order of float sums; differentiable.

    Args:
        net: in eval mode: the file normalises by running statistics.
        images: (N,3,H,W) in [0,1].
        steps: parameter name of each rounded layer's weight -> step of its input, see ``export.rounding``.

    Raises:
        UserError: a name is not the weight of a Conv2d or Linear of ``net``, ``net`` is in train mode, or a rounded
            layer's input cannot be followed to where it is made.
    """
    if net.training:
        raise UserError("fake quantisation: the network is in train mode, the file is not; call eval() first")
    layers = _layers(net, steps)
    weights: dict[str, Tensor] = {}
    sizes = {name: images.new_tensor(step) for name, step in steps.items()}
    for name, layer in layers.items():
        weight = layer.get_parameter("weight")
        size = weight.detach().abs().flatten(1).amax(1) / _HIGH
        size = torch.where(size > 0, size, torch.ones_like(size))  # a channel of zeros, which every step holds
        weights[name] = rounded(weight, size.view(-1, *[1] * (weight.ndim - 1)))
    rounding: dict[int, Tensor] = {}
    with torch.no_grad():
        _run(net, weights, images[:1].detach(), layers, sizes, _Results({}, finds=rounding))
    return _run(net, weights, images, layers, sizes, _Results(rounding))


class _Results(TorchFunctionMode):
    """Numbers results in the order in which they are made, the same in every run of a network, and rounds some.

    A result is rounded where it is made, not where a layer reads it, because whatever else reads it (the other branch
    of a residual sum, a concatenation) reads the rounded one in the file too.

    Args:
        rounding: number of a result -> its step.
        finds: filled with those of the results that rounded layers read; given on the first run alone.
    """

    def __init__(self, rounding: Mapping[int, Tensor], *, finds: dict[int, Tensor] | None = None) -> None:
        super().__init__()
        self._rounding, self._finds = rounding, finds
        self._numbers: dict[int, int] = {}
        self._alive: list[Tensor] = []  # so that no identity is given twice

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        return self.made(out) if isinstance(out, Tensor) else out

    def made(self, out: Tensor) -> Tensor:
        """A new result, or the same one changed in place."""
        number = len(self._alive)
        if number in self._rounding:
            out = rounded(out, self._rounding[number])
        self._alive.append(out)
        self._numbers[id(out)] = number
        return out

    def read(self, name: str, given: Tensor, step: Tensor) -> None:
        """A rounded layer reads ``given``.

        Raises:
            UserError: nobody saw it made.
        """
        number = self._numbers.get(id(given))
        if number is not None and self._finds is not None:
            self._finds[number] = step
        elif number not in self._rounding:
            raise UserError(
                f"fake quantisation: what {name} reads cannot be followed to where it is made",
                next_step="return the result of an operation instead of changing it in place, or set "
                "export.qat_epochs = 0",
            )


def _run(
    net: Network,
    weights: Mapping[str, Tensor],
    images: Tensor,
    layers: Mapping[str, nn.Module],
    steps: Mapping[str, Tensor],
    results: _Results,
) -> Tensor:
    hooks = [
        layer.register_forward_pre_hook(lambda _, given, name=name: results.read(name, given[0], steps[name]))
        for name, layer in layers.items()
    ]
    try:
        with results:
            logits: Tensor = functional_call(net, dict(weights), (results.made(images),))
    finally:
        for hook in hooks:
            hook.remove()
    return logits


def _layers(net: Network, steps: Mapping[str, float]) -> dict[str, nn.Module]:
    found = {f"{name}.weight": m for name, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    if unknown := [name for name in steps if name not in found]:
        raise UserError(
            f"fake quantisation: {', '.join(unknown[:3])}: not the weight of a Conv2d or Linear of this network",
            next_step="set export.qat_epochs = 0",
        )
    return {name: found[name] for name in steps}
