"""The published schema, the card's index and technical documentation: all from rows, none with a verdict of its own."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
import synthetic_run

from edgexai.cli.main import main
from edgexai.errors import EXIT_USER, UserError
from edgexai.report.folder import read_run
from edgexai.report.row_schema import row_schema
from edgexai.report.technical import technical_documentation
from edgexai.report.technical_templates import TEMPLATES, TOPICS
from edgexai.report.words import number
from edgexai.types import Row

PUBLISHED = Path(__file__).parents[2] / "docs" / "schema" / "rows.schema.json"
ROW = Row("natural", "fp32", "engine", "clean_acc", 0.5, "fraction", 10)


def _faults(row: object, schema: dict) -> list[str]:
    jsonschema = pytest.importorskip("jsonschema", reason="checks a row against the published schema")
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(row)]


def test_the_published_schema_is_the_one_of_the_code() -> None:
    assert json.loads(PUBLISHED.read_text("utf-8")) == row_schema(), (
        "edgexai report --schema > docs/schema/rows.schema.json"
    )


def test_every_field_is_typed_and_told() -> None:
    properties = row_schema()["properties"]
    assert list(properties) == [field.name for field in fields(Row)]
    assert all(len(entry["description"]) > 5 for entry in properties.values())


def test_rows_fit_the_published_schema(run: Path) -> None:
    schema = json.loads(PUBLISHED.read_text("utf-8"))
    lines = (run / "measurements.jsonl").read_text("utf-8").splitlines()
    assert len(lines) > 500
    assert [fault for line in lines for fault in _faults(json.loads(line), schema)] == []


@pytest.mark.parametrize(
    "broken",
    [
        {"subject": "board"}, {"value": None}, {"n": 1.5}, {"status": "skipped"}, {"surprise": 1}, {"flags": "x"},
        {"detail": {"eps": [1]}}, {"seed": 0.5}, {"value": "0.5"},
    ],
)  # fmt: skip
def test_broken_rows_do_not_fit(broken: dict) -> None:
    schema = row_schema()
    assert _faults(json.loads(ROW.to_json()), schema) == []
    assert _faults({**json.loads(ROW.to_json()), **broken}, schema)


def test_required_fields_are_required() -> None:
    whole = asdict(ROW)
    for name in row_schema()["required"]:
        assert _faults({k: v for k, v in whole.items() if k != name}, row_schema())


def test_the_command_prints_the_schema(capsys) -> None:
    assert main(["report", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == row_schema()
    assert main(["report"]) == EXIT_USER


def test_the_card_index_has_what_a_hub_asks_for(run: Path) -> None:
    """Hub metadata: model-index[].results[] each with task.type, dataset.{type,name}, metrics[].{type,value}."""
    yaml = pytest.importorskip("yaml", reason="reads front matter as a hub does")
    matter = yaml.safe_load((run / "card.md").read_text("utf-8").split("---\n")[1])
    (model,) = matter["model-index"]
    assert model["name"]
    assert model["results"]
    for result in model["results"]:
        assert result["task"]["type"] == "image-classification"
        assert result["dataset"]["type"]
        assert result["dataset"]["name"]
        assert result["metrics"]
        for metric in result["metrics"]:
            assert metric["type"]
            assert isinstance(metric["value"], float)


@pytest.mark.parametrize("name", TEMPLATES)
def test_documentation_holds_rows_and_no_verdict(run: Path, name: str) -> None:
    text = technical_documentation(read_run(run), name)
    rows = synthetic_run.rows()
    cited = re.findall(r"^\| (?!Measured|---)(.*) \|$", text, re.M)
    assert len(cited) > 30
    for line in cited:
        cells = re.split(r"(?<!\\) \| ", line)
        row = rows[int(cells[5]) - 1]
        assert row.value is not None
        assert number(row.value, row.unit).removeprefix("+") == cells[1].removeprefix("+").replace("pp", "%")
        assert cells[4].startswith(row.subject)
        assert cells[3] == f"{row.n:,}"
        assert (row.arm, row.artefact) in (("pruned", "int8-tensorrt"), ("pruned", "twin"))
    for word in ("complian", "conforms", "certified", "fulfil", "satisf"):
        assert word not in text.lower()
    assert "mapped to" in text
    assert "not an assessment of conformity" in text
    assert "To be supplied by the provider" in text
    assert "needs a Jetson" in text
    assert not re.search(r"\b(None|nan)\b", text)
    assert "<script" not in text


def test_every_topic_is_somewhere_in_every_template() -> None:
    known = {*TOPICS, "provenance", "data", "gates", "flags", "missing"}
    for template in TEMPLATES.values():
        assert {topic for part in template.parts for topic in part.topics} == known


def test_weakest_classes_are_named(tmp_path: Path) -> None:
    folder = synthetic_run.make(tmp_path / "run", signs=1)
    with (folder / "measurements.jsonl").open("a") as stream:
        for label, value in ((0, 0.9), (1, 0.2), (2, 0.5), (3, 1.0), (4, 0.95), (5, 0.97)):
            row = replace(ROW, arm="pruned", artefact="int8-tensorrt", metric="class_acc", value=value, n=50,
                          detail={"class": label})  # fmt: skip
            stream.write(row.to_json() + "\n")
    text = technical_documentation(read_run(folder), "iso-21448")
    assert "The 5 weakest of 6 classes" in text
    named = re.findall(r"Class accuracy \((Speed limit \d+) \(", text)
    assert named == ["Speed limit 30", "Speed limit 50", "Speed limit 20", "Speed limit 70", "Speed limit 80"]


def test_an_unknown_template_is_refused_before_anything_is_written(tmp_path: Path, capsys) -> None:
    folder = synthetic_run.make(tmp_path / "run", signs=1)
    assert main(["report", str(folder), "--template", "iso-9001"]) == EXIT_USER
    assert "annex-iv" in capsys.readouterr().err
    assert not (folder / "report.html").exists()
    with pytest.raises(UserError):
        technical_documentation(read_run(folder), "")
    assert main(["report", str(folder), "--template", "annex-iv", "--signs", "1"]) == 0
    assert (folder / "technical_annex-iv.md").is_file()
