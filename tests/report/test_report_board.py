"""A board's rows in the report: beside the workstation's row of the same number, never beside another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgexai.report.beside import beside, paired, row_words
from edgexai.report.html import write_report
from edgexai.types import Row

HERE = Row(
    "pruned", "int8-tensorrt", "engine", "robust_acc", 0.5, "fraction", 200, 0.43, 0.57, "wilson",
    detail={"attack": "pgd", "eps": "8/255"}, runtime="onnxruntime 1.31.1 CPU",
)  # fmt: skip
THERE = replace(HERE, value=0.48, low=0.41, high=0.55, runtime="tensorrt 10.3.0 Orin")
POWER = Row(
    "pruned", "int8-tensorrt", "engine", "power_w", None, "W", 0, status="not measured here", reason="no | sensor"
)


def test_rows_meet_only_where_everything_agrees() -> None:
    (pair,) = paired([HERE], [THERE, POWER])
    assert pair.workstation == HERE
    assert pair.texts == ("50.0 % (43.0 to 57.0 %), n 200", "48.0 % (41.0 to 55.0 %), n 200")
    for other in (
        replace(HERE, detail={"attack": "pgd", "eps": "2/255"}),
        replace(HERE, arm="natural"),
        replace(HERE, artefact="fp32"),
        replace(HERE, split="val"),
        replace(HERE, metric="clean_acc"),
        replace(HERE, value=None, status="skipped"),
    ):
        (pair,) = paired([other], [THERE])
        assert pair.workstation is None
        assert pair.texts[0] == "–"


def test_a_computed_limit_is_told_in_four_digits() -> None:
    limit = replace(HERE, detail={"against": "golden vectors", "limit": 0.07507979064056046, "steps": 40})
    assert row_words(limit).endswith("(against golden vectors, limit 0.07508, steps 40)")


def test_the_page_cannot_be_broken_by_a_board() -> None:
    page = beside([HERE], [THERE, POWER], board_name="<b>|x\ny")
    assert "# &lt;b>\\|x y beside the workstation" in page
    assert "- Power of the whole module: not measured here: no \\| sensor" in page
    assert "onnxruntime 1.31.1 CPU" in page
    assert "tensorrt 10.3.0 Orin" in page
    (line,) = [line for line in page.splitlines() if "50.0 %" in line]
    assert line.count(" | ") == 3


def test_the_report_has_the_board(tmp_path: Path) -> None:
    (tmp_path / "measurements.jsonl").write_text(f"{HERE.to_json()}\n")
    text = write_report(tmp_path).read_text()
    assert "On the board" not in text
    missing = text.partition('id="missing"')[2].partition("</section>")[0]
    assert "Nothing here ran on a Jetson. Not measured here, and only on a board: " in missing
    assert "Power of the whole module" in missing
    assert "edgexai flash FILE --host" in missing
    (tmp_path / "boards").mkdir()
    (tmp_path / "boards" / "orin.jsonl").write_text(f"{THERE.to_json()}\n{POWER.to_json()}\n")
    text = write_report(tmp_path).read_text()
    assert "On the board orin" in text
    assert "Nothing here ran on a Jetson" not in text
    assert "48.0 % (41.0 to 55.0 %), n 200" in text
    assert "Power of the whole module: not measured here: no | sensor" in text
