"""A network on disk: ``weights.safetensors`` + ``arch.json``. No pickle is written or read."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from edgexai.errors import UserError
from edgexai.models import ARCHITECTURES
from edgexai.models.arch import Arch
from edgexai.models.base import Network
from edgexai.models.own import build_own


def build(arch: Arch, *, seed: int) -> Network:
    """A freshly initialised network; the same seed gives the same weights, global random state is left alone."""
    if arch.own is not None:
        return build_own(arch, arch.own, seed=seed)
    if arch.name not in ARCHITECTURES:
        raise UserError(f'model "{arch.name}" is unknown; allowed: {", ".join(ARCHITECTURES)}')
    make = ARCHITECTURES[arch.name].load()
    wanted = len(make.default_widths)
    if len(arch.widths) != wanted:
        raise UserError(f"model.widths: {arch.name} takes {wanted} widths, got {len(arch.widths)}")
    if arch.size < make.smallest_size:
        raise UserError(
            f"data.size = {arch.size}: {arch.name} shrinks that to nothing; it takes {make.smallest_size} or more",
            next_step=f"set data.size = {make.smallest_size}, or take another model",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net: Network = make(arch)
    return net


def default_widths(name: str) -> tuple[int, ...]:
    """The widths an architecture has before pruning; none for a network of the user's own."""
    if name == "own":
        return ()
    widths: tuple[int, ...] = ARCHITECTURES[name].load().default_widths
    return widths


def save(net: Network, folder: Path) -> None:
    """Writes ``net`` with its current widths into ``folder`` (made if absent)."""
    folder.mkdir(parents=True, exist_ok=True)
    # safetensors wants plain contiguous tensors that share no memory; the network's own are not changed in place.
    state = {k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in net.state_dict().items()}
    save_file(state, folder / "weights.safetensors")
    (folder / "arch.json").write_text(json.dumps(net.arch.to_json(), indent=1) + "\n")


def load(folder: Path, *, device: str = "cpu") -> Network:
    """Rebuilds a saved network, in eval mode.

    Raises:
        UserError: files are missing or do not fit together.
    """
    try:
        arch = Arch.from_json(json.loads((folder / "arch.json").read_text()))
        state = load_file(folder / "weights.safetensors", device=device)
    except (OSError, LookupError, TypeError, ValueError, SafetensorError) as error:
        raise UserError(f"{folder}: not a saved network: {error}") from error
    try:
        net = build(arch, seed=0)
        net.load_state_dict(state)
    except (RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder}: weights do not fit arch.json", problems=tuple(str(error).splitlines()[:3])
        ) from error
    return net.to(device).eval()
