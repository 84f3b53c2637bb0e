"""What an ensemble of attacks remembers between two kills: one .npz of plain arrays, replaced as a whole."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import UserError
from edgexai.types import Images

_FILE = "ensemble.npz"
_SAME_MARGIN = 1e-3


@dataclass
class EnsembleState:
    """Progress of one run.

    Attributes:
        run: uint8 (32,): SHA-256 of images, labels and settings.
        margin: float64 (N,): clean margins of the attacked callable; tells one network from another.
        images: float32 (N,3,H,W): what fools, or the clean image.
        fooled_by: int64 (N,): -1 stands, 0 wrong without attack, k = fell to the k-th part.
        queries: int64 (N,P).
        position: int64 (2,): parts finished, and images of the next part finished.
    """

    run: NDArray[np.uint8]
    margin: NDArray[np.float64]
    images: Images
    fooled_by: NDArray[np.int64]
    queries: NDArray[np.int64]
    position: NDArray[np.int64]

    def write(self, folder: Path) -> None:
        """Replaces the state in ``folder`` at once: a kill leaves the old one or the new one."""
        folder.mkdir(parents=True, exist_ok=True)
        aside = folder / f"{_FILE}.{os.getpid()}.part"
        with aside.open("wb") as file:
            np.savez(file, **{f.name: getattr(self, f.name) for f in fields(self)})
        aside.replace(folder / _FILE)

    def read(self, folder: Path) -> EnsembleState:
        """The state in ``folder`` if it is of this very run, this fresh state where there is none.

        Raises:
            UserError: ``folder`` holds another run's state, or a damaged one.
        """
        path = folder / _FILE
        if not path.is_file():
            return self
        try:
            with np.load(path, allow_pickle=False) as data:
                found = EnsembleState(**{f.name: data[f.name] for f in fields(self)})
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise UserError(f"{path}: not a state of attacks: {error}", next_step="delete the file") from error
        if not np.array_equal(found.run, self.run):
            raise UserError(
                f"{path} belongs to other images, labels or settings", next_step="give an empty folder, or delete it"
            )
        # The largest margin sets the scale: another batch size may change a logit's last digits, not its third.
        scale = max(1.0, float(np.abs(self.margin).max(initial=0)))
        if np.abs(found.margin - self.margin).max(initial=0) > _SAME_MARGIN * scale:
            raise UserError(f"{path} belongs to another network", next_step="give an empty folder, or delete it")
        return found
