"""Whether an engine file may run on this machine: engines belong to a TensorRT and a GPU unless built to travel.

Standard library only: this travels to the board.
"""

from __future__ import annotations

from pathlib import Path

from edgexai.engine.cuda import Gpu
from edgexai.engine.tensorrt_library import TensorRT, version_of
from edgexai.engine.tensorrt_sidecar import Provenance
from edgexai.errors import MissingCapability

REBUILD = "build the engine again on this machine, from its ONNX"


def refuse_misfit(path: Path, made: Provenance, library: TensorRT, card: Gpu) -> None:
    """Nothing where the engine may run here.

    Args:
        path: the engine, for messages.
        made: its sidecar.
        library, card: TensorRT and GPU of this machine.

    Raises:
        MissingCapability: it was built for another TensorRT or GPU, and not to travel there.
    """
    faults = []
    if made.library != library.__name__:
        faults.append(f"built with {made.library} to check the file, not to run")
    elif made.tensorrt != library.__version__:
        before, now = version_of(made.tensorrt), version_of(library.__version__)
        if not (made.options.get("version_compatible") and before[0] == now[0] and before <= now):
            faults.append(f"built with TensorRT {made.tensorrt}; here is {library.__version__}")
    # All Orin modules have one name and one compute capability; the multiprocessors tell them apart.
    here = {name: getattr(card, name) for name in ("name", "compute_capability", "multiprocessors")}
    there = {name: made.gpu.get(name) for name in here}
    bound = {"none": tuple(here), "same_compute_capability": ("compute_capability",)}
    if any(there[name] != here[name] for name in bound.get(str(made.options.get("hardware", "none")), ())):
        told = [
            "{name}, compute capability {compute_capability}, {multiprocessors} SM".format(**g) for g in (there, here)
        ]
        faults.append(f"built on {told[0]}; here is {told[1]}")
    if faults:
        raise MissingCapability(f"{path}: not an engine for this machine", problems=tuple(faults), next_step=REBUILD)
