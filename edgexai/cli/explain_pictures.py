"""What ``edgexai explain`` looks at: picture files, or a draw of a data set's test images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgexai.cli.explain_model import OpenedModel
from edgexai.data.picture import Fit, read_picture
from edgexai.data.picture_boxes import picture_boxes
from edgexai.errors import UserError
from edgexai.types import Images


@dataclass(frozen=True)
class Pictures:
    """Ready for a network.

    Attributes:
        names: a file, or the place in a data set.
        images: float32 (N,3,H,W) in [0,1].
        marked: bool (N,H,W), True on the object; None where nobody said.
        shown: how many of them, from the first, get pictures.
    """

    names: tuple[str, ...]
    images: Images
    marked: NDArray[np.bool_] | None
    shown: int


def pictures_of_files(files: Sequence[Path], size: tuple[int, int], *, fit: Fit, boxes: Path | None) -> Pictures:
    """Reads files, and the boxes on them.

    Raises:
        UserError: a file cannot be read, or has no box.
    """
    images: Images = np.stack([read_picture(path, size, fit=fit) for path in files])
    marked = None if boxes is None else picture_boxes(boxes, files, size, fit=fit)
    return Pictures(tuple(str(path) for path in files), images, marked, len(files))


def pictures_of_data(
    name: str, opened: OpenedModel, *, n: int, seed: int, shown: int, data_root: Path | None
) -> Pictures:
    """Draws test images of a data set, every class if ``n`` allows, and logs that they were looked at.

    Args:
        name: data set card.
        opened: the classifier; the images are made for its input.
        n: images.
        seed: of the draw; a recipe with this seed measures the same images.
        shown: of these, how many get pictures.
        data_root: folder with the data sets.

    Raises:
        UserError: no such card, data, or test split; or the classifier counts other classes.
    """
    from edgexai.config.cards import read_card
    from edgexai.config.home import default_home
    from edgexai.config.recipe import DataTable
    from edgexai.data.load import load
    from edgexai.probe.make import probe_index
    from edgexai.recipe.evaluations import log_evaluation

    height, width = opened.size
    if height != width:
        raise UserError(f"--data {name}: data sets are read as squares, the network takes {height} x {width}")
    card = read_card(name)
    found = load(DataTable.model_validate({"name": name, "size": height}), seed=seed, data_root=data_root)
    tests = [split.name for split in card.splits if split.use == "test"]
    if not tests:
        raise UserError(f"--data {name}: has no test split")
    if len(found.classes) != opened.n_classes:
        raise UserError(f"--data {name}: {len(found.classes)} classes, the network has {opened.n_classes}")
    split = found.splits[next((test for test in tests if test == "test"), tests[0])]
    index = probe_index(split.labels, n, seed=seed)
    home = default_home()
    home.mkdir(parents=True, exist_ok=True)
    log_evaluation(home, recipe=f"explain {opened.name}", arm=opened.subject, data_key=f"{name}/{split.name}", key="")
    drawn = split.take(index)
    names = tuple(f"{split.name}_{k}" for k in index)
    return Pictures(names, drawn.as_float(), drawn.relevance(), min(shown, len(index)))
