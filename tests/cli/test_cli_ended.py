"""What is printed when a run has ended: files for a pipeline are named only where there are gates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgexai.cli.ended import print_ended
from edgexai.types import Row

ROW = Row("natural", "fp32", "engine", "clean_acc", 0.9, "fraction", 500, 0.87, 0.92, "wilson")


@pytest.mark.parametrize("verdicts", [None, [], [True, False], [True]])
def test_gates_are_told_where_there_are_any(
    verdicts: list[bool] | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "measurements.jsonl").write_text(ROW.to_json() + "\n")
    (tmp_path / "report.html").write_text("")
    if verdicts is not None:
        gates = [{"name": "clean_acc", "condition": ">= 0.8", "passed": passed} for passed in verdicts]
        (tmp_path / "gates.json").write_text(json.dumps(gates))
    print_ended(tmp_path)
    out = capsys.readouterr().out
    assert "natural fp32" in out
    assert f"report: {tmp_path / 'report.html'}" in out
    assert ("results.sarif" in out) == ("junit.xml" in out) == bool(verdicts)
    if verdicts:
        assert f"gates: {sum(verdicts)} of {len(verdicts)} kept" in out
