"""Card, CSV, summary table, words, pictures, and the command."""

from __future__ import annotations

import base64
import io
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic_run
from PIL import Image

from edgexai.cli.report import find_run
from edgexai.errors import UserError
from edgexai.report.csv_rows import from_csv, to_csv
from edgexai.report.evidence import Evidence
from edgexai.report.figures import Point, Series, line_chart
from edgexai.report.pictures import flagged_cells, in_cells, overlay, png_uri
from edgexai.report.tables import summary_table
from edgexai.report.words import difference_words, interval_text, number, value_text
from edgexai.types import Row


def test_csv_round_trips(run: Path) -> None:
    rows = synthetic_run.rows()
    awkward = replace(rows[0], reason='a "quoted", line\nbroken', value=0.1 + 0.2, flags=("a", "b"), seed=None)
    assert from_csv(to_csv([*rows, awkward])) == [*rows, awkward]
    assert from_csv((run / "measurements.csv").read_text("utf-8")) == rows


def test_card_front_matter_is_yaml_and_holds_only_rows(run: Path) -> None:
    text = (run / "card.md").read_text("utf-8")
    head, matter, body = text.split("---\n", 2)
    assert head == ""
    data = {key: json.loads(value) for key, _, value in (line.partition(": ") for line in matter.splitlines())}
    if (yaml := pytest.importorskip("yaml", reason="PyYAML reads it as a hub would")) is not None:
        assert yaml.safe_load(matter) == data
    assert data["datasets"] == ["gtsrb"]
    values = {r.value for r in synthetic_run.rows() if (r.arm, r.artefact) == ("pruned", "int8-tensorrt")}
    metrics = [m for result in data["model-index"][0]["results"] for m in result["metrics"]]
    assert len(metrics) >= 10
    assert {m["value"] for m in metrics} <= values
    assert all("n " in m["name"] for m in metrics)
    assert "<script" not in body
    tables = [line for line in body.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in tables if "natural · fp32 engine |" in line}) <= 4


def test_summary_table_by_hand() -> None:
    def row(arm: str, artefact: str, metric: str, value: float | None, **more: object) -> Row:
        base = Row(arm, artefact, "twin" if artefact == "twin" else "engine", metric, value, "fraction", 200)
        return replace(base, **more)  # type: ignore[arg-type]

    pgd = {"attack": "pgd", "steps": 40}
    table = summary_table(
        [
            row("natural", "fp32", "clean_acc", 0.985, low=0.97, high=0.99),
            row("natural", "fp32", "robust_acc", 0.9, detail={**pgd, "eps": "2/255"}),
            row("natural", "fp32", "robust_acc", 0.08, detail={**pgd, "eps": "8/255"}),
            row("natural", "twin", "roi_share", 0.5, detail={"explainer": "vg"}),
            row("pruned", "int8-tensorrt", "clean_acc", None, status="skipped", reason="no runtime", n=0),
            row("pruned", "fp32", "clean_acc", 0.5, flags=("few_images",)),
        ]
    )
    assert [line[0] for line in table] == ["Network", "natural fp32", "pruned fp32", "pruned int8-tensorrt"]
    assert table[0][1:3] == ["Clean, n=200", "Robust (PGD 8/255), n=200"]
    assert table[1][1:3] == ["98.5 % [97.0, 99.0]", "8.0 %"]
    assert table[1][table[0].index("ROI share (Gradient (VG)), n=200")] == "50.0 % (twin)"
    assert table[2][1] == "50.0 % !"
    assert table[3][1] == "skipped"
    assert table[3][2] == "–"
    assert len({len(line) for line in table}) == 1
    assert summary_table([]) == []


def _difference(low: float | None, high: float | None, *, arm: str = "refined", against: str = "natural") -> Row:
    value = 0.0 if low is None or high is None else (low + high) / 2
    return Row(arm, "fp32", "engine", "robust_acc_difference", value, "fraction", 100, low, high, "paired-bootstrap",
               detail={"against": against, "attack": "pgd"})  # fmt: skip


@pytest.mark.parametrize(
    ("first", "control", "said"),
    [
        ((0.1, 0.2), (0.01, 0.2), "a gain"),
        ((0.1, 0.2), (-0.01, 0.2), "not called a gain"),
        ((0.1, 0.2), None, "not called a gain"),
        ((-0.1, 0.2), (0.1, 0.2), "no difference shown"),
        ((-0.2, -0.1), (0.1, 0.2), "worse (lower)"),
        ((None, None), (0.1, 0.2), "no interval"),
    ],
)
def test_a_gain_needs_its_control(first, control, said: str) -> None:
    rows = [_difference(*first)] + ([_difference(*control, against="control")] if control else [])
    evidence = Evidence(rows)
    words = difference_words(evidence.items[0], evidence)
    assert said in words
    assert words.startswith("a gain") == (said == "a gain")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.9746, "fraction", "97.5 %"),
        (9_370_000, "count", "9.37 M"), (871_230, "count", "871 k"), (43, "count", "43"),
        (450_000, "bytes", "450 kB"), (12, "bytes", "12 B"), (0.4432, "ms", "0.443 ms"), (12.0, "ms", "12.0 ms"),
        (3727.3, "images/s", "3,727 images/s"), (-0.5, "unitless", "−0.500"), (0.0, "ms", "0 ms"),
        (0.0004321, "logit", "0.000432 logit"), (1_250_000.0, "images/s", "1,250,000 images/s"),
    ],
)  # fmt: skip
def test_numbers(value: float, unit: str, text: str) -> None:
    assert number(value, unit) == text


def test_interval_texts() -> None:
    row = _difference(-0.01, 0.025)
    assert (value_text(row), interval_text(row)) == ("+0.8 pp", "−1.0 to +2.5 pp")
    assert interval_text(replace(row, low=None)) == ""


def test_deployed_is_never_the_control() -> None:
    rows = [Row(a, f, "engine", "clean_acc", 0.5, "fraction", 9) for a, f in (("natural", "fp32"), ("control", "fp32"))]
    assert Evidence(rows).deployed == ("natural", "fp32")
    more = [*rows, replace(rows[0], arm="refined"), replace(rows[0], arm="refined", artefact="int8-tensorrt")]
    assert Evidence(more).deployed == ("refined", "int8-tensorrt")
    assert Evidence([]).deployed is None


def test_pictures_decode_and_colours_mean_what_they_say() -> None:
    g = np.random.default_rng(0)
    image = g.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    back = np.asarray(Image.open(io.BytesIO(base64.b64decode(png_uri(image).partition(",")[2]))))
    assert (back == image).all()
    field = np.zeros((8, 8), np.float32)
    field[1, 2], field[5, 6] = 2.0, -2.0
    before = field.copy()
    shown = overlay(np.full((32, 32, 3), 100, np.uint8), field).astype(int)
    assert (field == before).all()
    assert (shown[4:8, 8:12] == (255, 140, 0)).all()
    assert (shown[20:24, 24:28] == (40, 120, 255)).all()
    assert (np.ptp(shown[0, 0]), shown[0, 0, 0]) == (0, 57)
    flags = np.zeros((8, 8), bool)
    flags[1, 2] = True
    assert flagged_cells(flags) == [(25.0, 12.5, 12.5, 12.5)]


def test_chart_places_points() -> None:
    points = [Point(0, 1.0, 1.0, 1.0, "r1", "x"), Point(1, 0.0, 0.0, 0.0, "r2", "<y>")]
    svg = str(
        line_chart("t", [Series("a<b", "pgd", points)], x_label="x", y_label="y", x_ticks=[(0, "0"), (1, "1")]).svg
    )
    assert 'cx="62.0" cy="14.0"' in svg
    assert 'cx="414.0" cy="224.0"' in svg
    assert "<y>" not in svg
    assert "a&lt;b" in svg


def test_run_is_a_folder_or_a_recipes_newest(tmp_path: Path) -> None:
    for name, age in (("aaa", 100), ("bbb", 300), ("ccc", 200)):
        lock = tmp_path / "runs" / "quick" / name / "recipe.lock.json"
        lock.parent.mkdir(parents=True)
        lock.write_text("{}")
        os.utime(lock, (age, age))
    assert find_run("quick", tmp_path).name == "bbb"
    assert find_run(str(tmp_path / "runs/quick/aaa"), tmp_path).name == "aaa"
    with pytest.raises(UserError, match="no run of a recipe"):
        find_run("slow", tmp_path)
    with pytest.raises(UserError, match="no such run folder"):
        find_run(str(tmp_path / "nope"), tmp_path)


def test_a_large_map_in_cells_keeps_strength_and_the_sign_that_wins() -> None:
    checkered = np.float32([[1, -1, 0, 0, 5], [-1, 1, 0, -4, 5], [2, 2, 0, 0, -1]])
    cells = in_cells(checkered, 3)  # two pixels to a cell; the last row and column are smaller cells
    np.testing.assert_array_equal(cells, np.float32([[1, -1, 5], [2, 0, -1]]))
    assert in_cells(checkered, 5) is checkered
    gap = checkered.copy()
    gap[0, 0] = np.nan
    np.testing.assert_array_equal(in_cells(gap, 3)[0], np.float32([-0.75, -1, 5]))
