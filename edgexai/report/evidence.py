"""Rows with an identity and a way to look them up. The report prints a number only through one of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from edgexai.types import Row

ARMS = ("natural", "refined", "control", "pruned")
ARTEFACTS = ("twin", "fp32", "fp16", "int8-tensorrt", "int8-x86")
EXPLAINERS = ("vg", "ig", "smoothgrad", "gradcam", "cam", "lime")
BASELINES = ("random", "centre_gaussian")
CUE_SPLITS = ("aligned", "absent", "conflicting")
_SPLIT_ORDER = ("test", "absent", "aligned", "conflicting", "val", "validation")

COUNTED = frozenset(
    (
        "queries_spent", "largest", "output", "undefined", "logit_drift_max", "logit_drift_mean", "taken_for",
        "taken_for_n", "test", "p", "p_holm", "detectable", "tests",
        "floor_seed", "floor_rebuilt", "above_floor", "mean_confidence", "accepted", "score_threshold",
    )
)  # fmt: skip
"""Details that a measurement found rather than was asked for: two rows of one number may differ in them."""

Detail = Mapping[str, "str | int | float | None"]


def asked(row: Row) -> dict[str, str | int | float]:
    """The row's detail without what was found on the way: what makes it this number and not another."""
    return {key: value for key, value in row.detail.items() if key not in COUNTED}


@dataclass(frozen=True)
class Numbered:
    """A row and its place in measurements.jsonl.

    Attributes:
        id: "r1" for the first row: the anchor of its line in the appendix.
        row: the row itself.
    """

    id: str
    row: Row


def _fits(row: Row, detail: Detail) -> bool:
    # The drift ledger says the same metrics of single steps: those are never the number itself.
    if "step" in row.detail and "step" not in detail:
        return False
    for key, wanted in detail.items():
        found = row.detail.get(key)
        if wanted is None:
            if found is not None:
                return False
        elif str(found) != str(wanted):
            return False
    return True


class Evidence:
    """All rows of a run.

    Args:
        rows: in file order.
        trained: the recipe's ``train.method``: what the arm "natural" is called in words.
    """

    def __init__(self, rows: Sequence[Row], *, trained: str = "natural") -> None:
        self.trained = trained
        self.items = tuple(Numbered(f"r{i}", row) for i, row in enumerate(rows, start=1))
        self._index: dict[tuple[str, str, str], list[Numbered]] = {}
        for item in self.items:
            self._index.setdefault((item.row.metric, item.row.arm, item.row.artefact), []).append(item)

    def all(self, metric: str, *, arm: str, artefact: str, detail: Detail | None = None) -> list[Numbered]:
        """Every row that fits. A detail of None asks that the key be absent."""
        return [i for i in self._index.get((metric, arm, artefact), []) if _fits(i.row, detail or {})]

    def find(
        self, metric: str, *, arm: str, artefact: str, split: str | None = None, detail: Detail | None = None
    ) -> Numbered | None:
        """The best row that fits: measured before skipped, the test split before others, then file order."""
        found = self.all(metric, arm=arm, artefact=artefact, detail=detail)
        if split is not None:
            found = [i for i in found if i.row.split == split]
        order = {name: rank for rank, name in enumerate(_SPLIT_ORDER)}
        return min(
            found,
            key=lambda i: (i.row.status != "measured", order.get(i.row.split, len(order))),
            default=None,
        )

    def values(self, metric: str, key: str) -> list[str]:
        """Distinct values of a detail key over the rows of a metric, in file order."""
        found = (str(i.row.detail[key]) for i in self.items if i.row.metric == metric and key in i.row.detail)
        return list(dict.fromkeys(found))

    def artefacts(self, arm: str) -> list[str]:
        """What was measured of an arm, in the usual order, unknown names last."""
        seen = dict.fromkeys(i.row.artefact for i in self.items if i.row.arm == arm)
        return [a for a in ARTEFACTS if a in seen] + [a for a in seen if a not in ARTEFACTS]

    @property
    def arms(self) -> list[str]:
        """Arms with a row, in the usual order, unknown names last."""
        seen = dict.fromkeys(i.row.arm for i in self.items)
        return [a for a in ARMS if a in seen] + [a for a in seen if a not in ARMS]

    @property
    def final_arm(self) -> str | None:
        """The arm that is deployed: pruned, else refined, else natural, else a foreign file. Never the control."""
        return next((a for a in ("pruned", "refined", "natural", "foreign") if a in self.arms), None)

    @property
    def deployed(self) -> tuple[str, str] | None:
        """(arm, artefact) of the deployed engine: the TensorRT-flavoured int8, else fp16, else fp32, else None."""
        arm = self.final_arm
        if arm is None:
            return None
        artefact = next(
            (a for a in ("int8-tensorrt", "fp16", "fp32", "int8-x86", "onnx") if a in self.artefacts(arm)), None
        )
        return None if artefact is None else (arm, artefact)

    @property
    def stages(self) -> list[tuple[str, str]]:
        """(arm, artefact) along natural -> refined | control -> pruned -> fp16 | int8, best engine form of each."""
        steps = []
        for arm in self.arms:
            forms = self.artefacts(arm)
            steps.append((arm, "fp32" if "fp32" in forms else "twin" if "twin" in forms else forms[0]))
        if self.final_arm is not None:
            for artefact in ("fp16", "int8-tensorrt", "int8-x86"):
                step = (self.final_arm, artefact)
                if artefact in self.artefacts(self.final_arm) and step not in steps:
                    steps.append(step)
        return steps

    def _measured(self, metric: str, arm: str, artefact: str, detail: Detail) -> bool:
        return any(i.row.value is not None for i in self.all(metric, arm=arm, artefact=artefact, detail=detail))

    def main_explainer(self, metric: str) -> str | None:
        """The explainer most of the path has a row of, so that one column compares like with like."""
        best, most = None, 0
        for name in ("gradcam", "cam", "ig", "smoothgrad", "vg", "lime", "rise", "occlusion", "kernelshap"):
            asked_for = {"explainer": name}
            have = sum(
                any(self._measured(metric, arm, a, asked_for) for a in (artefact, "twin"))
                + self._measured(metric, arm, artefact, asked_for)
                for arm, artefact in self.stages
            )
            if have > most:
                best, most = name, have
        return best

    def largest_eps(self, attack: str) -> str | None:
        """The largest eps an attack was run at, as written in the rows."""
        found = {
            str(i.row.detail["eps"])
            for i in self.items
            if i.row.metric == "robust_acc" and i.row.detail.get("attack") == attack and "eps" in i.row.detail
        }
        return max(found, key=lambda text: Fraction(text.replace(" ", "")), default=None)
