"""Our metrics beside Quantus: skipped with a remedy where it is not, the same values where it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgexai.bench.quantus_child import VARIABLE
from edgexai.bench.run import run_bench
from edgexai.bench.settings import BenchSettings

TINY = BenchSettings(rounds=2, road_images=8)


def test_without_an_interpreter_the_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    (line,) = run_bench(["metrics"], TINY)
    assert line.verdict == "skipped"
    assert VARIABLE in line.reason
    assert "quantus==0.5.3" in line.reason


def test_an_interpreter_without_quantus_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "python"))
    (line,) = run_bench(["metrics"], TINY)
    assert line.verdict == "skipped"
    assert "No such file" in line.reason


@pytest.mark.slow
def test_the_values_are_those_of_quantus() -> None:
    if not os.environ.get(VARIABLE):
        pytest.skip(f"{VARIABLE} names no interpreter with Quantus 0.5.3 and NumPy below 2.4")
    lines = {line.what: line for line in run_bench(["metrics"], TINY)}
    held = [line for line in lines.values() if line.unit == "difference" and line.aim]
    assert len(held) == 10
    for line in held:
        assert line.verdict == "met", line
    # What Quantus answers where the answer is known: off by far, hence no aim.
    assert lines["infidelity: Quantus off the known answer"].value > 1
    assert lines["sensitivity n: Quantus off the known answer"].value > 0.01
    assert lines["ROAD, Quantus / ours"].value > 1
