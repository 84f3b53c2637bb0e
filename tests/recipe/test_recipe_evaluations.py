"""The log of looks at a test split."""

from __future__ import annotations

import json
from pathlib import Path

from edgexai.recipe.evaluations import EVALUATIONS, log_evaluation


def test_every_look_is_one_more_line(tmp_path: Path) -> None:
    for arm in ("natural", "pruned"):
        log_evaluation(tmp_path, recipe="r", arm=arm, data_key="d" * 64, key="k" * 64)
    lines = [json.loads(line) for line in (tmp_path / EVALUATIONS).read_text().splitlines()]
    assert [line["arm"] for line in lines] == ["natural", "pruned"]
    assert all(line["data"] == "d" * 64 and line["measurement"] == "k" * 64 for line in lines)
