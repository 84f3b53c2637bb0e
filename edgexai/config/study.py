"""Schema of a study: arms that differ in a few tables of one recipe, seeds, the tables to print, the claims to judge.

A number is named as in ``column.py``: ``"robust_acc attack=pgd eps=8/255"``. Imports no torch.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from edgexai.config.column import check_column
from edgexai.config.fields import Table

_TABLES = ("data", "model", "train", "refine", "prune", "export", "engine", "measure")


def _check_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_]+", name):
        raise ValueError(f'"{name}": letters, digits and _ only')
    return name


ColumnName = Annotated[str, AfterValidator(check_column)]
ArmName = Annotated[str, AfterValidator(_check_name)]
Columns = Annotated[tuple[ColumnName, ...], Field(min_length=1, strict=False)]
Arms = Annotated[tuple[ArmName, ...], Field(strict=False)]


class ArmTable(Table):
    """One arm: keys that are laid over the study's base tables; or another network of an arm's recipe."""

    title: str
    like: ArmName | None = Field(None, description="another arm whose recipe this one shares")
    network: Literal["natural", "refined", "control", "pruned"] | None = Field(
        None, description="which network of the recipe; if absent the one that is deployed"
    )
    data: dict[str, Any] = Field(default_factory=dict)
    model: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)
    refine: dict[str, Any] = Field(default_factory=dict)
    prune: dict[str, Any] = Field(default_factory=dict)
    export: dict[str, Any] = Field(default_factory=dict)
    engine: dict[str, Any] = Field(default_factory=dict)
    measure: dict[str, Any] = Field(default_factory=dict)

    def tables(self) -> dict[str, dict[str, Any]]:
        """Recipe table -> keys laid over the base, without the empty ones."""
        return {name: keys for name in _TABLES if (keys := getattr(self, name))}

    @model_validator(mode="after")
    def _one_recipe(self) -> ArmTable:
        if self.like is not None and self.tables():
            raise ValueError(
                f'like = "{self.like}" takes that arm\'s recipe as it is; leave [{next(iter(self.tables()))}] out'
            )
        return self


class TableSpec(Table):
    """One printed table: an arm a line, a number a column."""

    title: str
    columns: Columns
    arms: Arms = Field((), description="lines; all arms when empty")


class Claim(Table):
    """A sentence of a source, as a difference between arms that can be seen or not.

    Within each seed the difference is averaged over ``arms`` and ``columns``; the verdict is read off its interval over
    the seeds.
    """

    source: str
    says: str
    theirs: str = Field("", description="the source's own numbers, in words")
    arms: Annotated[tuple[ArmName, ...], Field(min_length=1, strict=False)]
    against: ArmName
    columns: Columns
    direction: Literal["higher", "lower", "within"]
    margin: Annotated[float, Field(ge=0)] = Field(0.0, description="beyond it; or within it, for direction 'within'")


class Correlation(Table):
    """Spearman's rank correlation of two numbers, over images (mean of the arms) or over arms."""

    x: ColumnName
    y: ColumnName
    over: Literal["images", "arms"] = "images"
    arms: Arms = Field((), description="all arms when empty")
    source: str = ""
    says: str = ""
    theirs: str = ""
    direction: Literal["higher", "lower"] | None = Field(None, description="the sign that the source claims")


class Study(Table):
    """A whole study. ``base`` is a recipe's tables, or what is laid over those of a shipped ``recipe``."""

    title: str
    about: str = Field("", description="what a reader must know: what was shortened, and why")
    source: str = ""
    recipe: str | None = Field(None, description="shipped recipe whose tables are the base")
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1, strict=False)]
    baseline: ArmName
    artefact: Literal["fp32", "fp16", "int8-tensorrt", "int8-x86"] = Field("fp32", description="whose rows count")
    base: dict[str, dict[str, Any]] = Field(default_factory=dict)
    arms: Annotated[dict[ArmName, ArmTable], Field(min_length=1)]
    tables: Annotated[tuple[TableSpec, ...], Field(min_length=1, strict=False)]
    claims: Annotated[tuple[Claim, ...], Field(strict=False)] = ()
    correlations: Annotated[tuple[Correlation, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _known(self) -> Study:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds: each only once")
        if stray := set(self.base) - set(_TABLES):
            raise ValueError(f"base: {', '.join(sorted(stray))}: not a recipe's table; allowed: {', '.join(_TABLES)}")
        named = {"baseline": [self.baseline]}
        for name, arm in self.arms.items():
            named[f"arms.{name}.like"] = [arm.like] if arm.like else []
            if arm.like and arm.like in self.arms and self.arms[arm.like].like:
                raise ValueError(f"arms.{name}.like: {arm.like} is itself like another arm; name that one")
        for table in self.tables:
            named[f'tables "{table.title}"'] = list(table.arms)
        for claim in self.claims:
            named[f'claims "{claim.says}"'] = [*claim.arms, claim.against]
        for pair in self.correlations:
            named[f"correlations {pair.x}, {pair.y}"] = list(pair.arms)
        unknown = [
            f"{where}: no arm {name}" for where, names in named.items() for name in names if name not in self.arms
        ]
        if unknown:
            raise ValueError(f"{'; '.join(unknown)}; arms: {', '.join(self.arms)}")
        return self
