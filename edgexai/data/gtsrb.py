"""GTSRB: photographs of German traffic signs, 43 classes, with the sign's box and the physical sign's track.

Source: J. Stallkamp, M. Schlipsing, J. Salmen, C. Igel, "Man vs. computer", Neural Networks 32, 2012. Boxes are
half-open and scaled to the resized image. Training track number = class * 100000 + track; test images have none (-1).
Validation tracks are held out of the training folder; "test" is the official test set, complete and in its order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgexai.config.recipe import DataTable
from edgexai.data.decode import decode
from edgexai.data.faults import Faults
from edgexai.data.gtsrb_rows import N_CLASSES, GtsrbRow, read_rows
from edgexai.data.gtsrb_source import Member, Source, open_source
from edgexai.data.locate import TEST_FOLDER, TRUTH_NAME, locate_gtsrb
from edgexai.data.split_tracks import split_tracks
from edgexai.types import Progress, Split

_TRAIN_STEM, _TEST_STEM = re.compile(r"\d{5}_\d{5}"), re.compile(r"\d{5}")
_NEXT = "restore the named files from the source (the data set's card says where), or fetch the set again"


def load_gtsrb(table: DataTable, *, seed: int, data_root: Path | None, progress: Progress | None) -> dict[str, Split]:
    """Reads folders or archives, decodes every image once, and holds out validation tracks.

    Args:
        table: size in pixels and share of tracks held out.
        seed: of the validation split.
        data_root: where to look; else ``EDGEXAI_DATA``, else the home folder.
        progress: told how many images are decoded.

    Returns:
        "train", "val" and "test"; training images are ordered by class, track and frame, test images by number.

    Raises:
        MissingCapability: the data are not on this machine.
        UserError: files are damaged, missing or contradict each other.
    """
    files = locate_gtsrb(data_root=data_root)
    faults = Faults(f"gtsrb in {files.base}")
    with open_source(files, faults=faults) as source:
        train_rows, train_members = _training(source, faults)
        test_rows, test_members = official_test(source, faults)
        faults.raise_if_any(next_step=_NEXT)
        rows = [*train_rows, *test_rows]
        images = decode(
            [*train_members, *test_members],
            sizes=[(row.width, row.height) for row in rows],
            size=table.size,
            faults=faults,
            progress=progress,
        )
    faults.raise_if_any(next_step=_NEXT)
    tracks = [row.label * 100_000 + int(row.stem[:5]) for row in train_rows] + [-1] * len(test_rows)
    boxes = np.array([row.box for row in rows], dtype=np.float64)
    scale = np.array([(table.size / row.width, table.size / row.height) * 2 for row in rows])
    everything = Split(
        "train",
        images,
        np.array([row.label for row in rows], dtype=np.int64),
        (boxes * scale).astype(np.float32),
        np.array(tracks, dtype=np.int64),
    )
    n = len(train_rows)
    held_out = split_tracks(everything.labels[:n], everything.tracks[:n], share=table.validation, seed=seed)
    return {
        "train": _named("train", everything.take(np.flatnonzero(~held_out))),
        "val": _named("val", everything.take(np.flatnonzero(held_out))),
        "test": _named("test", everything.take(np.arange(n, len(rows)))),
    }


def _named(name: str, split: Split) -> Split:
    return Split(name, split.images, split.labels, split.boxes, split.tracks, split.masks)


def _training(source: Source, faults: Faults) -> tuple[list[GtsrbRow], list[Member]]:
    """Rows and images of all classes, paired; every class must have images."""
    rows: list[GtsrbRow] = []
    members: list[Member] = []
    present = {label for label, _ in source.frames}
    for label in sorted(present | set(source.tables) | set(range(N_CLASSES))):
        if label >= N_CLASSES:
            faults.add(f"class folder {label:05d}", f"allowed 00000..{N_CLASSES - 1:05d}")
        elif label not in source.tables:
            what = f"GT-{label:05d}.csv is missing" if label in present else "class with no images"
            faults.add(f"class {label:05d}", what)
        elif label not in present:
            faults.add(source.tables[label].where, f"class {label} has no images")
        else:
            table = source.tables[label]
            before = len(faults)
            own = read_rows(table, stem=_TRAIN_STEM, label=label, faults=faults)
            if not own:
                faults.add(table.where, f"no usable row: class {label} has no images")
            frames = {stem: member for (of, stem), member in source.frames.items() if of == label}
            _pair(own, frames, rows, members, faults, whole=len(faults) == before)
    return rows, members


def official_test(source: Source, faults: Faults) -> tuple[list[GtsrbRow], list[Member]]:
    """Rows and images of the official test set, paired.

    Args:
        source: open.
        faults: gets what is missing or does not fit together.
    """
    rows: list[GtsrbRow] = []
    members: list[Member] = []
    if source.truth is None:
        faults.add(TRUTH_NAME, "missing: the test labels")
    elif not source.tests:
        faults.add(TEST_FOLDER, "no test images")
    else:
        before = len(faults)
        own = read_rows(source.truth, stem=_TEST_STEM, label=None, faults=faults)
        if not own:
            faults.add(source.truth.where, "no usable row")
        _pair(own, source.tests, rows, members, faults, whole=len(faults) == before)
    return rows, members


def _pair(
    own: Sequence[GtsrbRow],
    images: dict[str, Member],
    rows: list[GtsrbRow],
    members: list[Member],
    faults: Faults,
    *,
    whole: bool,
) -> None:
    """Appends each row with its image. Where the CSV is sound (``whole``), an image it does not name is a fault."""
    for row in own:
        if row.stem in images:
            rows.append(row)
            members.append(images[row.stem])
        else:
            faults.add(row.where, f"image {row.stem} is missing")
    unnamed = sorted(set(images) - {row.stem for row in own}) if whole else ()
    for stem in unnamed:
        faults.add(images[stem].where, "its CSV has no row for this image (was the CSV cut off?)")
