"""Layers that depend on the whole batch, for a process that sees its share only: batch norm and dropout.

Batch norm takes mean and variance of the whole batch: each process gives those of its rows, and they are combined
(Chan et al. 1979) instead of summing squares, which cancels. Plain operations throughout, so that gradients of
gradients pass too; torch's own ``SyncBatchNorm`` runs on CUDA alone and has no second derivative. Dropout draws the
mask of the whole batch from the generator that all processes seed alike, and keeps its rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from edgexai.errors import UserError
from edgexai.train.share import Share


@contextmanager
def shared_layers(net: nn.Module, share: Share) -> Iterator[None]:
    """Inside, ``net`` in train mode treats its rows as part of the whole batch; in eval mode it is as ever.

    Args:
        net: modules keep their parameters, buffers, hooks and names; only their class changes, and changes back.
        share: of one process, nothing changes.

    Raises:
        UserError: the network has another kind of dropout than ``nn.Dropout``.
    """
    swapped: list[tuple[nn.Module, type[nn.Module]]] = []
    if share.size > 1:
        for name, module in net.named_modules():
            if isinstance(module, _DropoutNd) and type(module) is not nn.Dropout:
                raise UserError(
                    f"{name}: {type(module).__name__} cannot be trained with several processes",
                    next_step="train with one process, or use nn.Dropout",
                )
    try:
        for module in net.modules() if share.size > 1 else ():
            if isinstance(module, _BatchNorm | nn.Dropout):
                swapped.append((module, type(module)))
                module.__class__ = SharedBatchNorm if isinstance(module, _BatchNorm) else SharedDropout
                module.share = share  # type: ignore[assignment]
        yield
    finally:
        for module, own in swapped:
            module.__class__ = own
            del module.share


class SharedBatchNorm(_BatchNorm):
    """Batch norm over the rows of all processes; never constructed, see ``shared_layers``."""

    share: Share

    def _check_input_dim(self, images: Tensor) -> None:
        """Any number of dimensions will do."""

    def forward(self, images: Tensor) -> Tensor:
        """(n, C, ...) -> the same shape."""
        if not self.training:
            return super().forward(images)
        share, shape = self.share, (1, -1, *[1] * (images.ndim - 2))
        values = images.float() if images.dtype in (torch.float16, torch.bfloat16) else images
        own = torch.stack(torch.var_mean(values, [0, *range(2, images.ndim)], correction=0))
        nobody = torch.zeros_like(own)
        parts = share.sum(torch.stack([own if rank == share.rank else nobody for rank in range(share.size)]))
        weights = [Share(rank, share.size, share.batch).weight for rank in range(share.size)]
        weight = torch.tensor(weights, device=own.device, dtype=own.dtype)[:, None]
        mean = (weight * parts[:, 1]).sum(0)
        variance = (weight * (parts[:, 0] + (parts[:, 1] - mean).square())).sum(0)
        if self.track_running_stats:
            count = share.whole(len(images)) * (values[0, 0].numel())
            self._remember(mean.detach(), variance.detach() * (count / max(1, count - 1)))
        scale = (variance + self.eps).rsqrt()
        scale = scale if self.weight is None else scale * self.weight
        offset = -mean * scale if self.bias is None else self.bias - mean * scale
        return (values * scale.view(shape) + offset.view(shape)).to(images.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        new = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, new)
        self.running_var.lerp_(variance, new)


class SharedDropout(nn.Dropout):
    """Dropout with this process's rows of the whole batch's mask; never constructed, see ``shared_layers``."""

    share: Share

    def forward(self, values: Tensor) -> Tensor:
        """(n, ...) -> the same shape; ``n`` may be several batches' rows, one behind another."""
        if not self.training:
            return super().forward(values)
        share = self.share
        ones = values.new_ones(share.whole(len(values)), *values.shape[1:])
        mask = F.dropout(ones, self.p).view(-1, share.batch, *values.shape[1:])
        return values * mask[:, share.start : share.stop].reshape(values.shape)
