"""What the tables of a recipe are made of: the strict base, and the kinds of values that several of them take."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from edgexai.config.card_files import unknown_card
from edgexai.config.pixels import pixels as pixels


def _check_eps(text: str) -> str:
    try:
        value = pixels(text)
    except (ValueError, ArithmeticError) as error:
        raise ValueError(f'"{text}" is not a fraction or a number; write "8/255"') from error
    if not 0 < value <= 1:
        raise ValueError(f'"{text}" is not in (0, 1]')
    return text


def _check_card(name: str) -> str:
    if said := unknown_card(name):
        raise ValueError(said)
    return name


def _check_radius(text: str) -> str:
    try:
        value = pixels(text)
    except (ValueError, ArithmeticError) as error:
        raise ValueError(f'"{text}" is not a fraction or a number; write "8/255"') from error
    if value <= 0:
        raise ValueError(f'"{text}" is not above 0')
    return text


Eps = Annotated[str, AfterValidator(_check_eps)]
Radius = Annotated[str, AfterValidator(_check_radius)]
CardName = Annotated[str, AfterValidator(_check_card)]
Fraction01 = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]


class Table(BaseModel):
    """Base of every table: frozen, strict, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
