"""What the report calls things: how the base arm was trained, the attacks, corruption, stability, the split."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import synthetic_run

from edgexai.config.recipe import MeasureTable, TrainTable
from edgexai.report.corruptions import corruption_chart, corruption_details, corruption_table
from edgexai.report.evidence import Evidence
from edgexai.report.folder import read_run
from edgexai.report.html import render, write_report
from edgexai.report.words import ATTACK_NAMES, METRIC_NAMES, arm_name, difference_words, engine_name, number
from edgexai.types import Row


def pages(folder: Path, **recipe: object) -> tuple[str, str]:
    """Page and card of the fabricated run with these tables in its recipe."""
    if not folder.exists():
        synthetic_run.make(folder, signs=1)
    lock = json.loads((folder / "recipe.lock.json").read_text("utf-8"))
    lock["recipe"] |= recipe
    (folder / "recipe.lock.json").write_text(json.dumps(lock), "utf-8")
    return write_report(folder, signs=1).read_text("utf-8"), (folder / "card.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("method", "name"), [("adversarial", "adversarially trained"), ("advprop", "AdvProp trained"), ("natural", "")]
)
def test_the_base_arm_is_called_after_its_training(tmp_path: Path, method: str, name: str) -> None:
    for text in pages(tmp_path / "run", train={"method": method}):
        assert ("natural · fp32 engine" in text) == (not name)
        if name:
            assert f"{name} · fp32 engine" in text
            assert f"than the {name} network" in text
            # A reader must not meet the word anywhere but as the key of the arm in the list of all rows.
            shown = text.partition('<section aria-labelledby="rows">')[0]
            shown = re.sub(r"<details><summary>The resolved recipe.*?</details>", "", shown, flags=re.S)
            shown = re.sub(
                r"<style>.*?</style>|--c-natural|of natural\b|Signs and maps, natural", "", shown, flags=re.S
            )
            assert not re.search(r"\bnatural\b", shown)


def test_every_method_of_training_has_a_name() -> None:
    methods = TrainTable.model_fields["method"].annotation.__args__
    names = {arm_name(Evidence([], trained=method), "natural") for method in methods}
    assert len(names) == len(methods) == 3
    assert engine_name(Evidence([]), "pruned", "fp32") == engine_name(Evidence([], trained="advprop"), "pruned", "fp32")


def test_a_gain_is_over_the_network_it_is_over() -> None:
    words = {"subject": "engine", "metric": "robust_acc_difference", "unit": "fraction", "n": 9, "artefact": "fp32"}
    rows = [
        Row(arm="refined", value=0.2, low=0.1, high=0.3, detail={"against": against}, **words)  # type: ignore[arg-type]
        for against in ("natural", "control", "natural fp32")
    ]
    evidence = Evidence(rows, trained="adversarial")
    first, _, last = (difference_words(item, evidence) for item in evidence.items)
    assert first.startswith("a gain: better than the adversarially trained network and")
    assert last == "better (higher) than adversarially trained fp32; the interval excludes zero"


def test_attacks_of_a_recipe_are_known(page: str) -> None:
    made = {"apgd": {"apgd-ce", "apgd-dlr"}}
    asked = MeasureTable.model_fields["attacks"].annotation.__args__[0].__args__
    for attack in asked:
        for name in made.get(attack, {attack}):
            assert name in ATTACK_NAMES
    chart = page.partition("The deployed engine under each attack")[2].partition("</figure>")[0]
    for name in ("APGD-CE", "APGD-DLR", "PGD", "Square"):
        assert f"</svg>{name}</li>" in chart
    assert "var(--c-apgd)" in chart
    assert page.count("--c-apgd:#") == 2  # by day and by night


def test_corruption_is_shown_row_by_row(page: str) -> None:
    evidence = Evidence(synthetic_run.rows())
    table = corruption_table(evidence)
    assert [line.strong for line in table.lines] == [False] * 4 + [True]
    for line in table.lines:
        row = evidence.items[int(line.cells[0].row_id[1:]) - 1].row
        assert (row.metric, row.detail) == ("corruption_acc", {"corruption": "mean", "severity": "all"})
    details = corruption_details(evidence)
    assert [line.name for line in details.lines] == ["gaussian noise", "fog", "jpeg compression"]
    assert list(details.columns) == ["Corruption", "Severity 1", "Severity 3", "Severity 5"]
    wanted = {
        (item.row.arm, item.row.artefact, item.id)
        for item in evidence.items
        if item.row.metric == "corruption_acc"
        and item.row.detail["corruption"] != "mean"
        and (item.row.arm, item.row.artefact) in (("pruned", "int8-tensorrt"), ("natural", "fp32"))
    }
    (chart,) = corruption_chart(evidence)
    assert set(re.findall(r'<a href="#(r\d+)">', chart.svg)) == {row_id for *_, row_id in wanted}
    assert len(wanted) == 2 * 3 * 3
    for arm, artefact, row_id in wanted:
        item = evidence.items[int(row_id[1:]) - 1]
        mark = re.search(rf'<a href="#{row_id}">.*?(?:cx="|M)([\d.]+).*?<title>(.*?)</title>', chart.svg)
        assert mark is not None
        name, severity = str(item.row.detail["corruption"]).replace("_", " "), item.row.detail["severity"]
        assert f"{engine_name(evidence, arm, artefact)}, {name}, severity {severity}" in mark[2]
        assert float(mark[1]) == pytest.approx(148 + (440 - 148 - 20) * (item.row.value or 0), abs=0.06)
    assert chart.svg in page
    assert "Corrupted, mean" in page
    assert "Accuracy under corruptions, mean" in page


def test_without_corruptions_nothing_is_said_of_them(tmp_path: Path) -> None:
    folder = synthetic_run.make(tmp_path / "run", signs=1)
    kept = [r for r in synthetic_run.rows() if r.metric not in ("corruption_acc", "road_aopc")]
    (folder / "measurements.jsonl").write_text("".join(r.to_json() + "\n" for r in kept), "utf-8")
    text = render(read_run(folder), signs=1)
    assert "Common corruptions" not in text
    assert "Corrupted, mean" not in text
    assert "AOPC:" not in text
    assert "Corruption accuracy" in text.partition('id="missing"')[2]  # as not measured
    assert corruption_chart(Evidence(kept)) == corruption_chart(Evidence([])) == []
    assert not corruption_table(Evidence(kept)).lines


def test_stability_and_aopc_stand_with_the_maps(page: str) -> None:
    reasons = page.partition('<section aria-labelledby="reasons">')[2].partition("</section>")[0]
    for metric in ("road_aopc", "relative_input_stability"):
        assert f'<th scope="col">{METRIC_NAMES[metric]}</th>' in reasons
    rows = synthetic_run.rows()
    own = {f"#r{k}" for k, row in enumerate(rows, 1) if row.metric == "relative_input_stability"}
    cells = [cell for cell in re.findall(r"<td[^>]*>(.*?)</td>", reasons, re.S) if any(f'"{r}"' in cell for r in own)]
    assert cells
    assert all('<span class="tag">twin</span>' in cell for cell in cells)
    assert number(-0.5071, "log10") == "−0.507"


def test_validation_is_said_first(tmp_path: Path) -> None:
    for split in ("test", "val"):
        for text in pages(tmp_path / "run", measure={"split": split}):
            assert ("no test image was looked at" in text) == (split == "val")
