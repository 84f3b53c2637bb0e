"""Schema of a dataset card (``datasets/*.toml``): what the data are, whose they are, and what to beware of.

A card holds no data and no paths. Imports no torch.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from edgexai.config.recipe import Table


class SplitCard(Table):
    """One split: its name in ``Dataset.splits``, where it comes from, and what it may be used for."""

    name: Annotated[str, Field(pattern=r"^[a-z_]+$")]
    use: Literal["train", "choose", "test"] = Field(description="'choose' = thresholds and hyper-parameters")
    about: str


class Card(Table):
    """A whole card."""

    title: str
    kind: Literal["photographs", "rendered"]
    source: str
    licence: str
    citation: str
    classes: Annotated[tuple[str, ...], Field(min_length=2, strict=False)]
    splits: Annotated[tuple[SplitCard, ...], Field(min_length=2, strict=False)]
    traps: Annotated[tuple[str, ...], Field(strict=False)] = Field((), description="what has misled others")

    @model_validator(mode="after")
    def _no_repeats(self) -> Card:
        for what, names in (("class", self.classes), ("split", tuple(s.name for s in self.splits))):
            if twice := sorted({n for n in names if names.count(n) > 1}):
                raise ValueError(f"{what} named twice: {', '.join(twice)}")
        return self
