"""A data set on disk: plain .npy arrays and one ``pack.json``; the form the stage store keeps.

``<split>.images.npy``, ``.labels.npy``, ``.boxes.npy``, ``.tracks.npy`` and, where known, ``.masks.npy``. No pickles,
so reading a pack never runs code. ``pack.json`` is written last: without it a folder is no pack.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexai.data.dataset import Dataset, check_split
from edgexai.errors import EdgexaiError, UserError
from edgexai.types import Split

_FORMAT = 1
_ARRAYS = ("images", "labels", "boxes", "tracks", "masks")


def write(dataset: Dataset, folder: Path) -> None:
    """Writes a pack into ``folder``, which is made when absent. Images are (N,H,W,3) uint8.

    Raises:
        UserError: the folder already holds a pack.
    """
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / "pack.json"
    if index.exists():
        raise UserError(f"{folder} already holds a pack", next_step="give an empty folder")
    for name, split in dataset.splits.items():
        for what in _ARRAYS:
            if (array := getattr(split, what)) is not None:
                np.save(folder / f"{name}.{what}.npy", array, allow_pickle=False)
    content = {
        "format": _FORMAT,
        "name": dataset.name,
        "classes": dataset.classes,
        "mean": dataset.mean,
        "std": dataset.std,
        "splits": {
            name: {"n": len(split), "size": split.images.shape[1], "masks": split.masks is not None}
            for name, split in dataset.splits.items()
        },
    }
    index.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(folder: Path) -> Dataset:
    """Reads a pack. Images and masks are mapped, not copied: ready at once, paged in as they are used.

    The mapping is private (copy-on-write): arrays are writable, as torch wants them, and the files never change.

    Args:
        folder: as ``write`` left it.

    Returns:
        The data set that was written, equal in every byte.

    Raises:
        UserError: no pack, another format, or a damaged file (named).
    """
    index = folder / "pack.json"
    again = "remove the folder and run the recipe again: the pack is rebuilt"
    try:
        content: dict[str, Any] = json.loads(index.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            raise UserError(f"{index}: format {content['format']}, this edgexai reads {_FORMAT}", next_step=again)
        splits = {}
        for name, about in content["splits"].items():
            arrays = {what: _array(folder / f"{name}.{what}.npy") for what in _ARRAYS[:4]}
            masks = _array(folder / f"{name}.masks.npy") if about["masks"] else None
            split = Split(name, arrays["images"], arrays["labels"], arrays["boxes"], arrays["tracks"], masks)
            check_split(split, where=f"{folder}: {name}", n_classes=len(content["classes"]))
            if len(split) != about["n"]:
                raise UserError(f"{folder}: {name} has {len(split)} images, pack.json says {about['n']}")
            splits[name] = split
        mean, std = (tuple(float(v) for v in content[key]) for key in ("mean", "std"))
        return Dataset(content["name"], tuple(content["classes"]), splits, _three(mean), _three(std))
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}: missing; {folder} is no whole pack", next_step=again) from error
    except EdgexaiError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{index}: not a pack index: {error!r}", next_step=again) from error


def _three(values: tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue


def _array(path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise UserError(f"{path}: damaged array: {error}") from error
    # A plain view: np.memmap as a type would follow every slice of it.
    return array.view(np.ndarray)
