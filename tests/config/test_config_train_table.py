"""[train]: each method takes its own keys, and a key that decides nothing is refused, not ignored."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from edgexai.config.load import load_recipe
from edgexai.config.recipe import RefineTable, TrainTable, pixels
from edgexai.errors import UserError
from edgexai.recipe.keys import plan_keys
from edgexai.recipe.plan import plan

ALWAYS = {
    "method", "epochs", "batch_size", "lr", "weight_decay", "label_smoothing", "weight_average", "augment",
    "augment_strength", "precision", "shuffle_labels",
}  # fmt: skip
ATTACK = {"attack", "attack_step", "norm", "eps", "adversarial_weight"}
WAYS: dict[tuple[str, str], set[str]] = {
    ("natural", "fgsm"): set(),
    ("adversarial", "fgsm"): ATTACK | {"clean_weight", "patience"},
    ("adversarial", "pgd"): ATTACK | {"clean_weight", "patience", "attack_steps"},
    ("adversarial", "trades"): ATTACK | {"patience", "attack_steps"},
    ("advprop", "fgsm"): ATTACK,
    ("advprop", "pgd"): ATTACK | {"attack_steps"},
}
OTHER: dict[str, Any] = {
    "attack_steps": 7,
    "attack_step": "1/255",
    "norm": "l2",
    "eps": "4/255",
    "clean_weight": 0.0,
    "adversarial_weight": 3.0,
    "patience": 2,
}


def table(method: str, attack: str, **more: Any) -> TrainTable:
    given = {"method": method, **({} if method == "natural" else {"attack": attack}), **more}
    return TrainTable.model_validate(given)


@pytest.mark.parametrize(("method", "attack"), WAYS)
def test_what_decides_nothing_is_known(method: str, attack: str) -> None:
    used = set(TrainTable.model_fields) - table(method, attack).undecided()
    assert used == ALWAYS | WAYS[method, attack]


@pytest.mark.parametrize("key", OTHER)
@pytest.mark.parametrize(("method", "attack"), WAYS)
def test_a_key_is_used_or_refused(method: str, attack: str, key: str) -> None:
    if key in WAYS[method, attack]:
        assert getattr(table(method, attack, **{key: OTHER[key]}), key) == OTHER[key]
        return
    with pytest.raises(ValidationError, match=f"does not use {key}; take that out"):
        table(method, attack, **{key: OTHER[key]})
    default = TrainTable.model_fields[key].default
    assert getattr(table(method, attack, **{key: default}), key) == default  # written defaults are harmless


def test_the_fault_names_method_and_every_key() -> None:
    with pytest.raises(UserError) as caught:
        load_recipe("natural_signs", ["train.attack=pgd", "train.eps=4/255", "train.patience=3"])
    assert 'method = "natural" does not use attack, eps, patience' in str(caught.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"method": "advprop", "attack": "trades"}, '"advprop" takes "fgsm" or "pgd"'),
        ({"method": "adversarial", "eps": "2"}, "at most 1"),
        ({"method": "adversarial", "eps": "0/255"}, "not above 0"),
        ({"method": "adversarial", "eps": "-1/255"}, "not above 0"),
        ({"method": "adversarial", "eps": "a lot"}, "not a fraction"),
        ({"method": "adversarial", "eps": "1/0"}, "not a fraction"),
        ({"method": "adversarial", "eps": "1e400"}, "not a fraction"),
        ({"method": "adversarial", "eps": "1/255", "attack_step": "3/255"}, "longer than the ball is wide"),
        ({"method": "adversarial", "attack": "pgd", "attack_steps": 1}, "greater than or equal to 2"),
        ({"method": "adversarial", "adversarial_weight": 0.0}, "greater than 0"),
        ({"method": "lime"}, "'natural', 'adversarial' or 'advprop'"),
    ],
)
def test_nonsense_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TrainTable.model_validate(given)
    assert said in str(caught.value)


def test_an_l2_radius_may_exceed_one() -> None:
    assert pixels(table("adversarial", "pgd", norm="l2", eps="3", attack_step="0.5").eps) == 3.0


def keys(*overrides: str, name: str = "natural_signs") -> dict[str, str]:
    return plan_keys(plan(load_recipe(name, overrides).recipe, data_digest="d", machine="m"))


def test_natural_training_has_the_table_it_always_had() -> None:
    """So that what was stored before there were other methods is found again."""
    nodes = {n.name: n for n in plan(load_recipe("natural_signs").recipe, data_digest="d", machine="m")}
    assert set(nodes["train"].table) == (ALWAYS - {"precision", "shuffle_labels"}) | {"model"}
    assert keys() == keys("train.precision=fp32", "train.eps=8/255", "train.shuffle_labels=false")


def test_every_key_that_decides_is_part_of_the_key() -> None:
    base = keys(name="adversarial_signs")["train"]
    changed = ["attack=pgd", "norm=l2", "eps=4/255", "clean_weight=0.0", "adversarial_weight=3.0", "patience=2"]
    changed += ["attack_step=1/255", "precision=amp", "shuffle_labels=true"]
    found = {keys(f"train.{text}", name="adversarial_signs")["train"] for text in changed}
    assert len(found | {base}) == len(changed) + 1


def test_a_control_needs_cells() -> None:
    off = {"method": "lime", "mask_probability": 0.0, "sensitivity_weight": 0.0}
    with pytest.raises(ValidationError, match='control = "none"'):
        RefineTable.model_validate(off)
    assert RefineTable.model_validate({**off, "control": "none"}).adversarial_weight == 1.0
    for term in ("mask_probability", "sensitivity_weight"):
        assert RefineTable.model_validate({**off, term: 0.5}).control == "random_masks"
