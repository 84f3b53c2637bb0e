"""Reads a run folder: lock, rows, gates, pictures. Every part may be absent; a damaged part is named with its line.

Layout: docs/architecture.md, "Store and run folder". Besides it, ``gates.json`` (a list of objects with ``name``,
``condition``, ``value``, ``bound``, ``passed``) is read where a run wrote one.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import UserError
from edgexai.types import Row

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class RunFolder:
    """What a run left behind.

    Attributes:
        path: the folder.
        lock: recipe.lock.json, {} when absent.
        rows: measurements.jsonl in file order.
        gates: verdicts, one object a gate.
        pictures: arm -> arrays of pictures/<arm>.npz.
        refinements: arm -> arrays of pictures/refine_<arm>.npz.
        drifts: arm -> arrays of pictures/drift_<arm>.npz.
        boards: board -> rows that its agent measured, of boards/<board>.jsonl.
    """

    path: Path
    lock: Mapping[str, Any]
    rows: tuple[Row, ...]
    gates: tuple[Mapping[str, Any], ...]
    pictures: Mapping[str, Arrays]
    refinements: Mapping[str, Arrays]
    boards: Mapping[str, tuple[Row, ...]] = field(default_factory=dict)
    drifts: Mapping[str, Arrays] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The recipe's name: from the lock, else the folder above."""
        return str(self.lock.get("name") or self.path.resolve().parent.name)

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The resolved recipe, {} when the lock has none."""
        recipe = self.lock.get("recipe", {})
        return recipe if isinstance(recipe, dict) else {}

    @property
    def title(self) -> str:
        """The recipe's title, else its name."""
        return str(self.lock.get("title") or self.recipe.get("title") or self.name)

    @property
    def trained_on(self) -> str:
        """In words: which images trained the network; "" where the lock has no recipe."""
        data = self.recipe.get("data", {})
        if not isinstance(data, dict) or "name" not in data:
            return ""
        rendered = data.get("rendered", 0)
        beside = f", and {rendered} rendered images per class; rendered images are never scored" if rendered else ""
        limit = data.get("limit_per_class")
        few = f"only the first {limit} images per class of " if limit else ""
        return f"{few}the training split of {data['name']}{beside}"

    @property
    def trained(self) -> str:
        """The recipe's ``train.method``, "natural" where the lock has none."""
        train = self.recipe.get("train", {})
        return str(train.get("method", "natural")) if isinstance(train, dict) else "natural"

    @property
    def on_validation(self) -> bool:
        """The recipe measures on the validation split."""
        measure = self.recipe.get("measure", {})
        return isinstance(measure, dict) and measure.get("split") == "val"

    def class_name(self, label: int) -> str:
        """Class name with its number; only the number where the lock has no list."""
        names = self.lock.get("classes")
        if isinstance(names, list) and 0 <= label < len(names):
            return f"{names[label]} ({label})"
        return f"class {label}"


def _json(path: Path, kind: type) -> Any:
    if not path.is_file():
        return kind()
    try:
        data = json.loads(path.read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: not JSON ({error})", next_step="run the recipe again; it rewrites this file"
        ) from error
    if not isinstance(data, kind):
        raise UserError(
            f"{path}: holds {type(data).__name__}, expected {kind.__name__}", next_step="run the recipe again"
        )
    return data


def _rows(path: Path) -> tuple[Row, ...]:
    if not path.is_file():
        return ()
    rows, faults = [], []
    for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            rows.append(Row.from_json(line))
        except (ValueError, TypeError, AttributeError) as error:
            faults.append(f"{path.name}:{number}: {error}")
    if faults:
        raise UserError(
            f"{path}: {len(faults)} damaged line(s)",
            problems=tuple(faults[:10]),
            next_step="run the recipe again; finished stages are reused and the rows are rewritten",
        )
    return tuple(rows)


def _arrays(path: Path) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise UserError(
            f"{path}: not a readable array pack ({error})", next_step="delete it or run the recipe again"
        ) from error


def read_run(run: Path) -> RunFolder:
    """Reads ``run``.

    Raises:
        UserError: no such folder, or a file in it is damaged (named, with its line).
    """
    if not run.is_dir():
        raise UserError(f"{run}: no such run folder", next_step="edgexai recipe run NAME makes one")
    lock = _json(run / "recipe.lock.json", dict)
    gates = _json(run / "gates.json", list) or lock.get("gates") or []
    packs = sorted((run / "pictures").glob("*.npz"))
    return RunFolder(
        path=run,
        lock=lock,
        rows=_rows(run / "measurements.jsonl"),
        gates=tuple(g for g in gates if isinstance(g, dict)),
        pictures={p.stem: _arrays(p) for p in packs if not p.stem.startswith(("refine_", "drift_"))},
        refinements={p.stem.removeprefix("refine_"): _arrays(p) for p in packs if p.stem.startswith("refine_")},
        drifts={p.stem.removeprefix("drift_"): _arrays(p) for p in packs if p.stem.startswith("drift_")},
        boards={p.stem: _rows(p) for p in sorted((run / "boards").glob("*.jsonl"))},
    )


def write_whole(path: Path, text: str) -> None:
    """Writes aside and renames once, so that a reader never meets half a file."""
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
        os.chmod(aside, 0o644)
        os.replace(aside, path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
