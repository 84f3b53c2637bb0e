"""One process's rows of every batch, and the sums over all processes that make them one training.

Convention: all processes draw what the whole batch needs and keep their own rows; each weighs the mean loss of its rows
by ``weight`` and gradients are *summed*, so the sum is the whole batch's gradient, for uneven shares too. Sums run over
torch's default process group, and every process gets the same bits from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from edgexai.errors import EXIT_INTERRUPTED, EdgexaiError, UserError


class ProcessLost(EdgexaiError):
    """Another process of this training has gone; what was stored stays, as after an interruption."""

    exit_code = EXIT_INTERRUPTED


@dataclass(frozen=True)
class Share:
    """Rows ``start`` to ``stop`` of every batch; of one process these are all.

    Attributes:
        rank: this process, from 0.
        size: number of processes.
        batch: images in a whole batch.

    Raises:
        UserError: a batch has fewer images than there are processes.
    """

    rank: int
    size: int
    batch: int

    def __post_init__(self) -> None:
        if self.batch < self.size:
            raise UserError(
                f"a batch of {self.batch} images cannot be split among {self.size} processes",
                next_step="raise batch_size, or start fewer processes",
            )

    @property
    def start(self) -> int:
        """First row."""
        return self.batch * self.rank // self.size

    @property
    def stop(self) -> int:
        """Behind the last row."""
        return self.batch * (self.rank + 1) // self.size

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.stop - self.start

    @property
    def weight(self) -> float:
        """Share of the batch, of 1."""
        return self.rows / self.batch

    def whole(self, n: int) -> int:
        """How many images all processes hold together where this one holds ``n``.

        Args:
            n: a multiple of ``rows``: clean and attacked images may pass a network together.
        """
        if n % self.rows:
            raise RuntimeError(f"{n} images are no multiple of this process's {self.rows} rows of a batch")
        return n // self.rows * self.batch

    def mine(self, whole: Tensor) -> Tensor:
        """(B, ...) -> (rows, ...), a view."""
        return whole if self.size == 1 else whole[self.start : self.stop]

    def weighted(self, mean: Tensor) -> Tensor:
        """A mean over this process's rows, as its part of the mean over the batch."""
        return mean if self.size == 1 else mean * self.weight

    def sum(self, values: Tensor) -> Tensor:
        """Sum over the processes; may be differentiated, more than once.

        Raises:
            ProcessLost: another process has gone, or has not come to the same sum in time.
        """
        if self.size == 1:
            return values
        total: Tensor = _Sum.apply(values)
        return total

    @torch.no_grad()
    def add_gradients(self, net: nn.Module) -> None:
        """Every gradient of ``net`` becomes its sum over the processes, in one message."""
        if self.size == 1:
            return
        gradients = [p.grad for p in net.parameters() if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in gradients])
        all_reduce(flat)
        for gradient, part in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))


def all_reduce(values: Tensor) -> None:
    """Sums ``values`` over the processes, in place.

    Raises:
        ProcessLost: another process has gone, or has not come to the same sum in time.
    """
    try:
        dist.all_reduce(values)
    except RuntimeError as error:  # torch has no narrower type for a closed connection
        raise lost() from error


def all_here() -> None:
    """Returns once every process has come here.

    Raises:
        ProcessLost: another process has gone, or has not come in time.
    """
    all_reduce(torch.zeros(1))


def lost() -> ProcessLost:
    """What to raise when a process does not answer."""
    return ProcessLost(
        "another process of this training has ended or does not answer; nothing half-written is kept",
        next_step="run the same command again: it takes up after the last whole epoch",
    )


class _Sum(torch.autograd.Function):
    """The sum over processes is its own adjoint, so ``backward`` is the same function and has a gradient again."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.detach().clone(memory_format=torch.contiguous_format)
        all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total: Tensor = _Sum.apply(gradient)
        return total
