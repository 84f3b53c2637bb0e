"""Schema of a board target (``deploy/targets/*.toml``): what a board of that name has, and where that is known from.

A target holds facts to be held against a real board, never settings. Where a fact was read in second-hand material or
could not be confirmed, its key is in ``unverified``; it is shown so and never decides alone. Imports no torch.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from edgexai.config.fields import Table

Version = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)*$")]
"""A version, or the beginning of one: "36.4" stands for 36.4.0 and 36.4.3."""
Line = Annotated[str, StringConstraints(min_length=3, max_length=300, pattern=r"^[^\n]+$")]


class PowerMode(Table):
    """A mode of ``nvpmodel``: its number differs per module, and its watts cap clocks, they are no power meter."""

    id: Annotated[int, Field(ge=0, le=15)]
    name: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9_]+$")]
    module: Line = Field(description="for which module of the family")


class Target(Table):
    """A whole target."""

    title: Line
    model: Annotated[tuple[Line, ...], Field(min_length=1, strict=False)] = Field(
        description="one of these stands in /proc/device-tree/model"
    )
    machine: Annotated[str, Field(pattern="^(aarch64|x86_64)$")] = "aarch64"
    jetpack: Annotated[tuple[Version, ...], Field(min_length=1, strict=False)]
    l4t: Annotated[tuple[Version, ...], Field(min_length=1, strict=False)] = Field(
        description="Jetson Linux releases, or beginnings of them"
    )
    python: Version
    cuda: Version
    tensorrt: Annotated[tuple[Version, ...], Field(min_length=1, strict=False)]
    sm: Version = Field(description="compute capability of the GPU")
    dla_cores: Annotated[tuple[Annotated[int, Field(ge=0, le=2)], ...], Field(min_length=1, strict=False)] = Field(
        description="per module of the family, smallest first; 0: none"
    )
    dla_usable: bool = Field(description="whether this JetPack's TensorRT can build for the DLA")
    power_modes: Annotated[tuple[PowerMode, ...], Field(strict=False)] = ()
    base_image: Annotated[str, StringConstraints(pattern=r"^[a-z0-9./-]+:[A-Za-z0-9._-]+$")] | None = Field(
        None, description="for Dockerfile.jetson's BASE, without the registry; absent: none is known"
    )
    unverified: Annotated[tuple[str, ...], Field(strict=False)] = Field((), description="keys not confirmed")
    sources: Annotated[tuple[Line, ...], Field(min_length=1, strict=False)]
    notes: Annotated[tuple[Line, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _agrees(self) -> Target:
        if odd := sorted(set(self.unverified) - set(type(self).model_fields)):
            raise ValueError(f"unverified names no key of a target: {', '.join(odd)}")
        if self.dla_usable and not any(self.dla_cores):
            raise ValueError("dla_usable without a DLA core")
        places = [(mode.module, mode.id) for mode in self.power_modes]
        if len(set(places)) < len(places):
            raise ValueError("a module has two power modes of one number")
        return self
