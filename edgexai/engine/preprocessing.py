"""How an image in [0,1] becomes the input of a foreign file: what the user says, else what the file's metadata say."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from edgexai.errors import UserError

Layout = Literal["nchw", "nhwc"]
Answer = Literal["logits", "probabilities"]


@dataclass(frozen=True)
class Preprocessing:
    """How an image in [0,1] becomes the file's input; None = look at the file.

    Attributes:
        mean, std: per channel, of (x - mean) / std, on [0,1]; of an integer input, refused.
        size: (height, width).
        layout: "nchw" or "nhwc".
        answer: what the file's output is.
        output: name of the output that holds the classes.
    """

    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    size: tuple[int, int] | None = None
    layout: Layout | None = None
    answer: Answer | None = None
    output: str | None = None


def filled_from_metadata(given: Preprocessing, metadata: dict[str, str], path: Path) -> Preprocessing:
    """``given``, its gaps filled from the file's metadata ``mean``, ``std``, ``layout`` and ``size``.

    Raises:
        UserError: a value there makes no sense, or mean or std were given for a file of edgexai.
    """
    if any(key.startswith("edgexai.") for key in metadata):
        if given.mean is not None or given.std is not None:
            raise UserError(f"{path}: an edgexai file normalises inside", next_step="leave mean and std out")
        return given
    told: dict[str, Any] = {}
    for key in ("mean", "std", "size", "layout"):
        if key not in metadata or getattr(given, key) is not None:
            continue
        text = metadata[key].strip()
        value: Any = None
        try:
            bare = "," in text and not text.startswith("[")
            value = text.lower() if key == "layout" else json.loads(f"[{text}]" if bare else text)
        except ValueError:
            pass  # said below
        values = value if isinstance(value, list) else [value]
        numbers = values if all(_is_number(v) for v in values) else []
        if key in ("mean", "std") and len(numbers) == 3 and (key == "mean" or min(numbers) > 0):
            told[key] = tuple(float(v) for v in numbers)
        elif key == "size" and 1 <= len(numbers) <= 2 and all(v == int(v) and 1 <= v <= 4096 for v in numbers):
            told[key] = int(numbers[0]), int(numbers[-1])
        elif key == "layout" and value in ("nchw", "nhwc"):
            told[key] = value
        else:
            raise UserError(
                f'{path}: its metadata says {key} = "{text}", which is not understood', next_step=f"give --{key}"
            )
    return replace(given, **told)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e6
