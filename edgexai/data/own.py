"""A user's own data: any folder-per-class tree, or a CSV of paths and labels, made into a card by ``edgexai data add``.

Splits that the user names are kept. Where there is no test split, a fifth of every class is drawn for it, once and for
all; where there is no validation split, the recipe's share of the training images. Both draws take whole tracks where
tracks are known.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgexai.config.cards import read_card
from edgexai.config.recipe import DataTable
from edgexai.data.decode import decode
from edgexai.data.faults import Faults
from edgexai.data.gtsrb_source import Member
from edgexai.data.own_scan import OwnScan, scan
from edgexai.data.place import find_place
from edgexai.data.split_groups import split_groups
from edgexai.data.split_stratified import split_stratified
from edgexai.errors import UserError
from edgexai.types import Labels, Progress, Split

TEST_SHARE, TEST_SEED = 0.2, 0


def load_own(table: DataTable, *, seed: int, data_root: Path | None, progress: Progress | None) -> dict[str, Split]:
    """Reads, checks and decodes every image.

    Args:
        table: name, size in pixels and share held out for validation.
        seed: of the validation split.
        data_root: not read: the card says where the images are.
        progress: told how many images are decoded.

    Returns:
        "train", "val" and "test", each in the source's order.

    Raises:
        MissingCapability: the folder or CSV is gone.
        UserError: anything is wrong with it, or it has other classes than when it was added.
    """
    card = read_card(table.name)
    find_place(table.name)
    if card.own is None:
        raise UserError(f"{table.name}: its card names no files", next_step=f"edgexai data add {table.name} PATH")
    again = f"mend the files, or if the change is meant: edgexai data add {table.name} {card.own.path} --force"
    faults = Faults(f"{table.name} in {card.own.path}")
    found = scan(card.own, faults=faults)
    faults.raise_if_any(next_step=again)
    facts = (found.classes, found.boxes, found.tracks)
    if facts != (card.classes, card.boxes, card.tracks):
        raise UserError(f"{table.name}: classes, boxes or tracks are not those it was added with", next_step=again)
    everything = read_images(found, size=table.size, faults=faults, progress=progress)
    faults.raise_if_any(next_step=again)
    return split_own(everything, found, share=table.validation, seed=seed)


def read_images(found: OwnScan, *, size: int, faults: Faults, progress: Progress | None = None) -> Split:
    """All images of a scan as one split; boxes scaled to ``size``, tracks numbered in their sorted order."""
    members = [Member(str(image.path), partial(Path.read_bytes, image.path)) for image in found.images]
    images = decode(members, sizes=found.sizes, size=size, faults=faults, progress=progress)
    number = {name: k for k, name in enumerate(found.classes)}
    boxes = np.array([image.box or (np.nan,) * 4 for image in found.images], dtype=np.float64)
    scale = np.array([(size / width, size / height) * 2 for width, height in found.sizes])
    return Split(
        "all",
        images,
        np.array([number[image.label] for image in found.images], dtype=np.int64),
        (boxes * scale).astype(np.float32),
        number_tracks(found),
    )


def number_tracks(found: OwnScan) -> NDArray[np.int64]:
    """(N,): tracks numbered in their sorted order, -1 where unknown."""
    tracks = {text: k for k, text in enumerate(sorted({image.track for image in found.images if image.track}))}
    return np.array([tracks.get(image.track, -1) for image in found.images], dtype=np.int64)


def sides_of(found: OwnScan, labels: Labels, tracks: NDArray[np.int64], *, share: float, seed: int) -> NDArray[np.str_]:
    """(N,) "train", "val" or "test": as the user says, and drawn for those that the user does not name.

    Args:
        found: the scan.
        labels, tracks: (N,) of its images.
        share: of the training images that validate.
        seed: of that draw; the test images are always the same.

    Raises:
        UserError: a class or the tracks are too few to draw from.
    """
    sides = np.array([image.side or "train" for image in found.images])
    for side, part, stream in (("test", TEST_SHARE, TEST_SEED), ("val", share, seed)):
        if side not in found.sides:
            index = np.flatnonzero(sides == "train")
            drawn = _draw(labels[index], tracks[index], share=part, seed=stream)
            sides[index[drawn]] = side
    return sides


def split_own(everything: Split, found: OwnScan, *, share: float, seed: int) -> dict[str, Split]:
    """The user's own splits, and drawn ones for those that the user does not name.

    Raises:
        UserError: a class or the tracks are too few to draw from.
    """
    sides = sides_of(found, everything.labels, everything.tracks, share=share, seed=seed)
    splits = {side: everything.take(np.flatnonzero(sides == side)) for side in ("train", "val", "test")}
    if empty := [side for side, split in splits.items() if not len(split)]:
        raise UserError(
            f"no image is left for {', '.join(empty)}: every class is in one track only",
            next_step="give more tracks, or name the splits yourself (column split, or folders train, val, test)",
        )
    return {side: Split(side, split.images, split.labels, split.boxes, split.tracks) for side, split in splits.items()}


def _draw(labels: Labels, tracks: NDArray[np.int64], *, share: float, seed: int) -> NDArray[np.bool_]:
    if (tracks >= 0).all():
        return split_groups(labels, tracks, share=share, seed=seed)
    return split_stratified(labels, share=share, seed=seed)
