"""Options that say how an image becomes a foreign file's input; the same of every verb that takes one."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from edgexai.errors import UserError

if TYPE_CHECKING:
    from edgexai.engine.foreign import Preprocessing


class LayoutChoice(str, Enum):
    """Where the channels stand."""

    NCHW = "nchw"
    NHWC = "nhwc"


class AnswerChoice(str, Enum):
    """What an ONNX file gives."""

    LOGITS = "logits"
    PROBABILITIES = "probabilities"


MeanOption = Annotated[str | None, typer.Option("--mean", help="Of (x - mean) / std on [0,1]: 0.485,0.456,0.406")]
StdOption = Annotated[str | None, typer.Option("--std", help="0.229,0.224,0.225")]
SizeOption = Annotated[str | None, typer.Option("--size", help="Input in pixels: 224, or 240x320 (height x width).")]
LayoutOption = Annotated[LayoutChoice | None, typer.Option("--layout", help="Default: looked up.")]
AnswerOption = Annotated[AnswerChoice | None, typer.Option("--answer", help="What the file gives; default: tried.")]
OutputOption = Annotated[str | None, typer.Option("--output", help="Name of the output with the classes.")]


def preprocessing(
    *,
    mean: str | None,
    std: str | None,
    size: str | None,
    layout: LayoutChoice | None,
    answer: AnswerChoice | None,
    output: str | None,
) -> Preprocessing:
    """The options as the engine takes them; what is not given is None.

    Raises:
        UserError: not numbers, or out of range.
    """
    from edgexai.engine.foreign import Preprocessing

    prepare = Preprocessing(
        mean=_three(mean, "--mean"),
        std=_three(std, "--std"),
        size=_size(size),
        layout=None if layout is None else layout.value,
        answer=None if answer is None else answer.value,
        output=output,
    )
    if prepare.std is not None and min(prepare.std) <= 0:
        raise UserError(f"--std {std}: each must be above 0")
    return prepare


def _three(text: str | None, option: str) -> tuple[float, float, float] | None:
    if text is None:
        return None
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) == 1:
        values *= 3
    if len(values) != 3 or not all(abs(v) < 1e6 for v in values):
        raise UserError(f"{option} {text}: wanted three numbers, e.g. 0.485,0.456,0.406, or one for all channels")
    return values[0], values[1], values[2]


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdigit() and 0 < int(part) <= 4096 for part in parts):
        raise UserError(f"--size {text}: wanted pixels, e.g. 224, or 240x320 for height x width")
    return int(parts[0]), int(parts[-1])
