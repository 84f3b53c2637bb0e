"""recipe show, cp, validate, schema, and that run and status reach the recipe room."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from edgexai.cli.main import main
from edgexai.config.load import load_recipe
from edgexai.config.source import shipped_recipes

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_what_show_prints_is_the_same_recipe_again(name: str, tmp_path: Path, capsys: Captured) -> None:
    assert main(["recipe", "show", name, "train.lr=0.125", 'title=a "b" \\ ü']) == 0
    copy = tmp_path / "copy.toml"
    copy.write_text(capsys.readouterr().out, encoding="utf-8")
    assert load_recipe(str(copy)).recipe == load_recipe(name, ["train.lr=0.125", 'title=a "b" \\ ü']).recipe
    assert set(load_recipe(str(copy)).origin.values()) <= {"file", "default"}


def test_show_tags_every_value(capsys: Captured) -> None:
    assert main(["recipe", "show", "quickstart", "train.epochs=3", "data.size=48"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "epochs = 3 # override" in lines
    assert "size = 48 # override" in lines
    assert 'method = "natural" # file' in lines
    assert "augment_strength = 1.0 # default" in lines
    assert all(line.startswith("[") or line.endswith(("# default", "# file", "# override")) for line in lines if line)


def test_show_as_json(capsys: Captured) -> None:
    assert main(["recipe", "show", "quickstart", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["name"] == "quickstart"
    assert content["recipe"]["model"]["name"] == "signnet"
    assert content["origin"]["model.name"] == "file"


def test_cp_keeps_the_comments_and_never_overwrites(tmp_path: Path, capsys: Captured) -> None:
    target = tmp_path / "mine.toml"
    assert main(["recipe", "cp", "quickstart", str(target)]) == 0
    assert target.read_text() == shipped_recipes()["quickstart"].read_text()
    target.write_text("precious")
    assert main(["recipe", "cp", "quickstart", str(target)]) == 2
    assert target.read_text() == "precious"
    assert "never overwritten" in capsys.readouterr().err


@pytest.mark.parametrize("target", [".", "noext", "no/such/folder/x.toml"])
def test_cp_into_nowhere(target: str, tmp_path: Path, capsys: Captured) -> None:
    assert main(["recipe", "cp", "quickstart", str(tmp_path / target)]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


def test_validate_all_counts_them(capsys: Captured) -> None:
    assert main(["recipe", "validate", "--all"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"ok  {name}" for name in shipped_recipes()]


def test_validate_goes_on_after_a_fault(tmp_path: Path, capsys: Captured) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("title = 3\n")
    assert main(["recipe", "validate", str(bad), "quickstart"]) == 2
    caught = capsys.readouterr()
    assert caught.out == "ok  quickstart\n"
    assert "bad: 4 problems" in caught.err
    assert "title = 3: text in quotes is wanted (line 1)" in caught.err


def test_validate_nothing_is_a_fault(capsys: Captured) -> None:
    assert main(["recipe", "validate"]) == 2
    assert "--all" in capsys.readouterr().err


def test_ls_as_json_agrees_with_the_files(capsys: Captured) -> None:
    assert main(["recipe", "ls", "--json"]) == 0
    listed = {entry["name"]: entry["title"] for entry in json.loads(capsys.readouterr().out)}
    assert listed == {n: tomllib.loads(p.read_text())["title"] for n, p in shipped_recipes().items()}


def test_schema_is_json(capsys: Captured) -> None:
    assert main(["recipe", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "edgexai recipe"


def test_a_dry_run_names_every_stage_and_writes_nothing(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEXAI_HOME", str(tmp_path / "home"))
    assert main(["recipe", "run", "quickstart", "--dry-run"]) == 0
    told = capsys.readouterr()
    for stage in ("train", "refine", "prune", "export", "measure"):
        assert stage in told.out + told.err
    assert not (tmp_path / "home").exists()


def test_status_before_any_run_says_nothing_is_stored(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEXAI_HOME", str(tmp_path / "home"))
    assert main(["recipe", "status", "natural_signs", "--json"]) == 0
    nodes = json.loads(capsys.readouterr().out)
    assert {"data", "train"} <= {node["stage"] for node in nodes}
    assert not any(node["stored"] for node in nodes)
    assert main(["recipe", "status", "natural_signs"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(nodes)


def test_a_stage_that_does_not_exist_is_refused(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEXAI_HOME", str(tmp_path / "home"))
    assert main(["recipe", "run", "natural_signs", "--until", "prune", "--dry-run"]) == 2
    assert "choose one of" in capsys.readouterr().err
