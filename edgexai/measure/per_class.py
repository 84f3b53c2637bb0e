"""Accuracy of every class: which sign is the weakest, and what it is taken for.

Convention: the accuracy of a class is its recall, the share of the images with that label that are decided so; images
of other classes that are mistaken for it do not enter. A class without images has no row.
"""

from __future__ import annotations

import numpy as np

from edgexai.errors import ShapeError
from edgexai.measure.rows import Detail, accuracy_row
from edgexai.measure.subject import Subject
from edgexai.types import Labels, Row


def class_rows(who: Subject, decided: Labels, labels: Labels, *, split: str = "test") -> list[Row]:
    """One "class_acc" row a class, in the order of labels, each with its Wilson interval.

    ``detail`` holds "class"; where images of it are decided wrongly also "taken_for", the class most of them are taken
    for (the lowest of tied ones), and "taken_for_n", how many.

    Args:
        who: what decided.
        decided: int (N,), the classes chosen.
        labels: int (N,), the true ones.
        split: of the images.

    Raises:
        ShapeError: not two (N,) of one length, N >= 1.
    """
    if decided.shape != labels.shape or labels.ndim != 1 or not len(labels):
        raise ShapeError(f"class accuracy takes two (N,) with N >= 1, not {decided.shape} and {labels.shape}")
    rows = []
    for label in np.unique(labels):
        chosen = decided[labels == label]
        detail: Detail = {"class": int(label)}
        others, counts = np.unique(chosen[chosen != label], return_counts=True)
        if len(others):
            detail |= {"taken_for": int(others[counts.argmax()]), "taken_for_n": int(counts.max())}
        rows.append(
            accuracy_row(
                chosen == label,
                arm=who.arm,
                artefact=who.artefact,
                subject=who.subject,
                metric="class_acc",
                split=split,
                detail=detail,
                control="clean_acc of all classes",
                runtime=who.runtime,
            )
        )
    return rows
