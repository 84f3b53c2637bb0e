"""Loading: every fault at once, in the user's words; where every value comes from; paths, names and TOML faults."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edgexai.config.load import load_recipe
from edgexai.errors import UserError

GOOD = """title = "a test"
[data]
name = "signs"
per_class = 5
[model]
name = "signnet"
[train]
method = "natural"
epochs = 2
"""
REST = """[export]
[engine]
runtime = "onnxruntime"
[measure]
n = 10
"""


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str | bytes, name: str = "mine.toml") -> str:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    return write


def faults(path: str, *overrides: str) -> tuple[str, ...]:
    with pytest.raises(UserError) as caught:
        load_recipe(path, overrides)
    return caught.value.problems


def test_defaults_are_filled_and_the_origin_of_every_value_is_told(write) -> None:
    loaded = load_recipe(write(GOOD), ["train.lr=1", "seed=3"])
    assert loaded.name == "mine"
    assert loaded.recipe.train.epochs == 2
    assert loaded.recipe.data.size == 32
    assert loaded.recipe.seed == 3
    assert isinstance(loaded.recipe.train.lr, float)
    assert loaded.recipe.train.lr == 1.0
    assert loaded.origin["train.epochs"] == "file"
    assert loaded.origin["data.size"] == "default"
    assert loaded.origin["train.lr"] == "override"
    assert loaded.origin["seed"] == "override"
    # One tag for every value of every table that is present, and for no other.
    tables = {name: table for name, table in loaded.recipe if hasattr(table, "model_fields_set")}
    expected = {"title", "seed", "source"} | {f"{n}.{k}" for n, t in tables.items() for k in type(t).model_fields}
    assert set(loaded.origin) == expected
    assert set(tables) == {"data", "model", "train"}


def test_the_loaded_recipe_is_frozen(write) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_recipe(write(GOOD)).name = "other"  # type: ignore[misc]


def test_all_faults_are_reported_together_with_their_lines(write) -> None:
    bad = GOOD.replace("epochs = 2", "epohcs = 2\nlr = true") + '[prune]\nmethod = "channel"\nmacs_ratio = 1.5\n'
    bad += '[refine]\nmethod = "lyme"\n[colour]\nred = 1\n'
    problems = faults(write(bad))
    assert len(problems) == 5
    text = "\n".join(problems)
    assert "train.epohcs: unknown key; did you mean train.epochs? (line 9)" in problems
    assert "train.lr = true: a number is wanted (line 10)" in problems
    assert "prune.macs_ratio = 1.5: should be less than or equal to 1 (line 13)" in problems
    assert 'refine.method = "lyme": allowed: \'lime\'; did you mean "lime"? (line 15)' in problems
    assert "colour: unknown key; allowed: title, seed" in text
    assert "(line 16)" in text


def test_the_error_names_the_recipe_and_the_count(write) -> None:
    with pytest.raises(UserError, match=r"^mine: 1 problem") as caught:
        load_recipe(write(GOOD), ["train.epochs=many"])
    assert caught.value.exit_code == 2
    assert caught.value.next_step


def test_a_key_of_another_table_is_pointed_to(write) -> None:
    (problem,) = faults(write(GOOD), "train.macs_ratio=0.5")
    assert "did you mean prune.macs_ratio?" in problem
    assert "(override)" in problem


def test_a_missing_key_and_a_missing_table_are_named(write) -> None:
    problems = faults(write('title = "t"\n[data]\nsize = 32\n[model]\nname = "signnet"\n'))
    assert problems == ("data.name: missing (line 2)", "train: missing; every recipe needs this table")


def test_tables_come_in_order(write) -> None:
    assert faults(write(GOOD + "[measure]\nn = 3\n")) == ("[measure] needs [engine]",)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("title = \n", ":1:"),
        (GOOD + "[train]\nepochs = 3\n", ":10:"),
        (GOOD + "epochs = 3\n", ":10:"),
        (GOOD + 'x = "open\n', ":10:"),
        (GOOD + "[[[[", ":10:"),
        (GOOD + "y = [1,", ":10"),
        (GOOD + "z = " + "9" * 5000, ""),
        (b'title = "\xff"\n', ":1:"),
        (b"\n\n\x00", ":3:"),
    ],
)
def test_toml_faults_name_file_and_line(write, text: str | bytes, where: str) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe(write(text))
    assert f"mine.toml{where}" in caught.value.what


def test_deep_nesting_is_no_traceback(write) -> None:
    with pytest.raises(UserError):
        load_recipe(write("a = " + "[" * 20_000))


def test_a_byte_order_mark_and_windows_line_ends_are_read(write) -> None:
    assert load_recipe(write(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())).recipe.train.epochs == 2


@pytest.mark.parametrize("value", ["inf", "nan", "-inf"])
def test_infinite_numbers_are_refused(write, value: str) -> None:
    assert any("not a finite number" in problem for problem in faults(write(GOOD), f"train.lr={value}"))


def test_contradictions_between_tables_are_found(write) -> None:
    gtsrb = GOOD.replace('"signs"', '"gtsrb"') + '[refine]\nmethod = "lime"\nrelevance = "mask"\n'
    assert [p.split(":")[0] for p in faults(write(gtsrb))] == ["data.per_class", 'refine.relevance = "mask"']
    vgg = GOOD.replace('"signnet"', '"vgg16"') + REST + 'explainers = ["cam"]\n'
    assert [p.split(":")[0] for p in faults(write(vgg))] == ['export.saliency = "cam"', 'measure.explainers has "cam"']
    load_recipe(write(GOOD + REST + 'explainers = ["cam"]\n'))


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean pruned_lime_gtsrb") as caught:
        load_recipe("prunned_lime_gtsrb")
    assert "quickstart" in caught.value.problems[0]


@pytest.mark.parametrize("name", ["./nowhere.toml", "nowhere.toml", "no/where", "..", "/", "", "recipes/"])
def test_paths_that_are_no_recipe(name: str) -> None:
    with pytest.raises(UserError):
        load_recipe(name)


def test_a_file_name_must_be_able_to_name_a_run_folder(write) -> None:
    with pytest.raises(UserError, match="cannot name a run folder"):
        load_recipe(write(GOOD, "...toml"))
    with pytest.raises(UserError, match="cannot name a run folder"):
        load_recipe(write(GOOD, "-x y.toml"))


def test_a_file_beats_a_shipped_name_only_when_it_is_a_path(write, tmp_path: Path, monkeypatch) -> None:
    write(GOOD, "quickstart.toml")
    monkeypatch.chdir(tmp_path)
    assert load_recipe("quickstart.toml").recipe.title == "a test"
    assert load_recipe("quickstart").recipe.title != "a test"


def test_attacked_fine_tuning_needs_a_refinement() -> None:
    with pytest.raises(UserError) as caught:
        load_recipe("pruned_signs", ["prune.adversarial_weight=2.0"])
    assert "prune.adversarial_weight" in f"{caught.value} {caught.value.problems}"
    assert load_recipe("pruned_lime_signs", ["prune.adversarial_weight=2.0"]).recipe.prune.adversarial_weight == 2.0  # type: ignore[union-attr]
