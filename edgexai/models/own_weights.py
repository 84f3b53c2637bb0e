"""Puts a .safetensors file into a network of the user's own, or says in the user's words why it does not fit."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from edgexai.errors import UserError
from edgexai.models.arch import OwnFactory
from edgexai.models.own import OwnNetwork, check_own

_SHOWN = 5


def load_own_weights(net: OwnNetwork, own: OwnFactory, path: Path, *, sha256: str) -> None:
    """Fills ``net`` in place; the file's names are those of the user's module, without a prefix.

    Args:
        own: of ``net``.
        path: a .safetensors file.
        sha256: hex, as it was when the run was planned.

    Raises:
        UserError: no such file, another file than was planned with, not safetensors, tensors that are missing, unknown
            or of another shape, numbers that are not finite, or logits that are not.
    """
    where = f"model.weights: {path}"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{where}: cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(f"{where}: has changed since the run began", next_step="run the recipe again")
    try:
        state = load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise UserError(
            f"{where}: not a safetensors file: {error}",
            next_step="write it with safetensors.torch.save_file(module.state_dict(), path)",
        ) from error
    wanted = net.body.state_dict()
    faults = _some("missing", sorted(set(wanted) - set(state))) + _some("unexpected", sorted(set(state) - set(wanted)))
    both = sorted(set(wanted) & set(state))
    faults += _some(
        "shape",
        [
            f"{k} is {tuple(state[k].shape)}, the network wants {tuple(wanted[k].shape)}"
            for k in both
            if state[k].shape != wanted[k].shape
        ],
    )
    faults += _some("not finite", [k for k in both if not bool(torch.isfinite(state[k]).all())])
    if faults:
        raise UserError(
            f"{where}: does not fit {own.factory} with {net.arch.classes} classes at {net.arch.size} px",
            problems=tuple(faults),
            next_step="names and shapes must be those of the factory's module; a head of other classes does not fit",
        )
    net.body.load_state_dict(state)
    check_own(net, own)


def _some(what: str, names: list[str]) -> list[str]:
    more = [f"{what}: and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return [f"{what}: {name}" for name in names[:_SHOWN]] + more
