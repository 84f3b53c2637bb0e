"""Classes, confidence, drift ledger, gates, tests, the rows' groups and commands: read back from the rows they show."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic_run

from edgexai.measure.flags import FLAGS
from edgexai.measure.ledger import REBUILDING, Step, ledger_rows
from edgexai.recipe import STAGES
from edgexai.report.classes import class_tables
from edgexai.report.curves import deletion_charts
from edgexai.report.evidence import Evidence
from edgexai.report.folder import RunFolder, read_run
from edgexai.report.headline import gates, headline_figures
from edgexai.report.html import render, write_report
from edgexai.report.ledger import ledger
from edgexai.report.other_tables import calibration_table, further_map_table
from edgexai.report.provenance import command, made_by
from edgexai.report.row_groups import NAMES, groups_of, row_groups
from edgexai.report.section_tables import difference_table, robust_table, words_of_test
from edgexai.report.words import metric_name
from edgexai.types import Row

ENGINE = Row("pruned", "int8-tensorrt", "engine", "clean_acc", 0.9, "fraction", 500, 0.87, 0.92, "wilson")


def _run(*rows: Row, gates: tuple[dict, ...] = (), classes: tuple[str, ...] = ()) -> RunFolder:
    lock = {"name": "x", "classes": list(classes)}
    return RunFolder(Path("nowhere"), lock, (ENGINE, *rows), gates, {}, {})


def _class(label: int | str, value: float, n: int, **more: object) -> Row:
    return replace(ENGINE, metric="class_acc", value=value, low=value - 0.05, high=min(1, value + 0.05), n=n,
                   detail={"class": label, **more})  # fmt: skip


def test_the_weakest_class_stands_first() -> None:
    rows = (_class(0, 0.9, 50), _class(1, 0.4, 10, taken_for=2, taken_for_n=5), _class(2, 0.9, 80))
    run = _run(*rows, classes=("a", "b", "c"))
    (table,) = class_tables(run, Evidence(run.rows))
    assert [line.name for line in table.lines] == ["b (1)", "c (2)", "a (0)"]
    assert table.lines[0].taken_for == "c (2), 5 of 10"
    assert [line.cell.row_id for line in table.lines] == ["r3", "r4", "r2"]
    at = re.search(r'cx="([\d.]+)"', table.lines[0].bar)
    assert at is not None
    assert float(at[1]) == pytest.approx(0.4 * 220)
    assert "Class by class" in render(run)
    assert class_tables(_run(), Evidence(_run().rows)) == []


def test_few_images_of_many_classes_are_told_once() -> None:
    few = [replace(_class(k, 0.5, 10), flags=("few_images", "another")) for k in range(43)]
    run = _run(*few, _class(43, 0.9, 500), replace(ENGINE, metric="agreement", n=50, flags=("few_images",)))
    (table,) = class_tables(run, Evidence(run.rows))
    assert (table.few, len(table.lines)) == (43, 44)
    assert {line.cell.flags for line in table.lines} == {("another",), ()}  # what is not few_images stays
    page = render(run)
    classes = page.partition('<section aria-labelledby="classes">')[2].partition("</section>")[0]
    assert classes.count("few images") == 1
    assert "for 43 of the 44 classes" in classes
    told = page.partition('<dt id="flag-few_images">')[2].partition("</dd>")[0]
    assert "On 1 row: " in told
    assert "and on the accuracy of 43 classes, from " in told
    assert told.count("<a ") == 2
    alone = render(_run(*few))
    told = alone.partition('<dt id="flag-few_images">')[2].partition("</dd>")[0]
    assert "On the accuracy of 43 classes" in told
    assert "row" not in told.partition('class="note"')[2]
    quiet = render(_run(_class(0, 0.9, 500)))
    assert "for 0 of" not in quiet
    assert '<dt id="flag-few_images">' not in quiet


def test_classes_may_be_named_in_the_row_itself() -> None:
    run = _run(_class("stop", 0.5, 10))
    (table,) = class_tables(run, Evidence(run.rows))
    assert table.lines[0].name == "stop"


def _steps() -> list[Step]:
    """natural -> fp32 -> int8 -> rebuilt, where 10 of 100 decisions turn in int8 and none elsewhere."""
    g = np.random.default_rng(0)
    labels = np.arange(100) % 4
    logits = (np.eye(4)[labels] * 4 + g.normal(0, 0.1, (100, 4))).astype(np.float32)
    turned = logits.copy()
    turned[:10] = np.roll(turned[:10], 1, axis=1)
    maps = g.normal(0, 1, (40, 8, 8)).astype(np.float32)
    noisy = [(maps + g.normal(0, s, maps.shape)).astype(np.float32) for s in (0.5, 0.1)]
    own = {"arm": "pruned", "artefact": "int8-tensorrt", "subject": "engine", "runtime": "r"}
    return [
        Step("natural", "pruned", "twin", "twin", "torch", logits, {"lime": maps}),
        Step("fp32", "pruned", "fp32", "engine", "r", logits, {"lime": maps}, "natural"),
        Step("int8", **own, logits=turned, maps={"lime": noisy[0]}, before="fp32", twin="natural"),
        Step("rebuilt 1", **own, logits=turned, maps={"lime": noisy[1]}, before="int8", floor=REBUILDING),
    ]  # fmt: skip


def test_ledger_shades_by_what_moved_and_never_replaces_the_number() -> None:
    rows = ledger_rows(_steps(), np.arange(100) % 4, seed=0, split="test")
    evidence = Evidence((ENGINE, *rows))
    table, rest = ledger(evidence)
    assert len(rest.columns) == 3
    assert list(table.columns)[1:] == [
        *map(metric_name, ("step_acc", "agreement", "logit_drift")), f"{metric_name('map_drift')}, LIME",
    ]  # fmt: skip
    assert [(line.name, line.floor) for line in table.lines] == [
        ("natural", ""), ("natural → fp32", ""), ("fp32 → int8", ""), ("natural → int8", ""),
        ("int8 → rebuilt 1", REBUILDING),
    ]  # fmt: skip
    shades = {line.name: [shade for _, shade in line.cells] for line in table.lines}
    assert all(found[0] is None for found in shades.values())  # an accuracy is no drift
    assert shades["natural → fp32"][1:4] == [0.0, 0.0, pytest.approx(0, abs=1e-9)]
    assert shades["fp32 → int8"][1:3] == [1.0, 1.0]
    assert max(found[3] or 0 for found in shades.values()) == 1.0
    for line in table.lines:
        for shown, shade in line.cells:
            if shown.row_id:
                row = evidence.items[int(shown.row_id[1:]) - 1].row
                assert ("noise" in shown.tags) == (row.detail.get("above_floor") == "no")
            else:
                assert shade is None
    assert {c.text for c, _ in table.lines[2].cells[:2]} == {"90.0 %"}
    assert evidence.find("agreement", arm="pruned", artefact="int8-tensorrt") is None  # a step is not the number itself
    page = render(_run(*rows))
    assert "noise floor: rebuilding</span>" in page
    assert 'style="--s:55%"' in page
    assert {made_by(row) for row in rows} == {"ledger"}


def test_without_ledger_rows_there_is_no_section(page: str) -> None:
    assert 'id="drift"' not in page
    assert 'id="classes"' not in page


def test_confidence_and_unknown_metrics_of_maps_get_a_column() -> None:
    rows = (
        replace(ENGINE, metric="calibration_error", value=0.03, detail={"bins": 15, "scheme": "width"}),
        replace(ENGINE, metric="selective_acc", value=0.97, detail={"coverage": 0.9, "accepted": 0.901}),
        replace(ENGINE, arm="natural", artefact="fp32", metric="calibration_error", value=0.08,
                detail={"bins": 15, "scheme": "width"}),
        replace(ENGINE, metric="calibration_agreement", value=0.5),
        replace(ENGINE, metric="a_new_map_metric", value=0.5, detail={"explainer": "ig", "map": "twin"}),
        replace(ENGINE, metric="a_new_map_metric", value=0.1, detail={"explainer": "random"}),
    )  # fmt: skip
    evidence = Evidence((ENGINE, *rows))
    table = calibration_table(evidence)
    assert [line.strong for line in table.lines] == [True, False]
    assert [c.row_id for c in table.lines[0].cells] == ["r2", "r3"]
    assert [c.row_id for c in table.lines[1].cells] == ["r4", ""]
    assert any("coverage 0.9" in c and "accepted" not in c for c in table.columns)
    maps = further_map_table(evidence)
    assert [[c.row_id for c in line.cells] for line in maps.lines] == [["r6"], ["r7"]]
    assert maps.lines[1].name == "Random map (baseline)"


def test_deletion_and_insertion_are_drawn_from_their_points() -> None:
    values = {"deletion_curve": (1.0, 0.4, 0.1), "insertion_curve": (0.1, 0.7, 1.0)}
    rows = [
        replace(ENGINE, metric=metric, value=value, low=value - 0.05, high=value + 0.05,
                detail={"explainer": "ig", "share": k / 2})
        for metric, found in values.items()
        for k, value in enumerate(found)
    ]  # fmt: skip
    evidence = Evidence((ENGINE, *rows[::-1]))  # whatever their order in the file
    (chart,) = deletion_charts(evidence)
    links = re.findall(r'<a href="#r(\d+)">', chart.svg)
    assert [evidence.items[int(k) - 1].row.value for k in links] == [
        *values["deletion_curve"],
        *values["insertion_curve"],
    ]
    assert chart.svg.count('class="band"') == 2
    assert deletion_charts(Evidence((ENGINE,))) == []


def test_a_print_on_the_sign_has_an_area_instead_of_an_eps() -> None:
    patch = replace(ENGINE, metric="robust_acc", detail={"attack": "patch", "area": 0.1, "steps": 20})
    (line,) = robust_table(Evidence((ENGINE, patch)), deployed=True).lines
    assert [c.text for c in line.cells][1:4] == ["area 10 %", "–", "20 steps"]


def test_a_gate_shows_the_row_that_decided_it() -> None:
    square = replace(
        ENGINE, metric="robust_acc", value=0.5, low=0.4, high=0.6, detail={"attack": "square", "eps": "8/255"}
    )
    other = replace(square, detail={"attack": "square", "eps": "2/255"}, value=0.8)
    name = "robust_acc attack=square eps=8/255"
    verdict = {
        "name": name, "condition": ">= 0.6", "passed": False, "reason": "the lower bound is below 0.6",
        "row": {"arm": "pruned", "artefact": "int8-tensorrt", "split": "test", "attack": "square", "eps": "8/255"},
    }  # fmt: skip
    run = _run(other, square, gates=(verdict,))
    (gate,) = gates(run, Evidence(run.rows))
    assert (gate.verdict, gate.cell.row_id) == ("failed", "r3")
    assert gate.name == "Robust accuracy attack=square eps=8/255"
    page = render(run)
    assert "failed: the lower bound is below 0.6" in page
    assert page.index("1 of 1 gates failed") < page.index("Contents")
    nothing = {"name": "ece", "condition": "<= 0.1", "passed": False, "reason": "no row of ece"}
    (gate,) = gates(_run(gates=(nothing,)), Evidence((ENGINE,)))
    assert gate.cell.row_id == ""


def test_a_difference_shows_its_test_and_power() -> None:
    tested = replace(
        ENGINE, metric="clean_acc_difference", value=0.02, low=0.01, high=0.03,
        detail={"against": "natural", "test": "mcnemar", "p": 0.0004, "p_holm": 0.012, "tests": 9, "detectable": 0.031},
    )  # fmt: skip
    assert words_of_test(tested) == "McNemar, p < 0.001 (Holm 0.012); 80 % power from 3.1 pp"
    table = difference_table(Evidence((ENGINE, tested)))
    assert list(table.columns) == ["Comparison", "Metric", "Difference", "Test", "In words"]
    assert table.lines[0].cells[0].text == "Clean accuracy"  # no p among the words that name the number
    assert "Test" not in difference_table(Evidence((ENGINE, replace(tested, detail={"against": "natural"})))).columns


def test_first_screen_holds_four_numbers_verdict_flags_and_gaps(page: str) -> None:
    top = page.partition('<section aria-labelledby="headline">')[0]
    assert "All 2 gates passed" in top
    assert top.count('<p class="q">') == 4
    assert "black box beats white box" in top
    assert "Nothing here ran on a Jetson" in top
    figures = headline_figures(Evidence(synthetic_run.rows()))
    assert [f.question for f in figures[:4]] == [
        "Is it right?", "Is it hard to fool?", "For the right reasons?", "Is it fast enough?",
    ]  # fmt: skip


def test_nothing_is_printed_as_none_or_nan(page: str) -> None:
    shown = re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.S)
    assert not re.search(r"\b(nan|NaN|None|inf|Undefined)\b", shown)


def test_every_rule_is_explained_raised_or_not(page: str) -> None:
    for name, flag in FLAGS.items():
        assert name.replace("_", " ") in page
        assert re.sub("[`'<>&]", "", flag.means)[:20] in re.sub("[`'<>&]|&[a-z#0-9]+;", "", page)


def test_every_row_leads_to_the_command_that_makes_it(run: Path, page: str) -> None:
    rows = synthetic_run.rows()
    assert {made_by(row).partition("[")[0] for row in rows} <= set(STAGES)
    assert made_by(replace(ENGINE, metric="latency_ms")) == "latency[pruned]"
    assert made_by(replace(ENGINE, metric="road_gap")) == "compare"
    assert made_by(replace(ENGINE, metric="clean_acc_difference")) == "compare"
    assert command(read_run(run), "measure[pruned]") == "edgexai recipe run pruned_lime_gtsrb --from measure"
    body = page.partition('<section aria-labelledby="rows">')[2]
    for k in range(1, len(rows) + 1):
        line = re.search(rf'<tr id="r{k}".*?</tr>', body)
        assert line is not None
        (target,) = re.findall(r'<a href="#([\w-]+)">', line[0])
        assert f'id="{target}"' in page


def test_a_file_without_a_recipe_has_its_own_command_and_headline() -> None:
    row = replace(ENGINE, arm="foreign", artefact="onnx")
    lock = {"name": "net", "title": "net on gtsrb", "recipe": {}, "measured": {"engine": "net.onnx", "data": "gtsrb"}}
    run = RunFolder(Path("nowhere"), lock, (row,), (), {}, {})
    assert Evidence(run.rows).deployed == ("foreign", "onnx")
    page = render(run)
    assert "<pre>edgexai measure net.onnx --data gtsrb</pre>" in page
    assert '<p class="what">Clean accuracy</p>' in page
    assert Evidence([replace(row, arm="control")]).deployed is None


def test_groups_cover_every_row_once_and_have_their_rule(page: str) -> None:
    rows = synthetic_run.rows()
    kinds = [group for group in NAMES if group not in ("g-difference", "g-flagged", "g-unmeasured")]
    assert all(sum(group in kinds for group in row_groups(row)) == 1 for row in rows)
    counts = {group: count for group, _, count in groups_of(rows)}
    assert sum(counts.get(kind, 0) for kind in kinds) == counts["g-all"] == len(rows)
    for group, count in counts.items():
        if group != "g-all":
            assert len(re.findall(rf'<tr id="r\d+" class="[^"]*\b{group}\b', page)) == count
            assert f"#pick-{group}:checked) .rows tbody tr:not(.{group})" in page


def test_rows_of_an_older_writer_still_make_a_report(tmp_path: Path) -> None:
    """Before: gate rows without a verdict's row, no class rows, no tests, no attacked pictures, no drift."""
    folder = synthetic_run.make(tmp_path / "run")
    text = write_report(folder).read_text("utf-8")
    for name in ("classes", "calibration", "drift"):
        assert f'id="{name}"' not in text
    numbers = [int(k) for k in re.findall(r'<span class="k">(\d+)</span>', text)]
    assert numbers == list(range(1, len(numbers) + 1))
