"""Every recipe that ships: it validates, its name says what it holds, and siblings differ only where they should."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from edgexai.config.cards import read_card
from edgexai.config.load import load_recipe
from edgexai.config.recipe import MeasureTable, Recipe
from edgexai.config.source import recipe_title, shipped_recipes

FAMILIES = ("natural", "adversarial", "advprop", "lime", "pruned", "pruned_lime")
DATA = ("gtsrb", "signs", "lisa17", "cifar10")
NAMES = [f"{family}_{data}" for family in FAMILIES for data in DATA]
EVERYTHING = ("everything_gtsrb", "everything_signs")
NAMES += ["shortcut_lime_signs", "shortcut_lime_signs_blind", "quickstart", *EVERYTHING]
# What may differ between the real and the rendered sibling, besides [data] and the title.
TUNED = {"train.epochs", "train.lr", "refine.n_images", "refine.epochs", "refine.rounds", "refine.relevance"}
TUNED |= {"prune.finetune_epochs", "refine.lr", "prune.lr", "refine.adversarial_weight", "prune.adversarial_weight"}


def content(name: str) -> dict[str, Any]:
    dumped = load_recipe(name).recipe.model_dump(mode="json", exclude_none=True)
    return {key: value for key, value in dumped.items() if key not in ("title", "source")}


def differing(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    """Dotted keys whose values differ."""
    flat = [
        {f"{t}.{k}" if isinstance(v, dict) else t: w for t, v in r.items() for k, w in _items(v)} for r in (one, other)
    ]
    return {key for key in flat[0].keys() | flat[1].keys() if flat[0].get(key) != flat[1].get(key)}


def _items(value: Any) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, dict) else [("", value)]


def test_exactly_these_ship() -> None:
    assert set(shipped_recipes()) == set(NAMES)
    assert len(NAMES) == 29


@pytest.mark.parametrize("name", NAMES)
def test_each_validates_and_has_a_title(name: str) -> None:
    loaded = load_recipe(name)
    assert loaded.recipe.title == recipe_title(shipped_recipes()[name])
    assert loaded.recipe.engine is not None
    assert loaded.recipe.engine.runtime == "onnxruntime"
    assert loaded.recipe.export is not None
    assert loaded.recipe.export.precision == "int8"
    assert loaded.recipe.export.saliency == "cam"
    assert loaded.recipe.model.name == "signnet"
    assert loaded.recipe.measure is not None


@pytest.mark.parametrize("name", NAMES)
def test_the_name_says_which_tables_there_are(name: str) -> None:
    recipe = load_recipe(name).recipe
    quick = name == "quickstart"
    assert (recipe.prune is not None) == ("pruned" in name or quick or name in EVERYTHING)
    assert (recipe.refine is not None) == ("lime" in name or quick or name in EVERYTHING)
    assert (recipe.gate is not None) == (name in EVERYTHING)
    expected = "signs_shortcut" if "shortcut" in name else "signs" if quick else name.rpartition("_")[2]
    assert recipe.data.name == expected


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize(
    ("bigger", "table", "smaller"),
    [
        ("pruned_lime", "refine", "pruned"),
        ("pruned_lime", "prune", "lime"),
        ("lime", "refine", "natural"),
        ("pruned", "prune", "natural"),
    ],
)
def test_taking_one_table_away_gives_the_sibling(data: str, bigger: str, table: str, smaller: str) -> None:
    rest = content(f"{bigger}_{data}")
    assert rest.pop(table)
    if table == "refine":
        rest.get("prune", {}).pop("adversarial_weight", None)  # of the refinement's loss, hence gone with it
    assert rest == content(f"{smaller}_{data}")


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("method", ["adversarial", "advprop"])
def test_training_methods_differ_in_their_table_alone(method: str, data: str) -> None:
    keys = differing(content(f"{method}_{data}"), content(f"natural_{data}"))
    assert "train.method" in keys
    assert {key.partition(".")[0] for key in keys} == {"train"}
    assert load_recipe(f"{method}_{data}").recipe.train.method == method


@pytest.mark.parametrize("data", ["lisa17", "cifar10"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_data_set_has_the_same_path(family: str, data: str) -> None:
    """What a family is does not depend on the data; only numbers, and what the data allow, differ."""
    keys = differing(content(f"{family}_gtsrb"), content(f"{family}_{data}"))
    others = {key for key in keys if key.partition(".")[0] in ("model", "engine", "measure")}
    assert not others
    fixed = {"train.method", "refine.method", "refine.control", "refine.replace", "prune.method", "prune.importance"}
    assert not keys & (fixed | {"prune.macs_ratio", "train.eps", "refine.eps", "export.precision", "export.saliency"})


@pytest.mark.parametrize("name", NAMES)
def test_no_recipe_flips_signs_or_asks_for_boxes_that_are_not_there(name: str) -> None:
    recipe = load_recipe(name).recipe
    card = read_card(recipe.data.name)
    assert card.mirrored is not None
    assert (recipe.train.augment == "flip_crop") == card.mirrored
    if recipe.refine is not None and not card.boxes:
        assert recipe.refine.relevance == "none"


@pytest.mark.parametrize("family", FAMILIES)
def test_real_and_rendered_siblings_differ_only_in_data_and_tuned_keys(family: str) -> None:
    keys = differing(content(f"{family}_gtsrb"), content(f"{family}_signs"))
    assert "data.name" in keys
    assert {key for key in keys if not key.startswith("data.")} <= TUNED


def test_the_blind_sibling_differs_in_relevance_alone() -> None:
    keys = differing(content("shortcut_lime_signs"), content("shortcut_lime_signs_blind"))
    assert keys == {"refine.relevance"}
    assert load_recipe("shortcut_lime_signs").recipe.refine.relevance == "mask"  # type: ignore[union-attr]
    assert load_recipe("shortcut_lime_signs_blind").recipe.refine.relevance == "none"  # type: ignore[union-attr]


def test_quickstart_is_pruned_lime_signs_with_smaller_numbers() -> None:
    quick, full = content("quickstart"), content("pruned_lime_signs")
    assert set(quick) == set(full)
    for key in differing(quick, full):
        table, _, leaf = key.partition(".")
        small, large = quick[table][leaf], full[table][leaf]
        assert isinstance(small, int) or key == "export.min_agreement", key
        assert small < large, key


@pytest.mark.parametrize("data", ["gtsrb", "signs"])
def test_everything_is_pruned_lime_pruned_less_and_measured_in_full(data: str) -> None:
    """Its networks before pruning are those of the sibling, so they are trained once."""
    whole, rest = content(f"everything_{data}"), content(f"pruned_lime_{data}")
    keys = differing(whole, rest)
    apart = {"prune.macs_ratio", "prune.adversarial_weight"}
    assert "prune.macs_ratio" in keys
    assert {key for key in keys if key.partition(".")[0] not in ("measure", "gate")} <= apart
    recipe = load_recipe(f"everything_{data}").recipe
    asked = recipe.measure
    assert asked is not None
    for field, kind in (("explainers", "explainers"), ("metrics", "metrics")):
        allowed = get_args(get_args(MeasureTable.model_fields[field].annotation)[0])
        assert set(getattr(asked, kind)) == set(allowed), field
    assert len(asked.corruptions) == 19
    assert {"pgd", "square", "noise", "patch", "sticker"} <= set(asked.attacks)
    assert asked.stability_n
    assert asked.ledger_n
    assert asked.unknown == ("cifar10" if data == "gtsrb" else None)
    dense = 9_885_056  # of signnet at 32 pixels, 43 classes
    assert recipe.prune is not None
    assert recipe.prune.macs_ratio is not None
    assert recipe.prune.macs_ratio * dense <= 9e6


def test_every_refinement_has_its_control() -> None:
    refined = [load_recipe(name).recipe.refine for name in NAMES if "lime" in name or name == "quickstart"]
    refined += [load_recipe(name).recipe.refine for name in EVERYTHING]
    assert len(refined) == 13
    assert all(table is not None and table.control == "random_masks" for table in refined)


@pytest.mark.parametrize("name", NAMES)
def test_tables_stand_in_the_order_in_which_they_run(name: str) -> None:
    headers = re.findall(r"^\[(\w+)\]", shipped_recipes()[name].read_text(), flags=re.MULTILINE)
    assert headers == [field for field in Recipe.model_fields if field in headers]


@pytest.mark.parametrize("name", NAMES)
def test_comments_say_the_numbers_they_speak_of(name: str) -> None:
    """A comment such as "asks the engine 1000 times" must not outlive the number."""
    text = shipped_recipes()[name].read_text()
    told = re.search(r"engine (\d+) times", text)
    assert told is not None
    assert int(told[1]) == load_recipe(name).recipe.measure.square_queries  # type: ignore[union-attr]


def test_the_json_schema_knows_every_table_and_key() -> None:
    from edgexai.config.json_schema import recipe_json_schema

    schema = json.loads(json.dumps(recipe_json_schema()))
    assert schema["$schema"].endswith("2020-12/schema")
    assert set(schema["properties"]) == set(Recipe.model_fields)
    assert schema["additionalProperties"] is False
    for name in NAMES:
        for table, values in content(name).items():
            if isinstance(values, dict):
                known = schema["$defs"][f"{table.capitalize()}Table"]
                columns = table == "gate"  # its keys may name any number of the evidence
                assert known["additionalProperties"] == ({"type": "string"} if columns else False)
                assert columns or set(values) <= set(known["properties"])


def test_recipes_are_found_in_the_repository() -> None:
    assert shipped_recipes()["quickstart"].parent == Path(__file__).resolve().parents[2] / "recipes"
