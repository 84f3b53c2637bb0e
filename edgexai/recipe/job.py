"""What one stage is given. A stage function takes a ``Job``, fills ``out`` and returns nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgexai.types import Progress

if TYPE_CHECKING:
    from edgexai.train.parallel import Team


@dataclass(frozen=True)
class Job:
    """One stage of one arm.

    Attributes:
        name: node name, e.g. "refine[control]".
        stage: key of ``STAGES``.
        arm: "natural", "refined", "control" or "pruned"; "" for stages that belong to none.
        table: the recipe's table with defaults, plus what ``plan.py`` adds; JSON-able.
        inputs: role -> stored folder, read only.
        out: empty folder to fill; it becomes the stored entry when the function returns.
        work: folder that survives a kill or a failure, for checkpoints; removed on success.
        seed: of every random draw of the stage.
        device: "cpu" or "cuda"; used or refused.
        data_root: where data sets lie, or None for ``EDGEXAI_DATA``.
        progress: takes events; ``{"scalars": {...}, "step": n}`` also goes to TensorBoard.
        team: the processes that train together, or None for this one alone.
    """

    name: str
    stage: str
    arm: str
    table: Mapping[str, Any]
    inputs: Mapping[str, Path]
    out: Path
    work: Path
    seed: int
    device: str
    data_root: Path | None
    progress: Progress
    team: Team | None = None
