"""Flags of one round on disk: a plain .npz written aside and renamed."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

import numpy as np

from edgexai.train.detect import Flags


def flag_path(folder: Path, this_round: int) -> Path:
    """Where the flags of a round lie."""
    return folder / f"flags_{this_round}.npz"


def write_flags(folder: Path, this_round: int, flags: Flags) -> None:
    """Writes ``flags_<round>.npz``; a kill leaves the whole file or none."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".flags_{this_round}.part.npz"
    np.savez(aside, **{f.name: getattr(flags, f.name) for f in fields(Flags)})
    os.replace(aside, flag_path(folder, this_round))


def read_flags(folder: Path, this_round: int) -> Flags | None:
    """The flags of a round, or None where it has none yet."""
    path = flag_path(folder, this_round)
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as data:
        return Flags(*(data[f.name] for f in fields(Flags)))
