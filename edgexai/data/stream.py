"""Test images read a part at a time, so that a data set may be larger than memory.

A user's own files and GTSRB's are decoded when they are asked for; what is rendered or comes packed (CIFAR, LISA) is
small and held as bytes. Corrupted images are made when they are asked for, each as it would be in the whole split.
Convention: images are read as squares, as ``load`` does, and only then squashed to the height and width asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgexai.config.cards import read_card
from edgexai.config.recipe import DataTable
from edgexai.data.corrupted import CorruptedSplits, corruption_of
from edgexai.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from edgexai.data.decode import decode
from edgexai.data.faults import Faults
from edgexai.data.gtsrb import official_test
from edgexai.data.gtsrb_source import Member, open_source
from edgexai.data.load import load
from edgexai.data.locate import locate_gtsrb
from edgexai.data.own import number_tracks, sides_of
from edgexai.data.own_scan import OwnScan, scan
from edgexai.data.place import find_place
from edgexai.data.resize import resized
from edgexai.errors import MissingCapability, UserError
from edgexai.types import Labels, Split

Index = NDArray[np.int64]
_LARGEST_RENDERED = 256


@dataclass(frozen=True)
class Stream:
    """One split that is not in memory.

    Attributes:
        name: of the split.
        labels: int64 (N,).
        read: index (n,) -> those images as a square split, decoded now.
        size: height and width that ``take`` gives.
    """

    name: str
    labels: Labels
    read: Callable[[Index], Split]
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Index, *, corruption: tuple[str, int] | None = None, seed: int = 0) -> Split:
        """The images at ``index``, in that order.

        Args:
            index: (n,) into the whole split.
            corruption: name and severity; None = as they are.
            seed: of the corruption.

        Raises:
            UserError: images are damaged or gone.
        """
        split = self.read(index)
        if corruption is not None:
            name, severity = corruption
            images = corrupt(split.images, name, severity=severity, seed=seed, index=index)
            split = replace(split, images=images)
        return _squashed(split, self.size)


@contextmanager
def open_streams(name: str, *, size: tuple[int, int], data_root: Path | None = None) -> Iterator[dict[str, Stream]]:
    """The test splits of a card, by name; of a corrupted one also its 95 corrupted splits.

    Args:
        name: of a card.
        size: height and width of the images, pixels; each 16 or more.
        data_root: where data lie; as for ``load``.

    Raises:
        MissingCapability: the data are not on this machine.
        UserError: no such card, damaged lists, or a size out of range.
    """
    side = max(size)
    if min(size) < 16 or side > 4096:
        raise UserError(f"images of {size[0]} x {size[1]} pixels: from 16 to 4096 can be made")
    card = read_card(name)
    tests = [split.name for split in card.splits if split.use == "test"]
    with ExitStack() as stack:
        if card.own is not None:
            yield {"test": _own(name, size)}
        elif name == "gtsrb":
            yield {"test": stack.enter_context(_gtsrb(size, data_root))}
        elif name == "gtsrb_c":
            clean = stack.enter_context(_gtsrb(size, data_root))
            yield {"test": clean, **_corrupted(clean)}
        elif card.kind == "rendered":
            yield _rendered(name, size)
        else:
            native = 32 if name.startswith("cifar") else min(max(side, 16), _LARGEST_RENDERED)
            found = load(DataTable.model_validate({"name": name, "size": native}), seed=0, data_root=data_root)
            splits = found.splits
            wanted = [s for s in splits if s in tests or corruption_of(s) is not None]
            if isinstance(splits, CorruptedSplits):
                labels, read = splits["test"].labels, _taken_anew(splits, side)
                yield {s: Stream(s, labels, partial(read, s), size) for s in ("test", *wanted)}
            else:
                yield {s: _held(splits[s], size) for s in wanted}


def _held(split: Split, size: tuple[int, int]) -> Stream:
    return Stream(split.name, split.labels, partial(_taken, split, max(size)), size)


def _taken(split: Split, side: int, index: Index) -> Split:
    return _scaled(split.take(index), side)


def _taken_anew(splits: CorruptedSplits, side: int) -> Callable[[str, Index], Split]:
    """Of a corrupted set only these images are made; an official file is read once for all parts of its split."""
    whole = lru_cache(maxsize=1)(splits.__getitem__)

    def read(name: str, index: Index) -> Split:
        made = whole(name).take(index) if splits.official is not None else splits.take(index)[name]
        return _scaled(made, side)

    return read


def _rendered(name: str, size: tuple[int, int]) -> dict[str, Stream]:
    from edgexai.data.signs import render  # torch

    side = min(max(size), _LARGEST_RENDERED)
    return {
        s: _held(split, size)
        for s, split in render(name=name, size=side, per_class=None, seed=0, stages=("test",)).items()
    }


def _corrupted(clean: Stream) -> dict[str, Stream]:
    def read(which: tuple[str, int], index: Index) -> Split:
        split = clean.read(index)
        return replace(split, images=corrupt(split.images, which[0], severity=which[1], seed=0, index=index))

    return {
        f"{name}_{severity}": replace(clean, name=f"{name}_{severity}", read=partial(read, (name, severity)))
        for name in CORRUPTIONS
        for severity in SEVERITIES
    }


@contextmanager
def _gtsrb(size: tuple[int, int], data_root: Path | None) -> Iterator[Stream]:
    """The official test set; training images are not listed, so they may be absent or damaged."""
    files = locate_gtsrb(data_root=data_root)
    faults = Faults(f"gtsrb in {files.base}")
    with open_source(files, faults=faults) as source:
        rows, members = official_test(source, faults)
        faults.raise_if_any(next_step="restore the named files from the source, or fetch the set again")
        sizes = [(row.width, row.height) for row in rows]
        labels = np.array([row.label for row in rows], dtype=np.int64)
        boxes = np.array([row.box for row in rows], dtype=np.float64)
        tracks = np.full(len(rows), -1, np.int64)
        files_of = _Files("gtsrb", members, sizes, labels, boxes, tracks, max(size))
        yield Stream("test", labels, files_of.read, size)


def _own(name: str, size: tuple[int, int]) -> Stream:
    card = read_card(name)
    find_place(name)
    if card.own is None:
        raise MissingCapability(f"{name}: its card names no files", next_step=f"edgexai data add {name} PATH")
    again = f"mend the files, or if the change is meant: edgexai data add {name} {card.own.path} --force"
    faults = Faults(f"{name} in {card.own.path}")
    found: OwnScan = scan(card.own, faults=faults)
    faults.raise_if_any(next_step=again)
    if found.classes != card.classes:
        raise UserError(f"{name}: its classes are not those it was added with", next_step=again)
    number = {text: k for k, text in enumerate(found.classes)}
    labels = np.array([number[image.label] for image in found.images], dtype=np.int64)
    tracks = number_tracks(found)
    # The share held out for validation is drawn after the test images, so it does not matter which.
    index = np.flatnonzero(sides_of(found, labels, tracks, share=0.1, seed=0) == "test")
    images = [found.images[k] for k in index]
    members = [Member(str(image.path), partial(Path.read_bytes, image.path)) for image in images]
    boxes = np.array([image.box or (np.nan,) * 4 for image in images], dtype=np.float64)
    files = _Files(
        name, members, [found.sizes[k] for k in index], labels[index], boxes, tracks[index], max(size), again
    )
    return Stream("test", labels[index], files.read, size)


@dataclass(frozen=True)
class _Files:
    """Image files and what is known of them; boxes in pixels of the originals."""

    name: str
    members: list[Member]
    sizes: list[tuple[int, int]]
    labels: Labels
    boxes: NDArray[np.float64]
    tracks: NDArray[np.int64]
    side: int
    remedy: str = "restore the named files from the source, or fetch the set again"

    def read(self, index: Index) -> Split:
        faults = Faults(self.name)
        sizes = [self.sizes[k] for k in index]
        images = decode([self.members[k] for k in index], sizes=sizes, size=self.side, faults=faults)
        faults.raise_if_any(next_step=self.remedy)
        scale = np.array([(self.side / width, self.side / height) * 2 for width, height in sizes])
        boxes = (self.boxes[index] * scale).astype(np.float32)
        return Split("test", images, self.labels[index], boxes, self.tracks[index])


def _scaled(split: Split, side: int) -> Split:
    """At another side; boxes and masks too."""
    here = split.images.shape[1]
    return split if here == side else _to(split, (side, side), resized(split.images, side))


def _squashed(split: Split, size: tuple[int, int]) -> Split:
    if split.images.shape[1:3] == size:
        return split
    shrunk = [np.asarray(Image.fromarray(i).resize(size[::-1], Image.Resampling.BILINEAR)) for i in split.images]
    return _to(split, size, np.stack(shrunk))


def _to(split: Split, size: tuple[int, int], images: NDArray[np.uint8]) -> Split:
    (height, width), (tall, wide) = size, split.images.shape[1:3]
    boxes = split.boxes * np.array([width / wide, height / tall] * 2, dtype=np.float32)
    masks = split.masks
    if masks is not None:
        rows, columns = (np.arange(height) * tall) // height, (np.arange(width) * wide) // width
        masks = np.ascontiguousarray(masks[:, rows][:, :, columns])
    return replace(split, images=images, boxes=boxes.astype(np.float32), masks=masks)
