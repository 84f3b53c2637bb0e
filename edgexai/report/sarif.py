"""Gates, flags and what was not measured as SARIF, so that a code host shows them beside the change that caused them.

Source: SARIF 2.1.0 (OASIS, errata 01). A gate is a rule: failed = "error", passed = kind "pass". A flag is a rule of
its own: "warning", one result per metric with the number of rows that raised it. A row that could not be measured is
kind "open". Places are lines of ``measurements.jsonl``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from edgexai import __version__
from edgexai.config.column import parse_column
from edgexai.measure.flags import FLAGS
from edgexai.types import Row

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_ROWS = "measurements.jsonl"
_UNMEASURED = "unmeasured"


def sarif(rows: Sequence[Row], gates: Sequence[Mapping[str, Any]], *, name: str) -> str:
    """The whole file as JSON text; the same rows and gates always give the same text.

    Args:
        rows: of the run, in the order of measurements.jsonl.
        gates: verdicts as in gates.json; "reason" and "row" may be absent.
        name: of the recipe; tells runs apart where several are uploaded.
    """
    results = [_gate(gate, rows) for gate in gates]
    results += _flags(rows)
    results += _unmeasured(rows)
    rules = [_rule(rule_id, gates) for rule_id in dict.fromkeys(result["ruleId"] for result in results)]
    places = {rule["id"]: index for index, rule in enumerate(rules)}
    for result in results:
        result["ruleIndex"] = places[result["ruleId"]]
        text = json.dumps([name, result["ruleId"], result["properties"].get("metric", "")])
        result["partialFingerprints"] = {"edgexai/v1": hashlib.sha256(text.encode()).hexdigest()[:32]}
    driver = {"name": "edgexai", "semanticVersion": __version__, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "automationDetails": {"id": f"edgexai/{name}/"},
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1, allow_nan=False) + "\n"


def _gate(gate: Mapping[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    passed, title = bool(gate["passed"]), f"{gate['name']} {gate['condition']}"
    said = f"kept; value {gate['value']}, bound {gate['bound']}" if passed else str(gate.get("reason") or "not kept")
    return {
        "ruleId": f"gate/{gate['name']}",
        "kind": "pass" if passed else "fail",
        "level": "none" if passed else "error",
        "message": {"text": f"Gate {title}: {said}."},
        "locations": [_line(_deciding(gate, rows))],
        "properties": {
            "metric": str(gate["name"]), "condition": gate["condition"], "value": gate["value"], "bound": gate["bound"],
        },
    }  # fmt: skip


def _deciding(gate: Mapping[str, Any], rows: Sequence[Row]) -> int:
    """Line of the row that decided, else of the verdict's own row, else 1."""
    metric = parse_column(str(gate["name"]))[0]
    words = gate.get("row")
    for number, row in enumerate(rows, start=1):
        about = {"arm": row.arm, "artefact": row.artefact, "split": row.split}
        about |= {key: str(value) for key, value in row.detail.items()}
        if words and row.metric == metric and row.value == gate["value"] and about == words:
            return number
    own = (n for n, row in enumerate(rows, start=1) if row.metric == "gate" and row.detail.get("gate") == gate["name"])
    return next(own, 1)


def _flags(rows: Sequence[Row]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], list[int]] = {}
    for number, row in enumerate(rows, start=1):
        for flag in row.flags:
            found.setdefault((flag, row.metric), []).append(number)
    return [
        {
            "ruleId": f"flag/{flag}",
            "kind": "fail",
            "level": "warning",
            "message": {"text": f"{metric}: {len(lines)} row{'s' if len(lines) != 1 else ''} with flag {flag}."},
            "locations": [_line(lines[0])],
            "properties": {"metric": metric, "rows": len(lines)},
        }
        for (flag, metric), lines in found.items()
    ]


def _unmeasured(rows: Sequence[Row]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], list[int]] = {}
    for number, row in enumerate(rows, start=1):
        if row.value is None:
            found.setdefault((row.metric, f"{row.status}: {row.reason}" if row.reason else row.status), []).append(
                number
            )
    return [
        {
            "ruleId": _UNMEASURED,
            "kind": "open",
            "level": "none",
            "message": {"text": f"{metric}: {said} ({len(lines)} row{'s' if len(lines) != 1 else ''})."},
            "locations": [_line(lines[0])],
            "properties": {"metric": f"{metric}: {said}", "rows": len(lines)},
        }
        for (metric, said), lines in found.items()
    ]


def _rule(rule_id: str, gates: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    kind, _, name = rule_id.partition("/")
    if kind == "gate":
        condition = next(str(gate["condition"]) for gate in gates if gate["name"] == name)
        short, full, level = f"{name} {condition}", "A condition of the recipe's [gate], decided on the bound.", "error"
    elif name in FLAGS:
        flag = FLAGS[name]
        short, full, level = f"Raised if {flag.raised_if}.", f"{flag.means}. To do: {flag.do}.", "warning"
    elif kind == "flag":
        short, full, level = f"Flag {name}.", "A flag that this version of edgexai does not describe.", "warning"
    else:
        short, full, level = (
            "Not measured.",
            "Skipped is not passed: the row says why, and what would measure it.",
            "note",
        )
    return {
        "id": rule_id,
        "shortDescription": {"text": short},
        "fullDescription": {"text": full},
        "defaultConfiguration": {"level": level},
    }


def _line(number: int) -> dict[str, Any]:
    return {"physicalLocation": {"artifactLocation": {"uri": _ROWS}, "region": {"startLine": number}}}
