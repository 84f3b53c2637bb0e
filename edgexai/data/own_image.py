"""One image of a user's own data, before it is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Side = Literal["train", "val", "test", ""]
SIDES: dict[str, Side] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""What a folder or a CSV may call a split -> the split."""


@dataclass(frozen=True)
class OwnImage:
    """One row of a CSV, or one file of a class folder.

    Attributes:
        where: file, or CSV and line, for messages.
        path: of the image.
        label: the class's name.
        side: the split it was given to; "" where the user leaves that to edgexai.
        box: x1, y1, x2, y2 in pixels of the image, half-open; None where unknown.
        track: images with one text show one physical thing; "" where unknown.
    """

    where: str
    path: Path
    label: str
    side: Side = ""
    box: tuple[float, float, float, float] | None = None
    track: str = ""
