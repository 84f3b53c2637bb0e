"""``measure.unknown`` in a recipe: a stage that draws images of another card's classes, and the rows of who saw them.

Images of classes that both cards name are left out, the others drawn in proportion to their classes. Only the test
images of the other card are used; drawn once, all arms are shown the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexai.config.cards import read_card
from edgexai.config.unknown_classes import unknown_classes
from edgexai.data import pack
from edgexai.data.dataset import Dataset
from edgexai.data.stream import open_streams
from edgexai.errors import UserError
from edgexai.measure.accuracy import logits_of
from edgexai.measure.deletion import probability
from edgexai.measure.subject import Subject
from edgexai.measure.unknown_rows import unknown_rows
from edgexai.probe.draw import probe_index
from edgexai.recipe.job import Job
from edgexai.types import Images, Row


def unknown(job: Job) -> None:
    """Draws ``n`` test images of the card ``name``, of classes that the data set of the run does not have.

    Raises:
        UserError: the other card has no such image, or its images are damaged.
        MissingCapability: they are not on this machine.
    """
    known, table = pack.read(job.inputs["data"]), job.table
    card = read_card(table["name"])
    wanted = unknown_classes(known.classes, card.classes)
    with open_streams(table["name"], size=(table["size"], table["size"]), data_root=job.data_root) as streams:
        stream = next(iter(streams.values()))
        places = np.flatnonzero(np.isin(stream.labels, wanted))
        if not len(places):
            raise UserError(
                f'measure.unknown = "{table["name"]}": no test image is of a class that {known.name} lacks',
                next_step="name another card (edgexai data ls)",
            )
        drawn = places[probe_index(stream.labels[places], table["n"], seed=job.seed)]
        split = stream.take(drawn)
    # Mean and deviation are those of the network's own data: these images are only looked at.
    pack.write(Dataset(table["name"], card.classes, {split.name: split}, known.mean, known.std), job.out)


def unknown_evidence(job: Job, who: Subject, found: Dataset, known: NDArray[Any], *, split: str) -> list[Row]:
    """Rows of one engine on what ``unknown`` drew; [] where the recipe names no card.

    Args:
        job: of the stage ``measure``.
        who: the deployed engine of the arm.
        found: the data set that the network was trained on; its validation images set the threshold.
        known: (N,), confidence of ``who`` on the measured images of known classes.
        split: that ``known`` is of.
    """
    if "unknown" not in job.inputs:
        return []
    foreign = pack.read(job.inputs["unknown"])
    return unknown_rows(
        who,
        validation=_confidence(who, found.splits["val"].as_float()),
        known=known,
        foreign=_confidence(who, next(iter(foreign.splits.values())).as_float()),
        data=foreign.name,
        split=split,
        seed=job.seed,
    )


def _confidence(who: Subject, images: Images) -> NDArray[np.float32]:
    """As float32, as the confidences of the measured images are kept: a threshold must mean the same for both."""
    logits = logits_of(who.predict, images)
    return probability(logits, logits.argmax(1)).astype(np.float32)
