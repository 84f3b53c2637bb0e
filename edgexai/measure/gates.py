"""Gates: conditions on the deployed engine, decided on the interval's bound, not on the point value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from edgexai.types import Row

_PICK: dict[str, dict[str, Any]] = {
    "clean_acc": {"metric": "clean_acc"},
    "robust_acc": {"metric": "robust_acc", "attack": "pgd"},
    "agreement": {"metric": "agreement"},
    "roi_share": {"metric": "roi_share"},
    "latency_ms": {"metric": "latency_ms", "statistic": "median"},
}


def decide(
    rows: Sequence[Row], table: Mapping[str, Any], *, final_arm: str, validation: bool = False
) -> tuple[list[dict[str, Any]], list[Row]]:
    """Holds every gate of the recipe against the deployed engine's rows.

    ">= x" passes when the interval's lower bound reaches x, "<= x" when the upper bound does not exceed it. Where
    several rows fit (robust_acc: the largest eps; roi_share: the best explainer) the one named is used. Rows of the
    validation split, such as the parity gate's agreement, count only where ``validation`` says that all were measured
    there.

    Returns:
        Verdicts for gates.json, and the same as rows (value 1 passed, 0 failed).
    """
    verdicts: list[dict[str, Any]] = []
    out: list[Row] = []
    artefact = _deployed(rows, final_arm)
    for name in _PICK:
        condition = table.get(name)
        if condition is None:
            continue
        sign, limit = condition[:2], float(condition[2:])
        row = _row(rows, name, final_arm, artefact, validation)
        bound = None if row is None else (row.low if sign == ">=" else row.high)
        bound = row.value if row is not None and bound is None else bound
        passed = bound is not None and (bound >= limit if sign == ">=" else bound <= limit)
        value = None if row is None else row.value
        verdicts.append({"name": name, "condition": condition, "value": value, "bound": bound, "passed": passed})
        out.append(
            Row(
                arm=final_arm,
                artefact=artefact,
                subject="engine",
                metric="gate",
                value=float(passed),
                unit="unitless",
                n=0 if row is None else row.n,
                interval="none",
                split="val" if validation else "test",
                detail={"gate": name, "condition": condition, "bound": "none" if bound is None else bound},
            )
        )
    return verdicts, out


def _deployed(rows: Sequence[Row], arm: str) -> str:
    artefacts = {row.artefact for row in rows if row.arm == arm}
    return next((name for name in ("int8-tensorrt", "fp16") if name in artefacts), "fp32")


def _row(rows: Sequence[Row], gate: str, arm: str, artefact: str, validation: bool) -> Row | None:
    wanted = _PICK[gate]
    fits = [
        row
        for row in rows
        if (row.arm, row.artefact, row.metric) == (arm, artefact, wanted["metric"])
        and row.value is not None
        and (row.split != "val" or validation)
        and all(row.detail.get(key) == value for key, value in wanted.items() if key != "metric")
    ]
    if gate == "robust_acc":
        return max(fits, key=lambda row: float(Fraction(str(row.detail["eps"]))), default=None)
    if gate == "roi_share":
        real = [row for row in fits if row.detail.get("explainer") not in ("random", "centre_gaussian")]
        return max(real, key=lambda row: row.value or 0.0, default=None)
    return next(iter(fits), None)
