"""Gates: conditions on the deployed engine, decided on the interval's bound, not on the point value.

A gate that finds no row, or meets one that was not measured, fails and says why: skipped is not passed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from edgexai.config.column import parse_column
from edgexai.types import Row

_PICK: dict[str, dict[str, str]] = {
    "clean_acc": {},
    "robust_acc": {"attack": "pgd"},
    "agreement": {},
    "roi_share": {},
    "latency_ms": {"statistic": "median"},
}
"""Names with a meaning of their own: the largest eps of robust_acc, the best explainer of roi_share, else the first."""
_NO_GATE = ("final_arm", "split")
_BASELINES = ("random", "centre_gaussian")
_SHOWN = 6


def decide(
    rows: Sequence[Row], table: Mapping[str, Any], *, final_arm: str, validation: bool = False
) -> tuple[list[dict[str, Any]], list[Row]]:
    """Holds every gate of the recipe against the deployed engine's rows.

    ">= x" passes when the interval's lower bound reaches x, "<= x" when the upper bound does not exceed it; a value
    without an interval is its own bound. Of a bare name in ``_PICK`` one row is meant; of any other column all rows
    that fit, and the worst decides: of the deployed engine, or where it has none of the metric, of its twin. Rows of
    the validation split count only where ``validation`` says that all were measured there, or the column asks for it.

    Args:
        rows: all rows of the run.
        table: column -> condition or None; as ``config.gate_table.GateTable``, and what the plan adds.
        final_arm: the arm that is deployed.
        validation: the run measures on validation images.

    Returns:
        Verdicts for gates.json (name, condition, value, bound, passed, reason, n, interval, row), and the same as rows
        (value 1 passed, 0 failed).
    """
    verdicts: list[dict[str, Any]] = []
    out: list[Row] = []
    artefact = _deployed(rows, final_arm)
    for name, condition in table.items():
        if condition is None or name in _NO_GATE:
            continue
        sign, limit = condition[:2], float(condition[2:])
        row, reason = _deciding(rows, name, sign, arm=final_arm, artefact=artefact, validation=validation)
        bound = None if row is None else _bound(row, sign)
        passed = not reason and bound is not None and (bound >= limit if sign == ">=" else bound <= limit)
        if row is not None and not passed and not reason:
            side = "lower" if sign == ">=" else "upper"
            what = f"the {side} bound ({row.interval})" if row.interval not in ("none", "exact") else "the value"
            order = "below" if sign == ">=" else "above"
            apart = "" if bound is None else f" by {abs(bound - limit):.3g}"
            reason = f"{what} {bound:.6g} is {order} {limit:g}{apart}; value {row.value:.6g}, n = {row.n}"
        told = {} if row is None else {"n": row.n, "interval": row.interval, "row": _words(row)}
        verdict = {"name": name, "condition": condition, "value": None if row is None else row.value, "bound": bound}
        verdicts.append({**verdict, "passed": passed, "reason": reason, **told})
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


def _deciding(
    rows: Sequence[Row], column: str, sign: str, *, arm: str, artefact: str, validation: bool
) -> tuple[Row | None, str]:
    """The row that decides, and why the gate fails whatever it says; "" where the row alone decides."""
    metric, wanted = parse_column(column)
    wanted = _PICK.get(column, wanted)
    where = wanted.get("arm", arm)
    of_metric = [row for row in rows if row.metric == metric and row.arm == where]
    allowed = [row for row in of_metric if row.split != "val" or validation or wanted.get("split") == "val"]
    fits = [row for row in allowed if _fits(row, wanted)]
    if "artefact" not in wanted:
        engine = [row for row in fits if row.artefact == artefact]
        fits = engine or ([] if column in _PICK else [row for row in fits if row.artefact == "twin"])
    if "step" not in wanted:  # the drift ledger's rows are not the engine's own, unless a metric is only there
        fits = [row for row in fits if "step" not in row.detail] or fits
    if not fits:
        return None, _missing(column, metric, of_metric, arm=where, artefact=artefact)
    if column in _PICK:
        found = _picked(column, [row for row in fits if row.value is not None])
        return found, "" if found is not None else _unmeasured(fits[0])
    for row in fits:
        if row.value is None:
            return None, _unmeasured(row)
    return (min if sign == ">=" else max)(fits, key=lambda row: _bound(row, sign)), ""


def _picked(name: str, fits: Sequence[Row]) -> Row | None:
    if name == "robust_acc":
        return max(fits, key=lambda row: float(Fraction(str(row.detail["eps"]))), default=None)
    if name == "roi_share":
        return max(fits, key=lambda row: row.value or 0.0, default=None)
    return next(iter(fits), None)


def _fits(row: Row, wanted: Mapping[str, str]) -> bool:
    if "explainer" not in wanted and row.detail.get("explainer") in _BASELINES:
        return False
    if "floor" not in wanted and "step" not in wanted and "floor" in row.detail:
        return False  # a noise floor is what a drift is read beside
    words = _words(row)
    return all(words.get(key) == value for key, value in wanted.items())


def _words(row: Row) -> dict[str, str]:
    own = {"arm": row.arm, "artefact": row.artefact, "split": row.split}
    return {**own, **{key: str(value) for key, value in row.detail.items()}}


def _bound(row: Row, sign: str) -> float:
    bound = row.low if sign == ">=" else row.high
    return float("nan") if row.value is None else row.value if bound is None else bound


def _unmeasured(row: Row) -> str:
    return f"{row.status}: {row.reason}" if row.reason else row.status


def _missing(column: str, metric: str, of_metric: Sequence[Row], *, arm: str, artefact: str) -> str:
    """Says what was measured of this metric, so that the column can be mended."""
    if not of_metric:
        return f"no row of {metric} for {arm}: [measure] does not ask for it, or the data do not allow it"
    there = {f"artefact={row.artefact} " + " ".join(f"{k}={v}" for k, v in row.detail.items()) for row in of_metric}
    shown = "; ".join(sorted(text.strip() for text in there)[:_SHOWN])
    return f'no row of "{column}" for {arm} {artefact}; of {metric} there are: {shown}'


def _deployed(rows: Sequence[Row], arm: str) -> str:
    artefacts = {row.artefact for row in rows if row.arm == arm}
    return next((name for name in ("int8-tensorrt", "fp16") if name in artefacts), "fp32")
