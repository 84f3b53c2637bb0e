"""Accuracy under corruption: made once, shown to all, averaged per image; and what a difference of it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from edgexai.config.corruption_names import CORRUPTION_NAMES
from edgexai.data.corrupted import corrupted_splits
from edgexai.data.corruptions import CORRUPTIONS, SEVERITIES
from edgexai.errors import UserError
from edgexai.measure.compare import Measured, difference_rows
from edgexai.measure.corruption import replay_corruptions
from edgexai.measure.replay import Replay
from edgexai.measure.stats import bootstrap_mean
from edgexai.measure.subject import Subject
from edgexai.types import Images, Logits, Split

N, CLASSES = 6, 3
ASKED = (("fog", 1), ("fog", 5), ("snow", 3))


def split(name: str, images: Any) -> Split:
    boxes = np.zeros((N, 4), np.float32)
    return Split(name, images, np.arange(N, dtype=np.int64) % CLASSES, boxes, np.arange(N, dtype=np.int64))


def by_first_pixel(images: Images) -> Logits:
    """The decision is written in the first pixel, so that a test can choose it."""
    first = np.round(images[:, 0, 0, 0] * 255).astype(int)
    return np.eye(CLASSES, dtype=np.float32)[first]


def always_zero(images: Images) -> Logits:
    return np.eye(CLASSES, dtype=np.float32)[np.zeros(len(images), int)]


def written(right: Any) -> Any:
    """Images on which ``by_first_pixel`` is right exactly where ``right`` says."""
    images = np.zeros((N, 16, 16, 3), np.uint8)
    labels = np.arange(N) % CLASSES
    images[:, 0, 0, 0] = np.where(right, labels, (labels + 1) % CLASSES)
    return images


def replayed() -> tuple[Any, Replay, Replay, list[str]]:
    rights = np.random.default_rng(0).random((len(ASKED), N)) < 0.5
    log: list[str] = []

    def made() -> Iterator[tuple[str, int, Split]]:
        for (name, severity), right in zip(ASKED, rights, strict=True):
            log.append(f"make {name}_{severity}")
            yield name, severity, split(f"{name}_{severity}", written(right))

    def watched(images: Images) -> Logits:
        log.append("show")
        return by_first_pixel(images)

    one, other = Replay(), Replay()
    engines = [
        (Subject(watched, "pruned", "fp32", "engine", "a"), one),
        (Subject(always_zero, "pruned", "int8-tensorrt", "engine", "b"), other),
    ]
    replay_corruptions(engines, made(), split="val", seed=4)
    return rights, one, other, log


def test_rows_and_verdicts() -> None:
    rights, one, other, log = replayed()
    assert log == [word for name, severity in ASKED for word in (f"make {name}_{severity}", "show")]
    names = [f"corruption/{name}_{severity}" for name, severity in ASKED]
    assert list(one.verdicts) == [*names, "corruption/mean"]
    for name, right, row in zip(names, rights, one.rows, strict=False):
        assert one.verdicts[name].tolist() == right.tolist()
        assert (row.value, row.n, row.interval) == (pytest.approx(right.mean()), N, "wilson")
        assert f"corruption/{row.detail['corruption']}_{row.detail['severity']}" == name
    mean = one.rows[-1]
    assert np.allclose(one.verdicts["corruption/mean"], rights.mean(0))
    value, low, high = bootstrap_mean(rights.mean(0), seed=4)
    assert (mean.value, mean.low, mean.high) == (value, max(low, 0), min(high, 1))
    assert mean.detail == {"corruption": "mean", "severity": "all"}
    for row in (*one.rows, *other.rows):
        assert (row.metric, row.unit, row.split, row.seed) == ("corruption_acc", "fraction", "val", 4)
    assert {row.artefact for row in other.rows} == {"int8-tensorrt"}
    assert other.rows[-1].value == pytest.approx(1 / CLASSES)


def test_a_difference_is_of_the_mean_alone() -> None:
    rights, one, other, _ = replayed()
    a, b = (Measured(arm, "fp32", "r", out.verdicts, "val") for arm, out in (("refined", one), ("natural", other)))
    (row,) = difference_rows(a, b, against="natural", seed=0)
    assert (row.metric, row.unit, row.split) == ("corruption_acc_difference", "fraction", "val")
    assert row.value == pytest.approx(rights.mean() - 1 / CLASSES)
    named = {k: row.detail[k] for k in ("corruption", "severity", "against")}
    assert named == {"corruption": "mean", "severity": "all", "against": "natural"}


def test_nothing_to_corrupt_is_refused() -> None:
    with pytest.raises(UserError, match="no corruption"):
        replay_corruptions([(Subject(always_zero, "a", "fp32", "engine", ""), Replay())], [], split="test", seed=0)


def test_the_names_a_recipe_may_say() -> None:
    assert tuple(CORRUPTIONS) == CORRUPTION_NAMES
    assert SEVERITIES == (1, 2, 3, 4, 5)  # the limits that the schema states


def test_real_corruptions_cost_a_reader_of_edges_its_accuracy() -> None:
    """A classifier by brightness of the left half: noise leaves it alone, and the same draw gives the same rows."""
    images = np.full((N, 16, 16, 3), 40, np.uint8)
    for k in range(N):
        images[k, :, : 4 * (k % CLASSES) + 2] = 200

    def widths(given: Images) -> Logits:
        wide = (given.mean(1) > 0.5).mean((1, 2)) * 16
        return -np.abs(wide[:, None] - (4 * np.arange(CLASSES) + 2)).astype(np.float32)

    found = []
    for _ in range(2):
        out = Replay()
        made = corrupted_splits(split("test", images), seed=1, names=("speckle_noise", "contrast"), severities=(1, 5))
        replay_corruptions([(Subject(widths, "natural", "fp32", "engine", ""), out)], made, split="test", seed=1)
        found.append(out)
    values = {(row.detail["corruption"], row.detail["severity"]): row.value for row in found[0].rows}
    assert values["speckle_noise", 1] == 1.0
    assert values["contrast", 5] < 1.0  # all pixels near the mean: no half is bright
    assert [row.to_json() for row in found[0].rows] == [row.to_json() for row in found[1].rows]
