"""Who is being measured: the words that every row of one artefact shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgexai.types import Predict


@dataclass(frozen=True)
class Subject:
    """One artefact of one arm, and the callable that runs it.

    Attributes:
        predict: the engine (or the twin as forward-only).
        arm, artefact, subject, runtime: as in ``types.Row``.
    """

    predict: Predict
    arm: str
    artefact: str
    subject: Literal["engine", "twin"]
    runtime: str
