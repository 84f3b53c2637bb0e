"""Finished batches on disk: done again never, merged once, the same whoever did them.

A folder of a plan holds ``plan.json``, ``batches.json`` (the names of all its batches) and one ``.npz`` per finished
batch, written aside and renamed, so that a process that is killed loses the batch it was in. A part (``--shards k/n``)
is the same in one file.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import UserError
from edgexai.measure.twinless import Batch, Plan
from edgexai.measure.twinless_batch import Values

Found = dict[tuple[str, str], dict[str, NDArray[Any]]]
"""(split, kind) -> name -> values of all its images, in the order of the batches."""
_SEPARATOR = "|"


class BatchStore:
    """The folder of one plan.

    Args:
        folder: made where it is missing.
        plan: what is measured.
        batches: all of its work.

    Raises:
        UserError: the folder cannot be written.
    """

    def __init__(self, folder: Path, plan: Plan, batches: Sequence[Batch]) -> None:
        self.folder, self.plan, self._names = folder, plan, [batch.name for batch in batches]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder / "plan.json", (plan.to_json() + "\n").encode())
            _write(folder / "batches.json", json.dumps(self._names).encode())
        except OSError as error:
            raise UserError(f"{folder}: cannot be written: {error.strerror}", next_step="set EDGEXAI_HOME") from error

    def has(self, batch: Batch) -> bool:
        """The batch is finished."""
        return (self.folder / f"{batch.name}.npz").is_file()

    def put(self, batch: Batch, values: Values) -> None:
        """Keeps a finished batch: whole, or not at all."""
        _write(self.folder / f"{batch.name}.npz", values)

    def missing(self) -> list[str]:
        """Names of batches that nobody has finished."""
        return [name for name in self._names if not (self.folder / f"{name}.npz").is_file()]

    def gather(self) -> Found:
        """All values of all images.

        Raises:
            UserError: batches are missing or damaged.
        """
        if missing := self.missing():
            raise UserError(f"{self.folder}: {len(missing)} of {len(self._names)} batches are not measured yet")
        return _joined({name: _read(self.folder / f"{name}.npz") for name in self._names})

    def write_part(self, path: Path, batches: Sequence[Batch]) -> None:
        """One file with the plan and these batches, for ``merge_parts``."""
        words = {"plan": json.loads(self.plan.to_json()), "batches": self._names}
        arrays: dict[str, NDArray[Any]] = {"words": np.array(json.dumps(words, sort_keys=True))}
        for batch in batches:
            values = _read(self.folder / f"{batch.name}.npz")
            arrays |= {f"{batch.name}{_SEPARATOR}{name}": array for name, array in values.items()}
        _write(path, arrays, small=True)


def merge_parts(paths: Sequence[Path]) -> tuple[Plan, Found]:
    """What several processes measured, put together.

    Args:
        paths: parts of one plan, in any order; a batch that two of them hold must be equal in both, timings aside.

    Raises:
        UserError: a file is no part, the parts are of different plans, or batches are missing.
    """
    parts = [_read_part(path) for path in paths]
    first = parts[0][0]
    strangers = [
        f"{p}: {_differences(first, words)}" for p, (words, _) in zip(paths, parts, strict=True) if words != first
    ]
    if strangers:
        raise UserError(f"these parts are not of one measurement ({paths[0]} is the first)", problems=tuple(strangers))
    found: dict[str, dict[str, NDArray[Any]]] = {}
    for path, (_, batches) in zip(paths, parts, strict=True):
        for name, values in batches.items():
            if name in found and "-latency-" not in name and not _equal(found[name], values):
                raise UserError(f"{path}: batch {name} differs from another part's", next_step="measure that part anew")
            found.setdefault(name, values)
    names = json.loads(first)["batches"]
    if missing := [name for name in names if name not in found]:
        raise UserError(
            f"{len(missing)} of {len(names)} batches are in none of these parts: {', '.join(missing[:5])} ...",
            next_step="give the parts of all shards",
        )
    plan = Plan.from_json(json.dumps(json.loads(first)["plan"]))
    return plan, _joined({name: found[name] for name in names})


def _read_part(path: Path) -> tuple[str, dict[str, dict[str, NDArray[Any]]]]:
    arrays = _read(path)
    if "words" not in arrays:
        raise UserError(f"{path}: not a part that edgexai measure --shards wrote")
    batches: dict[str, dict[str, NDArray[Any]]] = {}
    for key, array in arrays.items():
        name, separator, inner = key.partition(_SEPARATOR)
        if separator:
            batches.setdefault(name, {})[inner] = array
    words = str(arrays["words"])
    try:
        Plan.from_json(json.dumps(json.loads(words)["plan"]))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: written by another version of edgexai", next_step="measure that part anew") from error
    return words, batches


def _differences(first: str, other: str) -> str:
    one, two = json.loads(first)["plan"], json.loads(other)["plan"]
    keys = sorted(key for key in one.keys() | two.keys() if one.get(key) != two.get(key))
    return f"differs in {', '.join(keys) or 'its batches'}"


def _joined(batches: Mapping[str, Mapping[str, NDArray[Any]]]) -> Found:
    lists: dict[tuple[str, str], dict[str, list[NDArray[Any]]]] = {}
    for name, values in batches.items():
        split, kind, _ = name.rsplit("-", 2)
        for key, array in values.items():
            lists.setdefault((split, kind), {}).setdefault(key, []).append(array)
    return {of: {key: np.concatenate(arrays) for key, arrays in named.items()} for of, named in lists.items()}


def _equal(one: Mapping[str, NDArray[Any]], two: Mapping[str, NDArray[Any]]) -> bool:
    return one.keys() == two.keys() and all(
        np.array_equal(one[key], two[key], equal_nan=one[key].dtype.kind == "f") for key in one
    )


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, AttributeError) as error:
        raise UserError(f"{path}: cannot be read: {error}", next_step="delete it and measure again") from error


def _write(path: Path, data: bytes | Mapping[str, NDArray[Any]], *, small: bool = False) -> None:
    """Aside, then renamed: a reader never meets half a file; readable by all, since others may work in this folder."""
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            if isinstance(data, bytes):
                stream.write(data)
            else:
                (np.savez_compressed if small else np.savez)(stream, **data)  # type: ignore[arg-type]
        os.chmod(aside, 0o644)
        os.replace(aside, path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
