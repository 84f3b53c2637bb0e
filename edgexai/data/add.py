"""Makes a card of a user's own data, after everything in it was checked."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgexai.config.card import OwnFiles
from edgexai.config.card_files import own_cards
from edgexai.config.shipped import folder
from edgexai.data.duplicates import duplicates
from edgexai.data.faults import Faults
from edgexai.data.own import read_images, split_own
from edgexai.data.own_scan import OwnScan, scan
from edgexai.errors import UserError
from edgexai.types import Progress

_SIZE = 32


@dataclass(frozen=True)
class Added:
    """What was written, and what was found.

    Attributes:
        card: the file.
        images: split -> number of images, with a validation share of a tenth.
        classes: names.
        boxes, tracks: every image has one.
        seen_in_training: test images equal to a training or validation image.
    """

    card: Path
    images: dict[str, int]
    classes: tuple[str, ...]
    boxes: bool
    tracks: bool
    seen_in_training: int


def add_own(
    name: str,
    path: Path,
    *,
    home: Path | None = None,
    title: str = "",
    licence: str = "",
    replace: bool = False,
    progress: Progress | None = None,
) -> Added:
    """Checks a folder or CSV, decoding every image, and writes ``home/datasets/NAME.toml``.

    Args:
        name: what recipes will call it: lower-case letters, digits and ``_``, a letter first.
        path: folder-per-class tree, or CSV.
        home: the home folder; the default one when absent.
        title, licence: for the card.
        replace: an own card of that name may be overwritten.
        progress: told how many images are decoded.

    Raises:
        UserError: the name is taken or malformed, or the data have faults (all are listed, ten in words).
    """
    target = own_cards(home) / f"{name}.toml"
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        raise UserError(
            f'"{name}" cannot name a data set', next_step="lower-case letters, digits and _, a letter first"
        )
    if (folder("datasets") / f"{name}.toml").exists():
        raise UserError(f'"{name}" is a data set of edgexai', next_step="choose another name")
    if target.exists() and not replace:
        raise UserError(f'"{name}" is already added: {target}', next_step="choose another name, or give --force")
    path = path.expanduser().absolute()
    if not path.exists():
        raise UserError(f"{path} does not exist", next_step="name a folder with one folder per class, or a CSV")
    files = OwnFiles(path=str(path), layout="folders" if path.is_dir() else "csv")
    faults = Faults(str(path))
    found = scan(files, faults=faults)
    # Faults of the list and of the pixels are told together; without a sound list there is nothing to decode.
    everything = read_images(found, size=_SIZE, faults=faults, progress=progress) if not len(faults) else None
    faults.raise_if_any(next_step="mend the named files, then add it again; nothing was written")
    if everything is None:
        raise UserError(f"{path}: nothing to read")
    splits = split_own(everything, found, share=0.1, seed=0)
    seen = len(duplicates([splits["train"], splits["val"]], splits["test"]))
    text = _card(found, files, title=title or f"{name}: your own images", licence=licence, seen=seen)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error.strerror}", next_step="set EDGEXAI_HOME") from error
    counts = {side: len(split) for side, split in splits.items()}
    return Added(target, counts, found.classes, found.boxes, found.tracks, seen)


def _card(found: OwnScan, files: OwnFiles, *, title: str, licence: str, seen: int) -> str:
    """The card's text; what edgexai decided stands in it in words."""
    unit = "tracks" if found.tracks else "images"
    about = {
        "train": "images that neither validate nor test",
        "val": f"a seeded share of the training {unit} of every class",
        "test": f"a fifth of the {unit} of every class, drawn once",
    }
    about |= {side: "as the source says" for side in found.sides if side != "train" or len(found.sides) == 3}
    traps = []
    if not found.tracks and len(found.sides) < 3:
        traps.append("No tracks are known: if several images show one physical thing, near copies lie on both sides.")
    if not found.boxes:
        traps.append("No boxes are known: nothing tells sign from background.")
    if seen:
        traps.append(f"{seen} test images are equal to training images: data.drop_duplicates = true leaves them out.")
    counts = np.unique([found.classes.index(image.label) for image in found.images], return_counts=True)[1]
    if counts.max() > 3 * counts.min():
        traps.append(f"Classes are unequal: {counts.min()} to {counts.max()} images.")
    lines = [
        "# Data set card of your own images, written by edgexai data add.",
        f"title = {_text(title)}",
        'kind = "photographs"',
        f"source = {_text(files.path)}",
        f"licence = {_text(licence or 'your own: not stated')}",
        'citation = "none"',
        f"boxes = {str(found.boxes).lower()}",
        f"tracks = {str(found.tracks).lower()}",
        f"traps = {_list(traps)}",
        f"classes = {_list(found.classes)}",
        *(
            f"\n[[splits]]\nname = {_text(side)}\nuse = {_text(use)}\nabout = {_text(about[side])}"
            for side, use in (("train", "train"), ("val", "choose"), ("test", "test"))
        ),
        f"\n[own]\npath = {_text(files.path)}\nlayout = {_text(files.layout)}",
    ]
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    # A JSON string is a TOML basic string, except that TOML also wants DEL escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _list(values: Sequence[str]) -> str:
    return "[" + "".join(f"\n  {_text(value)}," for value in values) + ("\n]" if values else "]")
