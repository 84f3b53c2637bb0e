"""Accuracy class by class: closed form, and what a class is taken for."""

from __future__ import annotations

import numpy as np
import pytest

from edgexai.errors import ShapeError
from edgexai.measure.per_class import class_rows
from edgexai.measure.proportions import wilson
from edgexai.measure.subject import Subject


def _who() -> Subject:
    return Subject(lambda images: images[:, 0, 0, :2], "pruned", "fp32", "engine", "a runtime")


def test_by_hand() -> None:
    labels = np.array([3, 3, 3, 3, 0, 0, 7])
    decided = np.array([3, 0, 5, 5, 0, 0, 1])
    zero, three, seven = class_rows(_who(), decided, labels, split="val")
    assert zero.detail == {"class": 0}
    assert three.detail == {"class": 3, "taken_for": 5, "taken_for_n": 2}
    assert seven.detail == {"class": 7, "taken_for": 1, "taken_for_n": 1}
    assert [(r.value, r.low, r.high, r.n) for r in (zero, three, seven)] == [
        (*wilson(2, 2), 2), (*wilson(1, 4), 4), (*wilson(0, 1), 1),
    ]  # fmt: skip
    assert {(r.arm, r.artefact, r.subject, r.split, r.metric, r.runtime) for r in (zero, three, seven)} == {
        ("pruned", "fp32", "engine", "val", "class_acc", "a runtime")
    }


def test_of_tied_mistakes_the_lower_class_is_named() -> None:
    (row,) = class_rows(_who(), np.array([9, 4]), np.array([1, 1]))
    assert row.detail["taken_for"] == 4


def test_weighted_by_images_they_are_the_accuracy() -> None:
    g = np.random.default_rng(0)
    labels, decided = g.integers(0, 10, 500), g.integers(0, 10, 500)
    rows = class_rows(_who(), decided, labels)
    assert sum(r.n for r in rows) == 500
    assert sum((r.value or 0) * r.n for r in rows) / 500 == pytest.approx(float((labels == decided).mean()))


def test_shapes() -> None:
    for decided, labels in ((np.zeros(2, int), np.zeros(3, int)), (np.zeros(0, int), np.zeros(0, int))):
        with pytest.raises(ShapeError):
            class_rows(_who(), decided, labels)
