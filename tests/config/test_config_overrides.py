"""Overrides: TOML literals, bare text only for text, nothing created by halves, the file's content untouched."""

from __future__ import annotations

from copy import deepcopy
from typing import Literal, Optional

import pytest

from edgexai.config.load import load_recipe
from edgexai.config.overrides import accepts_text, apply_overrides
from edgexai.config.recipe import Recipe
from edgexai.errors import UserError

RAW = {"title": "t", "data": {"name": "signs"}, "model": {"name": "signnet"}, "train": {"method": "natural"}}


def one(text: str) -> tuple[dict, list[str]]:
    out, _, faults = apply_overrides(RAW, [text], schema=Recipe)
    return out, faults


@pytest.mark.parametrize(
    ("text", "table", "key", "value"),
    [
        ("train.epochs=3", "train", "epochs", 3),
        (" train.epochs = 3 ", "train", "epochs", 3),
        ("train.epochs=1_000", "train", "epochs", 1000),
        ("train.lr=1e-3", "train", "lr", 1e-3),
        ("data.name=gtsrb", "data", "name", "gtsrb"),
        ('data.name="gtsrb"', "data", "name", "gtsrb"),
        ("refine.eps=8/255", "refine", "eps", "8/255"),
        ("refine.eps=0.03", "refine", "eps", "0.03"),
        ("gate.clean_acc=>= 0.97", "gate", "clean_acc", ">= 0.97"),
        ('measure.attacks=["pgd", "noise"]', "measure", "attacks", ["pgd", "noise"]),
        ("model.widths=[16,32]", "model", "widths", [16, 32]),
    ],
)
def test_values(text: str, table: str, key: str, value: object) -> None:
    out, faults = one(text)
    assert faults == []
    assert out[table][key] == value
    assert type(out[table][key]) is type(value)


def test_only_the_first_equals_sign_splits() -> None:
    assert one("title=a=b")[0]["title"] == "a=b"
    assert one("source=x = 1")[0]["source"] == "x = 1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train.epochs", "not an override"),
        ("=3", "not an override"),
        ("train.=3", "not an override"),
        ("train.epochs=many", "not a TOML value; write a number"),
        ("train.epochs=", "nothing is not a TOML value"),
        ("train.epochs=3\nlr = 9", "not a TOML value"),
        ("measure.attacks=pgd", 'write a list, as in measure.attacks=["pgd"]'),
        ("train=3", "is a table; write train.KEY=VALUE"),
        ('refine={method="lime"}', "is a table"),
        ("train.lr.x=3", "one level deep"),
        ("title.x=3", "one level deep"),
    ],
)
def test_faults(text: str, said: str) -> None:
    out, faults = one(text)
    assert len(faults) == 1
    assert said in faults[0]
    assert out == RAW


def test_the_same_key_twice_is_a_fault() -> None:
    _, _, faults = apply_overrides(RAW, ["train.epochs=3", "train.epochs=4"], schema=Recipe)
    assert faults == ["train.epochs: given twice, as 3 and 4"]


def test_the_recipe_given_is_not_modified() -> None:
    before = deepcopy(RAW)
    apply_overrides(RAW, ["train.epochs=3", "prune.method=channel", "seed=1"], schema=Recipe)
    assert before == RAW


def test_no_table_is_made_by_halves() -> None:
    with pytest.raises(UserError) as caught:
        load_recipe("natural_signs", ["refine.rounds=1"])
    assert caught.value.problems == (
        "refine.method: missing; this recipe has no [refine] and refine.rounds=1 alone does not make one",
    )
    loaded = load_recipe("natural_signs", ["refine.rounds=1", "refine.method=lime"])
    assert loaded.recipe.refine is not None
    assert loaded.origin["refine.rounds"] == "override"
    assert loaded.origin["refine.epochs"] == "default"


def test_an_unknown_key_is_reported_once_whatever_its_value() -> None:
    for value in ("3", "text", ""):
        with pytest.raises(UserError) as caught:
            load_recipe("natural_signs", [f"train.epoch={value}"])
        assert caught.value.problems == ("train.epoch: unknown key; did you mean train.epochs? (override)",)


@pytest.mark.parametrize(
    ("text", "noun"),
    [("train.epochs=2.0", "a whole number"), ("train.epochs=true", "a whole number"), ("train.lr=true", "a number")],
)
def test_types_are_strict(text: str, noun: str) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe("natural_signs", [text])
    assert len(caught.value.problems) == 1
    assert f"{noun} is wanted (override)" in caught.value.problems[0]


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (str, True),
        (Optional[str], True),  # noqa: UP045 - the older spelling must work too
        (str | None, True),
        (Literal["a", "b"], True),
        (Literal[1, 2], False),
        (int | None, False),
        (float, False),
        (tuple[str, ...], False),
    ],
)
def test_which_types_take_bare_text(annotation: object, expected: bool) -> None:
    assert accepts_text(annotation) is expected
