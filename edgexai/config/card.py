"""Schema of a dataset card (``datasets/*.toml``): what the data are, whose they are, and what to beware of.

A shipped card holds no data and no paths; a user's own card names the folder or the CSV it was made from. Imports no
torch.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from edgexai.config.recipe import Table

Digest = Annotated[str, StringConstraints(pattern=r"^(md5:[0-9a-f]{32}|sha256:[0-9a-f]{64})$")]


class SplitCard(Table):
    """One split: its name in ``Dataset.splits``, where it comes from, and what it may be used for."""

    name: Annotated[str, Field(pattern=r"^[a-z_]+$")]
    use: Literal["train", "choose", "test"] = Field(description="'choose' = thresholds and hyper-parameters")
    about: str


class OwnFiles(Table):
    """Where a user's own images lie."""

    path: str = Field(description="absolute: a folder with one folder per class, or a CSV of paths and labels")
    layout: Literal["folders", "csv"]


class Card(Table):
    """A whole card."""

    title: str
    kind: Literal["photographs", "rendered", "corrupted"]
    source: str
    licence: str
    citation: str
    classes: Annotated[tuple[str, ...], Field(min_length=2, strict=False)]
    splits: Annotated[tuple[SplitCard, ...], Field(min_length=2, strict=False)]
    traps: Annotated[tuple[str, ...], Field(strict=False)] = Field((), description="what has misled others")
    boxes: bool = Field(False, description="every image has a box that tells sign from background")
    masks: bool = Field(False, description="every image has an exact mask")
    tracks: bool = Field(False, description="training images say which show one physical sign")
    mirrored: bool | None = Field(
        None, description="a mirrored image keeps its class; false: a flip may make another; absent: unknown"
    )
    labels: dict[str, str] = Field(
        default_factory=dict,
        description="the source's label -> class; where absent, labels are class names; others are left out",
    )
    digests: dict[str, Digest] = Field(default_factory=dict, description="published file name -> its digest")
    of: str | None = Field(None, description="of corrupted data: the card of the clean images")
    own: OwnFiles | None = Field(None, description="of a user's own data")

    @model_validator(mode="after")
    def _agrees(self) -> Card:
        for what, names in (("class", self.classes), ("split", tuple(s.name for s in self.splits))):
            if twice := sorted({n for n in names if names.count(n) > 1}):
                raise ValueError(f"{what} named twice: {', '.join(twice)}")
        if self.labels and set(self.labels.values()) != set(self.classes):
            odd = sorted(set(self.labels.values()) ^ set(self.classes))
            raise ValueError(f"labels and classes differ: {', '.join(odd)}")
        if (self.kind == "corrupted") != (self.of is not None):
            raise ValueError('"of" belongs to kind = "corrupted", and to no other')
        return self

    def class_of(self) -> dict[str, int]:
        """The source's label -> number of its class, for every label that counts."""
        number = {name: k for k, name in enumerate(self.classes)}
        return {label: number[name] for label, name in self.labels.items()} if self.labels else number
