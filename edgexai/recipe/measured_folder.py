"""A run folder of a measurement without a recipe, so that ``edgexai report`` reads it as any other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import UserError
from edgexai.measure.twinless import Plan, main_split
from edgexai.measure.twinless_store import Found
from edgexai.recipe.environment import environment
from edgexai.recipe.lock import LOCK
from edgexai.report.folder import write_whole
from edgexai.report.html import write_report
from edgexai.types import Row


def write_measured(folder: Path, plan: Plan, rows: Sequence[Row], found: Found) -> Path:
    """Writes rows, what was measured, and the report.

    Args:
        folder: made where it is missing; one that holds a recipe's run is refused.
        plan: what was measured.
        rows: of ``measure.twinless_rows``.
        found: values of all images, for pictures.

    Returns:
        Path of ``report.html``.

    Raises:
        UserError: the folder cannot be written, or holds something else.
    """
    lock = folder / LOCK
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file", next_step="give a folder")
    if lock.is_file() and json.loads(lock.read_text(encoding="utf-8")).get("measured") is None:
        raise UserError(f"{folder}: holds a recipe's run", next_step="give another folder")
    words: dict[str, Any] = {
        "name": Path(plan.engine).stem,
        "title": f"{plan.engine} on {plan.data}",
        "run": plan.key,
        "recipe": {},
        "classes": list(plan.classes),
        "nodes": [],
        "environment": environment(),
        "measured": json.loads(plan.to_json()),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(lock, json.dumps(words, indent=1, sort_keys=True) + "\n")
        write_whole(folder / "measurements.jsonl", "".join(row.to_json() + "\n" for row in rows))
        _pictures(folder / "pictures", plan, found.get((main_split(plan.splits), "explain"), {}))
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}") from error
    return write_report(folder)


def _pictures(folder: Path, plan: Plan, values: Mapping[str, NDArray[Any]]) -> None:
    """``pictures/<arm>.npz``, or none where nothing was explained."""
    path = folder / f"{plan.arm}.npz"
    if "shown/images" not in values:
        path.unlink(missing_ok=True)
        return
    n = len(values["shown/images"])
    label_of = np.full(plan.outputs, -1, np.int64)
    label_of[list(plan.output_of)] = np.arange(len(plan.classes))
    arrays: dict[str, NDArray[Any]] = {
        "images": values["shown/images"],
        "boxes": values["shown/boxes"],
        "labels": values["label"][:n],
        "pred_engine": label_of[values["decided"][:n]],
    }
    for name, maps in values.items():
        if name.startswith("shown/map/"):
            arrays[f"engine__{name.rpartition('/')[2]}"] = maps
    folder.mkdir(exist_ok=True)
    with path.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
