"""The rendered sets: hands the recipe's table to the renderer, which is imported only here."""

from __future__ import annotations

from pathlib import Path

from edgexai.config.recipe import DataTable
from edgexai.errors import UserError
from edgexai.registry import Entry
from edgexai.types import Progress, Split

RENDERER = Entry("edgexai.data.signs:render")


def load_rendered(
    table: DataTable, *, seed: int, data_root: Path | None, progress: Progress | None
) -> dict[str, Split]:
    """Renders every split.

    Args:
        table: name, size in pixels, images per class; ``validation`` has no meaning here, as the renderer draws its
            own validation signs.
        seed: of the renderer.
        data_root: not read: nothing comes from a file.
        progress: told how many images are done.

    Returns:
        Split name -> split, with exact masks.

    Raises:
        UserError: the renderer does not know this set.
    """
    splits: dict[str, Split] = RENDERER.load()(
        name=table.name, size=table.size, per_class=table.per_class, seed=seed, progress=progress
    )
    if "train" not in splits:
        raise UserError(f"{table.name}: the renderer gave no training split")
    return splits
