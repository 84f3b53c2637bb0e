"""Reads what a study's recipes left: rows per arm and seed, and the per-image values behind them.

Rows come from each recipe's compare stage, so that flags are set; ROAD is formed anew on the images that all arms of a
seed get right, because a recipe only knows its own networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexai.config.column import parse_column
from edgexai.errors import UserError
from edgexai.measure.compare import Measured, road_rows
from edgexai.recipe.lock import Outcome
from edgexai.types import Row

_OF_COMMON_IMAGES = ("road_acc", "road_gap", "road_lerf_gap", "road_aopc")
_RIS = "relative_input_stability"
_PER_IMAGE = {
    "saliency_gini": "gini",
    "roi_share": "roi",
    "deletion_auc": "deletion",
    "insertion_auc": "insertion",
    "pointing_game": "pointing",
    _RIS: "ris",
}
"""Metric -> first part of the name of its per-image values; the explainer follows."""


@dataclass(frozen=True)
class ArmSeed:
    """One arm of one seed.

    Attributes:
        arm, seed: of the study.
        artefact: file whose rows count where a column names no other.
        rows: of every artefact; ``Row.arm`` is the study's arm.
        verdicts: per-image values of ``artefact``, as ``measure.compare.Measured``.
        nodes: the recipe's outcomes, for keys and times.
    """

    arm: str
    seed: int
    artefact: str
    rows: tuple[Row, ...]
    verdicts: Mapping[str, NDArray[Any]]
    nodes: tuple[Outcome, ...]


def collect(arm: str, seed: int, outcomes: Sequence[Outcome], *, network: str, artefact: str) -> ArmSeed:
    """The rows and per-image values of one network of a finished recipe.

    Args:
        outcomes: of ``recipe.run.run_recipe``.
        network: "natural", "refined", "control" or "pruned".
        artefact: file whose rows count, beside those of the twin, and whose per-image values are taken.

    Raises:
        UserError: the recipe has no such network or artefact.
    """
    by_name = {outcome.node.name: outcome for outcome in outcomes}
    measured = by_name.get(f"measure[{network}]")
    if measured is None:
        has = ", ".join(o.node.arm for o in outcomes if o.node.stage == "measure") or "none: it has no [measure]"
        raise UserError(f'arm {arm}: its recipe measures no "{network}" network; it has: {has}')
    lines = (by_name["compare"].folder / "rows.jsonl").read_text().splitlines()
    rows = [Row.from_json(line) for line in lines]
    mine = [row for row in rows if row.arm == network]
    mine = [row for row in mine if row.metric not in _OF_COMMON_IMAGES and not row.metric.endswith("_difference")]
    if not any(row.artefact == artefact for row in mine):
        raise UserError(
            f'arm {arm}: no "{artefact}" file was measured', next_step='set artefact = "fp32", or export.precision'
        )
    with np.load(measured.folder / "verdicts.npz", allow_pickle=False) as data:
        verdicts = {k.partition("|")[2]: data[k] for k in data.files if k.partition("|")[0] == artefact}
        verdicts |= {k.partition("|")[2]: data[k] for k in data.files if k.startswith("twin|ris/")}
    if network != "pruned":  # nothing was taken away
        counts = {"masked_sparsity": "fraction", "macs_removed": "count"}
        mine += [
            Row(arm, "twin", "twin", name, 0.0, unit, n=1, interval="exact", split="none")
            for name, unit in counts.items()
        ]
    own = [row for row in mine if row.metric == _RIS and row.value is not None and row.artefact in (artefact, "twin")]
    mine += [_median_stability(row, verdicts) for row in own]
    mine = [replace(row, arm=arm, seed=seed) for row in mine]
    return ArmSeed(arm, seed, artefact, tuple(mine), verdicts, tuple(outcomes))


def _median_stability(row: Row, verdicts: Mapping[str, NDArray[Any]]) -> Row:
    """The median over images beside the mean that the sources take: single images with maps near 0 rule the mean."""
    values = verdicts[f"ris/{row.detail['explainer']}"]
    value = float(np.log10(np.median(values[np.isfinite(values)])))
    return replace(row, metric="relative_input_stability_median", value=value, low=None, high=None, interval="none")


def with_road(arms: Sequence[ArmSeed]) -> list[ArmSeed]:
    """All arms of ONE seed with their ROAD rows on the images that every one of them gets right."""
    first = next(row for row in arms[0].rows if row.artefact == arms[0].artefact)
    measured = [Measured(a.arm, first.artefact, first.runtime, a.verdicts, _split(a)) for a in arms]
    rows = road_rows(measured, seed=arms[0].seed)
    right = [a.verdicts["road/base"] for a in arms if "road/base" in a.verdicts]
    common = {"road/common": np.logical_and.reduce(right)} if right else {}
    return [
        replace(a, rows=(*a.rows, *(row for row in rows if row.arm == a.arm)), verdicts={**a.verdicts, **common})
        for a in arms
    ]


def find(found: ArmSeed, column: str) -> Row | None:
    """The one row that ``column`` names, or None where there is none with a value.

    Raises:
        UserError: several rows fit; the details that tell them apart are listed.
    """
    metric, wanted = parse_column(column)
    counts = (wanted["artefact"],) if "artefact" in wanted else (found.artefact, "twin")
    rows = [row for row in found.rows if row.metric == metric and row.value is not None and row.artefact in counts]
    fitting = [row for row in rows if _fits(row, wanted)]
    if len(fitting) > 1:
        fitting = [row for row in fitting if row.subject == "engine"] or fitting
    if len(fitting) > 1:
        told = sorted({" ".join(f"{k}={v}" for k, v in _words(row).items()) for row in fitting})
        raise UserError(
            f'column "{column}": {len(fitting)} rows fit',
            problems=tuple(told[:12]),
            next_step="add the details that single one out",
        )
    return fitting[0] if fitting else None


def per_image(found: ArmSeed, column: str) -> NDArray[np.float64] | None:
    """The values behind a number, one per explained image in probe order; None where it has none."""
    metric, wanted = parse_column(column)
    if wanted.get("artefact", found.artefact) != found.artefact:
        return None
    values = found.verdicts
    if metric == "confidence":
        return _floats(values.get("confidence"))
    if metric == "clean_acc":
        splits = [name for name in values if name.startswith("clean/")]
        wanted_split = f"clean/{wanted['split']}" if "split" in wanted else splits[0] if len(splits) == 1 else ""
        return _floats(values.get(wanted_split))
    if metric == "corruption_acc":
        name = "_".join(wanted[k] for k in ("corruption", "severity") if k in wanted and wanted[k] != "all")
        return _floats(values.get(f"corruption/{name}"))
    if metric == "robust_acc":
        return _floats(values.get(f"robust/{wanted.get('attack')}@{wanted.get('eps')}"))
    explainer = wanted.get("explainer", "")
    if metric == "road_gap" and f"road/{explainer}/morf" in values:
        random, most = (values[f"road/{name}"].mean(0) for name in ("none/random", f"{explainer}/morf"))
        return _floats(np.where(values.get("road/common", values["road/base"]), random - most, np.nan))
    return _floats(values.get(f"{_PER_IMAGE[metric]}/{explainer}")) if metric in _PER_IMAGE else None


def _split(found: ArmSeed) -> str:
    return next((row.split for row in found.rows if row.metric in ("robust_acc", "deletion_auc")), "test")


def _fits(row: Row, wanted: Mapping[str, str]) -> bool:
    words = _words(row)
    if "step" in words and "step" not in wanted:  # of the drift ledger: not the artefact's own number
        return False
    return all(words.get(key) == value for key, value in wanted.items())


def _words(row: Row) -> dict[str, str]:
    return {"split": row.split, "artefact": row.artefact, **{key: str(value) for key, value in row.detail.items()}}


def _floats(values: NDArray[Any] | None) -> NDArray[np.float64] | None:
    return None if values is None else values.astype(np.float64)
