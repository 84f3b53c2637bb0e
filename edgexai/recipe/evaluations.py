"""The log of looks at a test split: one line in ``EDGEXAI_HOME/test_evaluations.jsonl`` before each.

Choices belong on validation tracks; this file lets a reviewer count how often the test split was looked at anyway.
It is only ever appended to.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

EVALUATIONS = "test_evaluations.jsonl"


def log_evaluation(home: Path, *, recipe: str, arm: str, data_key: str, key: str) -> None:
    """Appends one line.

    Args:
        home: ``EDGEXAI_HOME``.
        recipe: its name.
        arm: the network that is about to be measured.
        data_key: key of the data entry whose test split is used.
        key: of the measurement.
    """
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    line = {"time": now, "recipe": recipe, "arm": arm, "data": data_key, "measurement": key}
    with (home / EVALUATIONS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
