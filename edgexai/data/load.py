"""Loads a data set by its card's name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgexai.config.cards import read_card
from edgexai.config.recipe import DataTable
from edgexai.data import DATASETS, OWN
from edgexai.data.dataset import Dataset
from edgexai.data.duplicates import without_duplicates
from edgexai.data.limit import limited
from edgexai.data.mixed import with_rendered
from edgexai.errors import UserError
from edgexai.types import Progress


def load(table: DataTable, *, seed: int, data_root: Path | None = None, progress: Progress | None = None) -> Dataset:
    """Decodes or renders a data set, once; the stage store keeps the result as a pack.

    Args:
        table: the recipe's [data].
        seed: of the validation split, or of the renderer.
        data_root: where downloaded data lie; else ``EDGEXAI_DATA``, else the home folder.
        progress: told about images done.

    Returns:
        Splits as the card names them; of a corrupted set, its 95 test splits are made each time they are looked at.

    Raises:
        MissingCapability: the data are not on this machine.
        UserError: the data are damaged (up to ten faults, each with file and line).
    """
    card = read_card(table.name)
    if table.per_class is not None and card.kind != "rendered":
        raise UserError(
            f"data.per_class = {table.per_class}: {table.name} is not rendered, its images are what they are",
            next_step="remove data.per_class from the recipe",
        )
    entry = DATASETS.get(table.name, OWN)
    splits = entry.load()(table, seed=seed, data_root=data_root, progress=progress)
    if card.kind == "corrupted":
        # Its test splits are made when they are looked at, one at a time.
        return replace(Dataset.of(table.name, card.classes, splits.clean), splits=splits)
    tests = tuple(split.name for split in card.splits if split.use == "test")
    if table.drop_duplicates:
        splits = without_duplicates(splits, tests=tests)
    if table.limit_per_class is not None:
        splits = limited(splits, per_class=table.limit_per_class, whole=tests)
    if table.rendered:
        if card.classes != read_card("signs").classes:
            raise UserError(f"data.rendered: {table.name} has other classes than the rendered signs")
        splits["train"] = with_rendered(splits["train"], per_class=table.rendered, seed=seed, progress=progress)
    return Dataset.of(table.name, card.classes, splits)
