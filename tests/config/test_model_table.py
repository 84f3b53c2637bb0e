"""[model] with a network of the user's own, and what [data], [train] and eps refuse: all without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from edgexai.config.load import load_recipe
from edgexai.config.model_table import ModelTable
from edgexai.config.recipe import DataTable, RefineTable, TrainTable
from edgexai.errors import UserError
from edgexai.recipe.keys import plan_keys
from edgexai.recipe.plan import Node, plan

OWN = """
title = "mine"
[data]
name = "signs"
[model]
factory = "mine:make"
[train]
method = "natural"
[export]
saliency = "none"
[engine]
runtime = "onnxruntime"
[measure]
explainers = ["vg", "lime"]
"""


def nodes(path: Path, *overrides: str) -> list[Node]:
    return plan(load_recipe(str(path), overrides).recipe, data_digest="d", machine="m")


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe and the module it names, which would fail if it were run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("raise SystemExit('this module was run')\n")
    (tmp_path / "mine.toml").write_text(OWN)
    return tmp_path / "mine.toml"


def test_the_name_may_be_left_out_and_stored_keys_stay() -> None:
    table = ModelTable.model_validate({"factory": "a.b:c"})
    assert table == ModelTable.model_validate({"name": "own", "factory": "a.b:c"})
    assert table.model_dump(mode="json") == {
        "name": "own", "widths": None, "factory": "a.b:c", "weights": None, "feature_map": "none"
    }  # fmt: skip
    assert ModelTable.model_validate({"name": "signnet"}).model_dump(mode="json") == {"name": "signnet", "widths": None}
    assert "limit_per_class" not in DataTable(name="cifar10").model_dump(mode="json")
    assert DataTable(name="cifar10", limit_per_class=2).model_dump(mode="json")["limit_per_class"] == 2


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"name": "own"}, "needs factory"),
        ({"name": "signnet", "factory": "a:b"}, 'only with name = "own"'),
        ({"name": "signnet", "weights": "a.safetensors"}, 'only with name = "own"'),
        ({"name": "signnet", "feature_map": "features"}, 'only with name = "own"'),
        ({"factory": "a:b", "widths": [3]}, "leave them out"),
        ({"factory": "a"}, "module:function"),
        ({"factory": "a:b:c"}, "module:function"),
        ({"factory": "../a:b"}, "module:function"),
        ({"factory": ":b"}, "module:function"),
        ({"factory": "a.:b"}, "module:function"),
        ({"factory": "a:b", "weights": "a.pth"}, "not a .safetensors file"),
        ({"weights": "a.safetensors"}, "name"),
    ],
)
def test_what_no_model_table_says(table: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ModelTable.model_validate(table)


def test_validation_runs_neither_torch_nor_the_module(mine: Path) -> None:
    code = "import sys; from edgexai.cli.main import main; code = main(); "
    code += "sys.exit(code or int('torch' in sys.modules or 'mine' in sys.modules))"
    for words in (["validate", str(mine)], ["show", str(mine)]):
        done = subprocess.run([sys.executable, "-c", code, "recipe", *words], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_keys_follow_the_source_and_the_weights(mine: Path) -> None:
    keys = plan_keys(nodes(mine))
    assert plan_keys(nodes(mine)) == keys
    (mine.parent / "mine.py").write_text("raise SystemExit('another')\n")
    changed = plan_keys(nodes(mine))
    assert {name for name in keys if keys[name] == changed[name]} == {"data"}
    file = mine.parent / "w.safetensors"
    file.write_bytes(b"one")
    first = plan_keys(nodes(mine, "model.weights=w.safetensors"))
    file.write_bytes(b"two")
    second = plan_keys(nodes(mine, "model.weights=w.safetensors"))
    assert len({changed["train"], first["train"], second["train"]}) == 3


def test_files_that_are_not_there(mine: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.safetensors cannot be read"):
        nodes(mine, "model.weights=gone.safetensors")
    (mine.parent / "mine.py").unlink()
    with pytest.raises(UserError, match='no module "mine"'):
        nodes(mine)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["prune.method=channel"], "no widths that edgexai could narrow"),
        (["export.saliency=cam"], "feature_map"),
        (['measure.explainers=["cam"]'], "feature_map"),
        (['measure.explainers=["gradcam"]'], "feature_map"),
        (['measure.explainers=["cam"]', "model.feature_map=features"], "linear_head"),
        (["prune.method=masked", "prune.attribution_weight=1.0"], "prune.attribution_weight"),
        (["prune.method=masked", "prune.when=before", "model.weights=w.safetensors"], "model.weights"),
    ],
)
def test_what_a_network_of_ones_own_cannot_do(mine: Path, overrides: list[str], words: str) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe(str(mine), overrides)
    assert len(caught.value.problems) == 1
    assert words in caught.value.problems[0]


@pytest.mark.parametrize(
    "overrides",
    [
        ["model.feature_map=linear_head", "export.saliency=cam", 'measure.explainers=["cam", "gradcam"]'],
        ["model.feature_map=features", 'measure.explainers=["gradcam"]'],
        ["prune.method=masked"],
        ["train.method=advprop"],
        ["train.epochs=0", "model.weights=w.safetensors"],
    ],
)
def test_what_it_can(mine: Path, overrides: list[str]) -> None:
    assert load_recipe(str(mine), overrides).recipe.model.name == "own"


@pytest.mark.parametrize(
    ("name", "overrides", "words"),
    [
        ("advprop_signs", ["model.name=lisa_cnn"], "no batch norm"),
        ("natural_gtsrb", ["train.augment=flip_crop"], "another class"),
        ("natural_lisa17", ["train.augment=flip_crop"], "another class"),
        ("natural_signs", ["data.limit_per_class=3"], "write per_class"),
        ("natural_cifar10", ["data.per_class=3"], "only rendered data"),
        ("natural_signs", ["train.epochs=0"], "nothing is learnt"),
        ("lime_cifar10", ["refine.relevance=roi"], "has no boxes"),
        ("lime_lisa17", ["refine.relevance=mask"], "neither masks nor boxes"),
    ],
)
def test_data_and_network_must_allow_it(name: str, overrides: list[str], words: str) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe(name, overrides)
    assert any(words in problem for problem in caught.value.problems), caught.value.problems


def test_the_limit_is_only_for_trying_out() -> None:
    assert load_recipe("natural_cifar10", ["data.limit_per_class=3"]).recipe.data.limit_per_class == 3
    with pytest.raises(UserError, match="natural_cifar10"):
        load_recipe("natural_cifar10", ["data.limit_per_class=0"])


@pytest.mark.parametrize(
    "text",
    ["1e400", "-1e400", "1e999999999", "1e-999999999", "9" * 5000, "1/0", "8/255/2", "nan", "inf", "", "0x1", "٣"],
)
def test_numbers_that_are_none_are_faults_not_crashes(text: str) -> None:
    for table in (
        lambda: RefineTable(method="lime", eps=text),
        lambda: TrainTable(method="adversarial", eps=text),
        lambda: TrainTable(method="adversarial", attack_step=text),
    ):
        with pytest.raises(ValidationError, match=r"is not|not above"):
            table()


@pytest.mark.parametrize(
    ("text", "value"), [("8/255", 8 / 255), (" 0.03 ", 0.03), ("3e-2", 0.03), (".5", 0.5), ("1", 1.0)]
)
def test_numbers_that_are(text: str, value: float) -> None:
    from edgexai.config.fields import pixels

    assert pixels(RefineTable(method="lime", eps=text).eps) == value


def test_the_schema_knows_the_new_keys() -> None:
    from edgexai.config.json_schema import recipe_json_schema

    tables = json.loads(json.dumps(recipe_json_schema()))["$defs"]
    assert {"factory", "weights", "feature_map"} <= set(tables["ModelTable"]["properties"])
    assert "limit_per_class" in tables["DataTable"]["properties"]
    assert "flip_crop" in tables["TrainTable"]["properties"]["augment"]["enum"]
