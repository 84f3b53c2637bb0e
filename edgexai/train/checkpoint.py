"""Training state at an epoch boundary, as safetensors + JSON: weights, optimiser, epoch, and what the loop adds.

The random state needs no room of its own: all draws of an epoch follow from (seed, epoch), see ``feed``. A checkpoint
is written aside and renamed, so a kill at any moment leaves the old one or the new one, never half of one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

_FILE = "checkpoint.safetensors"


def save_checkpoint(
    work: Path,
    *,
    epoch: int,
    net: nn.Module,
    optimiser: torch.optim.Optimizer,
    extra: Mapping[str, Tensor] | None = None,
    notes: Mapping[str, float] | None = None,
) -> None:
    """Replaces the checkpoint in ``work``; ``epoch`` is the next epoch to run."""
    work.mkdir(parents=True, exist_ok=True)
    tensors = {f"net.{k}": v for k, v in net.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"opt.{index}.{k}": v for k, v in state.items() if isinstance(v, Tensor)}
    tensors |= {f"extra.{k}": v for k, v in (extra or {}).items()}
    metadata = {"epoch": str(epoch), "notes": json.dumps(dict(notes or {}))}
    aside = work / f"{_FILE}.part"
    save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, aside, metadata=metadata)
    os.replace(aside, work / _FILE)


def load_checkpoint(
    work: Path, *, net: nn.Module, optimiser: torch.optim.Optimizer
) -> tuple[int, dict[str, Tensor], dict[str, float]] | None:
    """Restores ``net`` and ``optimiser`` in place.

    Returns:
        (next epoch, extra tensors, notes), or None where there is no usable checkpoint.
    """
    path = work / _FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            epoch, notes = int(metadata["epoch"]), json.loads(metadata["notes"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, LookupError, TypeError, ValueError, RuntimeError, SafetensorError):
        path.unlink()  # damaged by something else than us; training starts again
        return None
    net.load_state_dict({k[4:]: v for k, v in tensors.items() if k.startswith("net.")})
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("opt."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    extra = {k[6:]: v for k, v in tensors.items() if k.startswith("extra.")}
    return epoch, extra, notes
