"""What may be asked of an engine; precision is not among it, because it is written into the ONNX.

Standard library only: this travels to the board.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edgexai.errors import UserError

HARDWARE = ("none", "ampere_plus", "same_compute_capability")


@dataclass(frozen=True)
class BuildOptions:
    """Options of a build; all of them are part of the cache's key.

    Attributes:
        max_batch: the engine takes 1 to this many images at once; more are run in parts.
        opt_batch: the batch it is made fast for.
        workspace_mib: memory that a layer may use while it runs.
        optimization_level: 0 to 5; higher searches longer. 3 is TensorRT's default.
        tf32: whether float32 layers may round their inputs to 10 bits. TensorRT's default is to do so; here float32
            means float32 unless this is set.
        version_compatible: loads in later TensorRT versions of the same major, and is slower. Such a file carries host
            code, so it is only loaded with its sidecar.
        hardware: "none": for this GPU; "ampere_plus" or "same_compute_capability": for others too, and slower.
        dla_core: build for this deep learning accelerator; None for the GPU. Its batch is fixed.
        dla_fallback: layers that the accelerator cannot run go to the GPU; without it they end the build.
    """

    max_batch: int = 64
    opt_batch: int = 1
    workspace_mib: int = 512
    optimization_level: int = 3
    tf32: bool = False
    version_compatible: bool = False
    hardware: str = "none"
    dla_core: int | None = None
    dla_fallback: bool = True

    def __post_init__(self) -> None:
        faults = []
        if not 1 <= self.opt_batch <= self.max_batch:
            faults.append(f"opt_batch = {self.opt_batch}: 1 to max_batch = {self.max_batch}")
        if self.workspace_mib < 1:
            faults.append(f"workspace_mib = {self.workspace_mib}: at least 1")
        if not 0 <= self.optimization_level <= 5:
            faults.append(f"optimization_level = {self.optimization_level}: 0 to 5")
        if self.hardware not in HARDWARE:
            faults.append(f'hardware = "{self.hardware}": one of {", ".join(HARDWARE)}')
        if self.dla_core is not None and self.dla_core < 0:
            faults.append(f"dla_core = {self.dla_core}: 0 or more")
        if self.dla_core is not None and self.opt_batch != self.max_batch:
            faults.append(f"dla_core: its batch is fixed, so opt_batch must be max_batch, not {self.opt_batch}")
        if faults:
            raise UserError("the build options contradict themselves or TensorRT", problems=tuple(faults))

    @property
    def batches(self) -> tuple[int, int, int]:
        """Smallest, best and largest batch of the optimisation profile."""
        return (self.max_batch if self.dla_core is not None else 1), self.opt_batch, self.max_batch

    def to_json(self) -> dict[str, Any]:
        """For the sidecar and the cache's key."""
        return asdict(self)
