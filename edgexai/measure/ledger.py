"""The drift ledger: one line per step from the trained network to the rebuilt engine, each beside its noise floors.

Convention: every step explains its own decision, and maps are compared only where both steps decide alike, since
another class has another map; where they do not, ``agreement`` counts the image. A drift is 0 for "nothing moved":
``map_drift`` = 1 - Spearman's rank correlation, ``top_drift`` = 1 - overlap of the top 10 % of pixels, ``centre_shift``
in pixels. Two floors stand beside it, measured in the same run: the network exported and calibrated again
("rebuilding"), and the explainer drawn again ("own seed"). What does not rise above both is noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import UserError
from edgexai.measure.drift import centre_shift, decision_agreement, map_rank_correlation, topk_overlap
from edgexai.measure.rows import Detail, accuracy_row, mean_row
from edgexai.types import Labels, Logits, Maps, Row

MAP_METRICS: dict[str, tuple[str, Callable[[Maps, Maps], NDArray[np.float64]]]] = {
    "map_drift": ("unitless", lambda a, b: 1 - map_rank_correlation(a, b)),
    "top_drift": ("fraction", lambda a, b: 1 - topk_overlap(a, b)),
    "centre_shift": ("pixels", centre_shift),
}
"""Metric -> unit, and its value per image; 0 where nothing moved."""
REBUILDING, OWN_SEED = "rebuilding", "own seed"


@dataclass(frozen=True)
class Step:
    """One state of the network along its way.

    Attributes:
        name: "natural", "refined", "pruned", "fine-tuned", "fp32", "int8-tensorrt", "rebuilt 1" ...
        arm, artefact, subject, runtime: as in ``types.Row``.
        logits: (n,K), of the ledger's images.
        maps: explainer -> (m,H,W), of the first m images, for this step's own decisions; m may differ by explainer.
        before: name of the step it came from; "" for the first.
        twin: a further step to hold it against: a file's twin, or the network before it was cut; "" for none.
        floor: "rebuilding" or "own seed" where the step only shows a noise floor.
    """

    name: str
    arm: str
    artefact: str
    subject: Literal["engine", "twin"]
    runtime: str
    logits: Logits
    maps: Mapping[str, Maps] = field(default_factory=dict)
    before: str = ""
    twin: str = ""
    floor: str = ""


def ledger_rows(steps: Sequence[Step], labels: Labels, *, seed: int, split: str) -> list[Row]:
    """All rows of the ledger, step by step in the order given.

    Args:
        steps: on the same images in the same order; ``before`` and ``twin`` name steps of this list.
        labels: (n,), of those images.
        seed: of the bootstrap.
        split: the images are of.

    Returns:
        Rows with ``detail["step"]``: step_acc; and against the step before, then against the twin (``detail``
        ``["against"]``), agreement, logit_drift, and per explainer the ``MAP_METRICS``. Rows of other steps carry the
        mean of each floor ("floor_rebuilt", "floor_seed"), and "above_floor": "yes" where their interval lies beyond
        the floors'. A step without a map in common with another says nothing of maps.

    Raises:
        UserError: a step names one that is not there.
        ShapeError: steps are of different images.
    """
    by_name = {step.name: step for step in steps}
    rows: list[Row] = []
    for step in steps:
        words: dict[str, Any] = {
            "arm": step.arm, "artefact": step.artefact, "subject": step.subject, "runtime": step.runtime,
            "split": split,
        }  # fmt: skip
        named: Detail = {"step": step.name, **({"floor": step.floor} if step.floor else {})}
        if step.floor != OWN_SEED:
            right = step.logits.argmax(1) == labels
            rows.append(accuracy_row(right, **words, metric="step_acc", detail=named))
        for other in dict.fromkeys((step.before, step.twin)):
            if other and other not in by_name:
                raise UserError(f'step "{step.name}" comes after "{other}", which is not there')
            if other:
                rows += _pair(step, by_name[other], words, {**named, "against": other}, seed=seed)
    return _beside_floors(rows)


def map_values(step: Step, other: Step, explainer: str, metric: str) -> NDArray[np.float64]:
    """(m,) of one metric on the images that both explain; NaN where they decide differently or a map is constant."""
    m = min(len(step.maps[explainer]), len(other.maps[explainer]))
    values = MAP_METRICS[metric][1](step.maps[explainer][:m], other.maps[explainer][:m])
    same = step.logits[:m].argmax(1) == other.logits[:m].argmax(1)
    return np.where(same, values, np.nan)


def _pair(step: Step, other: Step, words: Mapping[str, Any], about: Detail, *, seed: int) -> list[Row]:
    rows: list[Row] = []
    if step.floor != OWN_SEED:
        same = decision_agreement(other.logits, step.logits)
        rows.append(accuracy_row(same, **words, metric="agreement", detail=about))
        away = np.abs(other.logits.astype(np.float64) - step.logits).mean(1)
        rows.append(mean_row(away, **words, metric="logit_drift", unit="logit", seed=seed, detail=about))
    for explainer in step.maps:
        if explainer not in other.maps:
            continue
        for metric, (unit, _) in MAP_METRICS.items():
            values = map_values(step, other, explainer, metric)
            detail: Detail = {"explainer": explainer, **about}
            row = mean_row(values, **words, metric=metric, unit=unit, seed=seed, detail=detail)
            if row.status == "skipped":
                row = replace(row, reason="on no image do both decide alike with maps that are not constant")
            rows.append(row)
    return rows


def _beside_floors(rows: Sequence[Row]) -> list[Row]:
    """The mean of each floor in the detail of the rows that are to be read beside it."""
    floors: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for row in rows:
        if "floor" in row.detail and "against" in row.detail and row.value is not None:
            place = floors.setdefault((row.metric, str(row.detail.get("explainer", ""))), {})
            place.setdefault(str(row.detail["floor"]), []).append(row)
    out: list[Row] = []
    for row in rows:
        found = floors.get((row.metric, str(row.detail.get("explainer", ""))), {})
        if "floor" in row.detail or not found or row.value is None:
            out.append(row)
            continue
        detail: Detail = dict(row.detail)
        for kind, key in ((REBUILDING, "floor_rebuilt"), (OWN_SEED, "floor_seed")):
            if kind in found:
                detail[key] = float(np.mean([f.value for f in found[kind] if f.value is not None]))
        noise = [f for kind in found.values() for f in kind]
        detail["above_floor"] = "yes" if _beyond(row, noise) else "no"
        control = "rebuilding and the explainer's own seed: detail floor_rebuilt, floor_seed"
        out.append(replace(row, detail=detail, control=control))
    return out


def _beyond(row: Row, noise: Sequence[Row]) -> bool:
    """The row's interval lies on the far side of every floor's; of agreement the far side is below."""
    if row.low is None or row.high is None:
        return False
    if row.metric == "agreement":
        return row.high < min(f.low for f in noise if f.low is not None)
    return row.low > max(f.high for f in noise if f.high is not None)
