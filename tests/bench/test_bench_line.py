"""The arithmetic of a bench line: interval against brute force, ratio within rounds, verdicts."""

from __future__ import annotations

import json
from math import comb
from time import sleep

import numpy as np
import pytest

from edgexai.bench.line import Line, holds, interleave, ratio_line
from edgexai.bench.table import as_data, as_text
from edgexai.errors import ShapeError, UserError
from edgexai.measure.median import median_interval


@pytest.mark.parametrize("n", [1, 2, 5, 6, 7, 9, 15, 60, 201])
def test_interval_is_the_narrowest_pair_that_covers_the_median(n: int) -> None:
    values = np.random.default_rng(n).permutation(n).astype(float)  # value k is the (k+1)-th smallest
    median, low, high, coverage = median_interval(values)
    assert median == (n - 1) / 2
    assert low + high == n - 1

    def covers(rank: int) -> float:
        return sum(comb(n, k) for k in range(rank, n - rank + 1)) / 2**n

    rank = int(low) + 1
    assert coverage == pytest.approx(covers(rank) if n > 1 else 0.0, abs=1e-12)
    assert rank == 1 or coverage >= 0.95
    assert 2 * (rank + 1) > n + 1 or covers(rank + 1) < 0.95


def test_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    draws = rng.exponential(size=(4000, 9))
    found = [median_interval(row) for row in draws]
    hits = np.mean([low <= np.log(2) <= high for _, low, high, _ in found])
    assert hits == pytest.approx(found[0][3], abs=0.012)


def test_a_machine_that_slows_down_does_not_move_the_ratio() -> None:
    slow = np.array([1.0, 1, 1, 4, 4, 4, 4])
    line = ratio_line("x", "a / b", 3 * slow, slow, threads=1, method="", divide_by=2.0, aim=">= 1.5")
    assert (line.value, line.low, line.high) == (1.5, 1.5, 1.5)
    assert line.verdict == "met"
    assert line.detail == {"over_ms": 12000.0, "under_ms": 4000.0}
    with pytest.raises(ShapeError):
        ratio_line("x", "a / b", slow, slow[1:], threads=1, method="")


def test_interleave_takes_turns_and_throws_the_warm_up_away() -> None:
    calls: list[str] = []
    times = interleave(
        {"a": lambda: calls.append("a"), "b": lambda: (calls.append("b"), sleep(0.004))}, rounds=3, warmup=2
    )
    assert calls == ["a", "b"] * 5
    assert times["a"].shape == times["b"].shape == (3,)
    assert times["b"].min() >= 0.004 > times["a"].min()
    with pytest.raises(UserError):
        interleave({}, rounds=0)


@pytest.mark.parametrize(
    ("aim", "value", "kept"),
    [
        ("<= 1.25", 1.25, True),
        ("<= 1.25", 1.2501, False),
        (">= 10", 10.0, True),
        (">= 10", 9.99, False),
        ("1 +- 0.1", 0.91, True),
        ("1 +- 0.1", 1.09, True),
        ("1 +- 0.1", 0.89, False),
        ("1 +- 0.1", 1.11, False),
    ],
)
def test_aims(aim: str, value: float, kept: bool) -> None:
    assert holds(aim, value) is kept
    assert Line("x", "y", value, aim=aim).verdict == ("met" if kept else "missed")
    assert Line("x", "y", value, aim=aim, broken="torch was imported").verdict == "missed"
    with pytest.raises(UserError):
        holds("below 3", value)


@pytest.mark.parametrize(
    ("low", "value", "high", "close"),
    [(0.95, 1.0, 1.05, False), (0.8, 1.0, 1.2, True), (1.2, 1.3, 1.4, False), (1.0, 1.15, 1.2, True)],
)
def test_an_aim_on_both_sides_is_in_doubt_where_the_interval_leaves_it(
    low: float, value: float, high: float, close: bool
) -> None:
    assert Line("x", "y", value, low=low, high=high, aim="1 +- 0.1").close is close


def test_table_shows_verdicts_skips_and_doubt() -> None:
    lines = [
        Line("x", "fast", 12.0, low=9.0, high=13.0, coverage=0.96, n=9, aim=">= 10", method="how fast"),
        Line("x", "slow", 2.0, low=1.9, high=2.1, coverage=0.96, n=9, aim="<= 1.25", method="how slow"),
        Line("x", "absent", None, aim=">= 2", reason='pip install "edgexai[reference]"'),
        Line("x", "bare", 3.0, low=2.9, high=3.1, coverage=0.96, n=9),
    ]
    text = as_text(lines, {"torch": "1"})
    rows = text.splitlines()
    assert rows[0] == "torch 1"
    assert rows[3].endswith("met ~")
    assert rows[4].endswith("missed")
    assert rows[5].endswith("skipped")
    assert rows[6].endswith("3.000  2.900 .. 3.100 (96%)  9  1")
    assert "1 of 3 aims met, 1 line(s) skipped; ~ marks 1 whose interval holds the aim" in text
    assert 'pip install "edgexai[reference]"' in text
    data = json.loads(json.dumps(as_data(lines, {"torch": "1"}), allow_nan=False))
    assert [line["verdict"] for line in data["lines"]] == ["met", "missed", "skipped", ""]
