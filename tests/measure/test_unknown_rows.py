"""Rows of unknown classes, from networks whose answer is known beforehand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgexai.config.cards import read_card
from edgexai.config.load import load_recipe
from edgexai.config.unknown_classes import unknown_classes
from edgexai.errors import UserError
from edgexai.measure.deletion import probability
from edgexai.measure.subject import Subject
from edgexai.measure.unknown_rows import COVERAGE, unknown_rows
from edgexai.types import Images, Logits, Row

RED, GREEN, BLUE = range(3)


def pictures(channel: int, n: int, *, seed: int) -> Images:
    images = np.random.default_rng(seed).uniform(0, 0.2, (n, 3, 8, 8)).astype(np.float32)
    images[:, channel] += np.float32(0.6)
    return images


def sure_of_red_and_green(images: Images) -> Logits:
    """Two classes; an image that is neither red nor green says nothing to it."""
    seen: Logits = (20 * images[:, :2].mean((2, 3)) * (images[:, :2].mean((2, 3)) > 0.5)).astype(np.float32)
    return seen


def equally_sure(images: Images) -> Logits:
    """Decides, and is as sure of everything."""
    return np.where(np.arange(2) == (images[:, :1].mean((2, 3)) > 0.5), 2, 0).astype(np.float32)


def confidence(network: object, images: Images) -> NDArray[np.float64]:
    logits = network(images)  # type: ignore[operator]
    return probability(logits, logits.argmax(1))


def rows(network: object) -> dict[str, Row]:
    who = Subject(network, "natural", "fp32", "engine", "test")  # type: ignore[arg-type]
    known = np.concatenate([confidence(network, pictures(c, 60, seed=c)) for c in (RED, GREEN)])
    validation = np.concatenate([confidence(network, pictures(c, 40, seed=5 + c)) for c in (RED, GREEN)])
    foreign = confidence(network, pictures(BLUE, 50, seed=9))
    found = unknown_rows(who, validation=validation, known=known, foreign=foreign, data="blue", seed=0)
    return {row.metric: row for row in found}


def test_who_is_sure_of_its_own_classes_alone_rejects_the_others() -> None:
    found = rows(sure_of_red_and_green)
    assert list(found) == ["reject_rate", "known_accept_rate", "unknown_auroc"]
    assert (found["reject_rate"].value, found["reject_rate"].n) == (1.0, 50)
    assert found["unknown_auroc"].value == 1.0
    assert found["known_accept_rate"].n == 120
    kept = found["known_accept_rate"]
    assert kept.low is not None
    assert kept.high is not None
    assert kept.low <= COVERAGE <= kept.high
    for row in found.values():
        assert row.detail["data"] == "blue"
        assert row.low is not None
        assert row.high is not None
        assert row.low <= row.value <= row.high  # type: ignore[operator]
        assert row.unit == "fraction"
    wilson_low = 50 / (50 + 1.959963984540054**2)  # closed form of 50 in 50
    assert found["reject_rate"].low == pytest.approx(wilson_low)


def test_a_constant_confidence_is_at_chance() -> None:
    found = rows(equally_sure)
    assert found["unknown_auroc"].value == 0.5
    assert (found["unknown_auroc"].low, found["unknown_auroc"].high) == (0.5, 0.5)
    assert found["reject_rate"].value == 0.0
    assert found["known_accept_rate"].value == 1.0


def test_a_blind_confidence_rejects_known_and_unknown_alike() -> None:
    rng = np.random.default_rng(3)
    who = Subject(equally_sure, "natural", "fp32", "engine", "test")
    found = unknown_rows(
        who, validation=rng.random(2000), known=rng.random(2000), foreign=rng.random(2000), data="noise", seed=0
    )
    rejected, accepted, auroc = (row.value for row in found)
    assert rejected is not None
    assert accepted is not None
    assert auroc is not None
    assert rejected == pytest.approx(1 - COVERAGE, abs=0.02)
    assert rejected == pytest.approx(1 - accepted, abs=0.03)
    assert auroc == pytest.approx(0.5, abs=0.03)


def test_classes_of_one_name_are_not_unknown() -> None:
    assert unknown_classes(("keep right", "Stop"), ("keepRight", "slow", "stop", "merge")) == (1, 3)
    gtsrb, lisa = read_card("gtsrb").classes, read_card("lisa17").classes
    left = {lisa[k] for k in unknown_classes(gtsrb, lisa)}
    assert set(lisa) - left == {"keepRight", "stop", "yield", "turnRight", "speedLimit30"}
    assert unknown_classes(gtsrb, read_card("cifar10").classes) == tuple(range(10))
    assert not unknown_classes(gtsrb, read_card("signs").classes)


@pytest.mark.parametrize(
    ("card", "said"),
    [("signs", "has all its classes"), ("gtsrb_c", '"gtsrb"'), ("gtsrb", "has all"), ("cifar1", 'did you mean "cifar')],
)
def test_a_card_without_unknown_classes_is_refused_before_training(card: str, said: str) -> None:
    with pytest.raises(UserError) as raised:
        load_recipe("natural_gtsrb", [f'measure.unknown="{card}"'])
    assert said in str(raised.value)
