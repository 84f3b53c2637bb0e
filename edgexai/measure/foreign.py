"""Clean accuracy of an engine on a data set it was not trained on, class by class.

Both must count the same classes in the same order: that is the caller's claim, held here only by their number.
"""

from __future__ import annotations

import numpy as np

from edgexai.errors import UserError
from edgexai.measure.accuracy import logits_of
from edgexai.measure.rows import accuracy_row
from edgexai.types import Predict, Row, Split


def clean_rows(predict: Predict, split: Split, *, classes: tuple[str, ...], artefact: str, runtime: str) -> list[Row]:
    """Overall accuracy, then one row per class present, weakest first.

    Args:
        predict: the engine.
        split: images at the size the engine takes.
        classes: names; as many as the engine has logits.
        artefact, runtime: as in ``types.Row``.

    Raises:
        UserError: the engine has another number of classes.
    """
    logits = logits_of(predict, split.as_float())
    if logits.shape[1] != len(classes):
        raise UserError(f"the engine has {logits.shape[1]} classes, the data set {len(classes)}")
    right = logits.argmax(1) == split.labels
    rows = [accuracy_row(right, arm="natural", artefact=artefact, subject="engine", split=split.name, runtime=runtime)]
    per_class = [
        accuracy_row(
            right[split.labels == label],
            arm="natural",
            artefact=artefact,
            subject="engine",
            metric="class_acc",
            split=split.name,
            detail={"class": classes[label]},
            runtime=runtime,
        )
        for label in np.unique(split.labels)
    ]
    return rows + sorted(per_class, key=lambda row: row.value or 0.0)
