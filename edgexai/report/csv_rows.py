"""Rows as CSV and back. ``detail`` is one JSON object a cell, ``flags`` are joined by spaces, None is an empty cell."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from edgexai.types import Row

COLUMNS = tuple(f.name for f in fields(Row))
_NUMBERS = {"value": float, "low": float, "high": float, "seed": int, "n": int}


def to_csv(rows: Sequence[Row]) -> str:
    """Header and one line a row; floats with every digit, so that ``from_csv`` gives the same rows."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        data = asdict(row)
        data["detail"] = json.dumps(data["detail"], sort_keys=True)
        data["flags"] = " ".join(data["flags"])
        writer.writerow(["" if data[c] is None else repr(data[c]) if c in _NUMBERS else data[c] for c in COLUMNS])
    return out.getvalue()


def from_csv(text: str) -> list[Row]:
    """The inverse of ``to_csv``."""
    rows = []
    for record in csv.DictReader(io.StringIO(text)):
        data: dict[str, Any] = dict(record)
        for name, kind in _NUMBERS.items():
            data[name] = None if data[name] == "" else kind(data[name])
        data["detail"] = json.loads(data["detail"])
        data["flags"] = tuple(data["flags"].split())
        rows.append(Row(**data))
    return rows
