"""The processes that train one network together, started by torchrun; every training loop takes a ``Team``.

The result is that of one process up to the order of float sums: batches, draws and schedule are the recipe's, whatever
the number of processes (``train.share``), and batch norm sees whole batches (``train.shared_layers``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist

from edgexai.train.share import Share, lost


@dataclass(frozen=True)
class Team:
    """Who trains.

    Attributes:
        rank: this process, from 0; the first one writes what lasts.
        size: number of processes.
        patient: group for messages that may take hours to come; needed where ``size`` is above 1.
    """

    rank: int = 0
    size: int = 1
    patient: dist.ProcessGroup | None = None

    @property
    def leads(self) -> bool:
        """True of the first process."""
        return self.rank == 0

    def share(self, batch: int) -> Share:
        """This process's rows of batches of ``batch`` images."""
        return Share(self.rank, self.size, batch)

    def first_number(self, value: float) -> float:
        """The first process's number, for all: a decision that hangs on it must fall alike everywhere."""
        if self.size == 1:
            return value
        told = torch.tensor([value], dtype=torch.float64)
        self._broadcast(told)
        return float(told)

    def first_bytes(self, content: bytes) -> bytes:
        """The first process's bytes, for all; waits as long as it takes.

        Raises:
            ProcessLost: another process has gone.
        """
        if self.size == 1:
            return content
        length = torch.tensor([len(content)])
        self._broadcast(length)
        told = torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.zeros(0, dtype=torch.uint8)
        if not self.leads:
            told = torch.zeros(int(length), dtype=torch.uint8)
        if len(told):
            self._broadcast(told)
        return told.numpy().tobytes()

    def first_file(self, path: Path) -> None:
        """Gives the first process's file to the others, each at its own ``path``."""
        content = self.first_bytes(path.read_bytes() if self.leads else b"")
        if not self.leads:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def _broadcast(self, values: torch.Tensor) -> None:
        try:
            dist.broadcast(values, 0, group=self.patient)
        except RuntimeError as error:  # torch has no narrower type for a closed connection
            raise lost() from error


ALONE = Team()
"""One process: nothing is split, nothing is sent."""
