"""A data set's test split under the 19 corruptions: 95 test splits, each made when it is asked for and not kept.

Splits are those of the clean data set and ``<corruption>_<severity>``, such as ``fog_3``. Memory holds the clean data
set and one corrupted split at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgexai.config.cards import read_card
from edgexai.config.recipe import DataTable
from edgexai.data import DATASETS
from edgexai.data.cifar_c import find_official, read_official
from edgexai.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from edgexai.data.dataset import check_split
from edgexai.data.duplicates import without_duplicates
from edgexai.data.resize import resized
from edgexai.errors import UserError
from edgexai.types import Progress, Split


class CorruptedSplits(Mapping[str, Split]):
    """Clean splits as they are, corrupted ones made anew at every look."""

    def __init__(
        self,
        clean: Mapping[str, Split],
        *,
        n_classes: int,
        seed: int,
        official: Path | None,
        index: NDArray[np.int64] | None = None,
    ) -> None:
        self.clean, self.official = clean, official
        self._n_classes, self._seed, self._index = n_classes, seed, index

    def take(self, index: NDArray[np.int64]) -> CorruptedSplits:
        """The same with only some test images, each corrupted as it is among all of them.

        Args:
            index: (n,) into the clean test split, which must be whole here.
        """
        clean = {**self.clean, "test": self.clean["test"].take(index)}
        return CorruptedSplits(clean, n_classes=self._n_classes, seed=self._seed, official=self.official, index=index)

    def __getitem__(self, name: str) -> Split:
        if name in self.clean:
            return self.clean[name]
        if (which := corruption_of(name)) is None:
            raise KeyError(name)
        test = self.clean["test"]
        if self.official is None:
            return corrupted(test, which[0], severity=which[1], seed=self._seed, index=self._index)
        images, labels = read_official(self.official, which[0], severity=which[1])
        if self._index is not None:
            images, labels = images[self._index], labels[self._index]
        n = len(labels)
        made = Split(
            name,
            resized(images, test.images.shape[1]),
            labels,
            np.full((n, 4), np.nan, np.float32),
            np.full(n, -1, np.int64),
        )
        check_split(made, where=f"{self.official}: {name}", n_classes=self._n_classes)
        if not np.array_equal(labels, test.labels):
            raise UserError(
                f"{self.official}: its labels are not those of the clean test images",
                next_step="the folder belongs to another data set, or test images were left out: it needs them all",
            )
        return made

    def __iter__(self) -> Iterator[str]:
        yield from self.clean
        yield from (f"{name}_{severity}" for name in CORRUPTIONS for severity in SEVERITIES)

    def __len__(self) -> int:
        return len(self.clean) + len(CORRUPTIONS) * len(SEVERITIES)


def corruption_of(split: str) -> tuple[str, int] | None:
    """``"fog_3"`` -> ("fog", 3); None for any other split."""
    name, _, severity = split.rpartition("_")
    known = name in CORRUPTIONS and severity.isdecimal() and int(severity) in SEVERITIES
    return (name, int(severity)) if known else None


def corrupted(split: Split, name: str, *, severity: int, seed: int, index: NDArray[np.int64] | None = None) -> Split:
    """A split with every image corrupted; boxes and masks stay those of the clean images.

    Args:
        split: square images.
        name: key of ``corruptions.CORRUPTIONS``.
        severity: 1..5.
        seed: of every draw.
        index: number of each image in the split it was taken from, see ``corruptions.corrupt``.

    Raises:
        UserError, ShapeError: as ``corruptions.corrupt``.
    """
    images = corrupt(split.images, name, severity=severity, seed=seed, index=index)
    return Split(f"{name}_{severity}", images, split.labels, split.boxes, split.tracks, split.masks)


def corrupted_splits(
    split: Split,
    *,
    seed: int,
    names: Sequence[str] = tuple(CORRUPTIONS),
    severities: Sequence[int] = SEVERITIES,
    index: NDArray[np.int64] | None = None,
) -> Iterator[tuple[str, int, Split]]:
    """(corruption, severity, split), one at a time: what a recipe needs for accuracy under corruption.

    Args:
        split: clean images.
        seed: of every draw.
        names: which corruptions.
        severities: which severities.
        index: as for ``corrupted``.
    """
    for name in names:
        for severity in severities:
            yield name, severity, corrupted(split, name, severity=severity, seed=seed, index=index)


def load_corrupted(
    table: DataTable, *, seed: int, data_root: Path | None, progress: Progress | None
) -> CorruptedSplits:
    """Loads the clean data set and promises the corrupted splits.

    Args:
        table: as of the clean data set; ``drop_duplicates`` leaves images out of every test split.
        seed: of the validation split and of the corruptions.
        data_root: where the clean data lie, and CIFAR-10-C.
        progress: told about clean images.

    Raises:
        UserError: the data are damaged, or official files are to be scored without some of their images.
        MissingCapability: the data are not on this machine.
    """
    card = read_card(table.name)
    clean_name = str(card.of)
    clean_table = table.model_copy(update={"name": clean_name})
    clean = DATASETS[clean_name].load()(clean_table, seed=seed, data_root=data_root, progress=progress)
    official = find_official(data_root=data_root) if clean_name == "cifar10" else None
    if table.drop_duplicates:
        if official is not None:
            raise UserError(f"data.drop_duplicates: {official} is scored whole", next_step="leave it out")
        clean = without_duplicates(clean, tests=("test",))
    return CorruptedSplits(clean, n_classes=len(card.classes), seed=seed, official=official)
