"""Arms side by side on common images, differences with the right sign, gates decided on the bound."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgexai.measure.compare import Measured, difference_rows, road_rows
from edgexai.measure.faithfulness import LEVELS
from edgexai.measure.gates import decide
from edgexai.measure.paired_tests import holm
from edgexai.measure.proportions import wilson
from edgexai.types import Row

L = len(LEVELS)


def curve(*per_image: int) -> np.ndarray[Any, Any]:
    """(L,n) bool: image k stays right for the first ``per_image[k]`` levels."""
    return np.arange(L)[:, None] < np.array(per_image)[None, :]


def measured(arm: str, artefact: str = "fp32", **verdicts: np.ndarray[Any, Any]) -> Measured:
    named = {name.replace("__", "/"): values for name, values in verdicts.items()}
    return Measured(arm, artefact, "a runtime", named, "absent")


def road(arm: str, base: list[bool], random: list[int], most: list[int], least: list[int]) -> Measured:
    return measured(
        arm,
        road__base=np.array(base),
        road__none__random=curve(*random),
        road__ig__morf=curve(*most),
        road__ig__lerf=curve(*least),
    )


def one_row(rows: list[Row], **wanted: Any) -> Row:
    fits = [
        row
        for row in rows
        if all(getattr(row, k) == v if hasattr(row, k) else row.detail.get(k) == v for k, v in wanted.items())
    ]
    assert len(fits) == 1, [r.to_json() for r in fits]
    return fits[0]


def test_road_uses_the_images_that_all_get_right() -> None:
    """Images 1 and 3 of four are right for both; the others hold numbers that would change every row."""
    natural = road("natural", [True, True, False, True], [9, 6, 9, 5], [9, 2, 9, 1], [0, 8, 0, 9])
    refined = road("refined", [False, True, True, True], [0, 7, 0, 7], [9, 3, 9, 2], [0, 9, 0, 9])
    rows = road_rows([natural, refined], seed=0)
    gaps = {arm: one_row(rows, arm=arm, metric="road_gap", explainer="ig") for arm in ("natural", "refined")}
    assert gaps["natural"].value == pytest.approx(((6 - 2) + (5 - 1)) / 2 / L)
    assert gaps["refined"].value == pytest.approx(((7 - 3) + (7 - 2)) / 2 / L)
    spread = one_row(rows, arm="natural", metric="road_lerf_gap", explainer="ig")
    assert spread.value == pytest.approx(((8 - 2) + (9 - 1)) / 2 / L)
    lost = {arm: one_row(rows, arm=arm, metric="road_aopc", explainer="ig") for arm in ("natural", "refined")}
    assert lost["natural"].value == pytest.approx(((L - 2) + (L - 1)) / 2 / L)
    assert lost["refined"].value == pytest.approx(((L - 3) + (L - 2)) / 2 / L)
    kept = [one_row(rows, arm="natural", metric="road_acc", order="morf", removed=k).value for k in LEVELS]
    assert lost["natural"].value == pytest.approx(np.mean([1 - float(k or 0) for k in kept]))
    for row in rows:
        assert row.n == 2
        assert row.split == "absent"
        assert row.subject == "engine"
        assert row.runtime == "a runtime"
    for level, wanted in zip(LEVELS, (curve(6, 5)).mean(1), strict=True):
        row = one_row(rows, arm="natural", metric="road_acc", order="random", removed=level)
        assert row.value == wanted
        assert row.interval == "wilson"
    most = [one_row(rows, arm="refined", metric="road_acc", order="morf", removed=k).value for k in LEVELS]
    assert most == curve(3, 2).mean(1).tolist()
    alone = road_rows([natural], seed=0)
    assert one_row(alone, metric="road_gap").n == 3


def test_road_without_a_common_image_says_so() -> None:
    rows = road_rows(
        [
            road("natural", [True, False], [9, 9], [1, 1], [9, 9]),
            road("refined", [False, True], [9, 9], [1, 1], [9, 9]),
        ],
        seed=0,
    )
    assert {row.metric for row in rows} == {"road_gap", "road_lerf_gap", "road_aopc"}
    for row in rows:
        assert (row.status, row.value, row.n) == ("skipped", None, 0)
        assert "every compared artefact" in row.reason


def test_road_leaves_out_what_has_none() -> None:
    assert road_rows([measured("natural", clean__test=np.ones(4, np.bool_))], seed=0) == []
    both = [road("natural", [True], [9], [1], [9]), measured("natural", "int8-x86", road__other=np.ones(1))]
    assert {row.artefact for row in road_rows(both, seed=0)} == {"fp32"}


def test_a_difference_is_one_minus_other() -> None:
    right, wrong = np.array([True] * 9 + [False]), np.array([True] * 4 + [False] * 6)
    better = measured(
        "refined",
        clean__test=right,
        clean__absent=right,
        robust__pgd_8=right,
        gini__ig=np.full(10, 0.75),
        roi__lime=np.full(10, 0.5),
    )
    worse = measured(
        "natural",
        clean__test=wrong,
        clean__absent=right,
        robust__pgd_8=wrong,
        gini__ig=np.full(10, 0.25),
        roi__lime=np.full(10, 0.75),
    )
    better, worse = (
        Measured(
            m.arm, m.artefact, m.runtime, {k.replace("pgd_8", "pgd@8/255"): v for k, v in m.verdicts.items()}, m.split
        )
        for m in (better, worse)
    )
    rows = difference_rows(better, worse, against="natural", seed=0)
    assert len(rows) == 5
    clean = one_row(rows, metric="clean_acc_difference", split="test")
    assert clean.value == pytest.approx(0.5)
    assert clean.low is not None
    assert clean.high is not None
    assert 0 < clean.low < 0.5 < clean.high
    assert one_row(rows, metric="clean_acc_difference", split="absent").value == 0
    robust = one_row(rows, metric="robust_acc_difference")
    assert robust.value == pytest.approx(0.5)
    named = {k: robust.detail[k] for k in ("attack", "eps", "against")}
    assert named == {"attack": "pgd", "eps": "8/255", "against": "natural"}
    assert robust.split == "absent"
    assert one_row(rows, metric="saliency_gini_difference", explainer="ig").value == pytest.approx(0.5)
    assert one_row(rows, metric="roi_share_difference", explainer="lime").value == pytest.approx(-0.25)
    for row in rows:
        kind = "bonett-price" if row.metric in ("clean_acc_difference", "robust_acc_difference") else "paired-bootstrap"
        assert (row.arm, row.interval, row.detail["against"]) == ("refined", kind, "natural")
    mirrored = difference_rows(worse, better, against="refined", seed=0)
    assert one_row(mirrored, metric="clean_acc_difference", split="test").value == pytest.approx(-0.5)


def test_a_paired_interval_is_narrower_than_two_separate_ones() -> None:
    """Both arms fail on the same images: two Wilson intervals could not say that they hardly differ."""
    right = np.random.default_rng(0).random(200) < 0.7
    (row,) = difference_rows(
        measured("refined", clean__test=right), measured("natural", clean__test=right), against="natural", seed=0
    )
    assert row.value == 0.0
    assert row.low is not None
    assert row.high is not None
    assert -0.02 < row.low < 0 < row.high < 0.02  # the next image may be one on which they differ
    _, low, high = wilson(int(right.sum()), 200)
    assert row.high - row.low < (high - low) / 4


def test_differences_of_one_pair_are_one_table() -> None:
    rng = np.random.default_rng(0)
    right = rng.random(150) < 0.5
    names = {f"clean__{k}": right ^ (rng.random(150) < 0.1 * k) for k in range(4)}
    other = measured("natural", **dict.fromkeys(names, right), gini__ig=np.arange(150.0))
    one = measured("refined", **names, gini__ig=np.arange(150.0) + rng.standard_normal(150))
    rows = difference_rows(one, other, against="natural", seed=0)
    assert len(rows) == 5
    found = [float(row.detail["p"]) for row in rows]
    assert [row.detail["p_holm"] for row in rows] == holm(found)
    assert {row.detail["tests"] for row in rows} == {5}
    for row in rows:
        assert float(row.detail["p_holm"]) >= float(row.detail["p"])
        assert float(row.detail["detectable"]) > 0
        assert Row.from_json(row.to_json()) == row


def test_road_difference_on_images_both_get_right() -> None:
    one = road("refined", [True, True, False], [8, 7, 0], [2, 2, 9], [9, 9, 9])
    other = road("natural", [False, True, True], [0, 6, 9], [9, 3, 0], [9, 9, 9])
    rows = difference_rows(one, other, against="natural", seed=0)
    (row,) = [r for r in rows if r.metric == "road_gap_difference"]
    assert row.n == 1
    assert row.value == pytest.approx(((7 - 2) - (6 - 3)) / L)


def test_values_of_other_images_are_never_subtracted() -> None:
    one, other = (
        measured("refined", clean__test=np.ones(5, np.bool_)),
        measured("natural", clean__test=np.ones(4, np.bool_)),
    )
    assert difference_rows(one, other, against="natural", seed=0) == []


def row(metric: str, value: float | None, low: float | None = None, high: float | None = None, **more: Any) -> Row:
    words: dict[str, Any] = {"arm": "pruned", "artefact": "int8-tensorrt", "subject": "engine", "unit": "fraction"}
    words.update(more)
    return Row(metric=metric, value=value, n=100, low=low, high=high, **words)


@pytest.mark.parametrize(
    ("condition", "passed"),
    [(">= 0.97", False), (">= 0.95", True), (">= 0.94", True), ("<= 0.99", False), ("<= 0.995", True), ("<=1", True)],
)
def test_the_bound_decides(condition: str, passed: bool) -> None:
    rows = [row("clean_acc", 0.98, 0.95, 0.995)]
    (verdict,), (said,) = decide(rows, {"clean_acc": condition, "final_arm": "pruned"}, final_arm="pruned")
    assert verdict["passed"] is passed
    assert verdict["value"] == 0.98
    assert verdict["bound"] == (0.95 if condition.startswith(">=") else 0.995)
    assert (said.metric, said.value, said.detail["gate"]) == ("gate", float(passed), "clean_acc")
    assert (said.arm, said.artefact, said.subject) == ("pruned", "int8-tensorrt", "engine")


def test_the_deployed_engine_alone_is_judged() -> None:
    good = {"low": 0.99, "high": 1.0}
    rows = [
        row("clean_acc", 1.0, **good, arm="natural"),
        row("clean_acc", 1.0, **good, artefact="fp32"),
        row("clean_acc", 1.0, **good, artefact="int8-x86"),
        row("clean_acc", 1.0, **good, artefact="twin", subject="twin"),
        row("clean_acc", 0.5, 0.4, 0.6),
        row("agreement", 1.0, **good, split="val"),
        row("agreement", 0.9, 0.8, 0.95),
    ]
    verdicts, _ = decide(rows, {"clean_acc": ">= 0.9", "agreement": ">= 0.9"}, final_arm="pruned")
    assert [(v["name"], v["value"], v["passed"]) for v in verdicts] == [
        ("clean_acc", 0.5, False),
        ("agreement", 0.9, False),
    ]
    on_val, _ = decide(rows, {"agreement": ">= 0.9"}, final_arm="pruned", validation=True)
    assert on_val[0]["value"] == 1.0
    only_fp32 = [row("clean_acc", 0.95, 0.93, 0.97, artefact="fp32")]
    (verdict,), (said,) = decide(only_fp32, {"clean_acc": ">= 0.9"}, final_arm="pruned")
    assert verdict["passed"]
    assert said.artefact == "fp32"


def test_the_row_a_gate_means() -> None:
    rows = [
        row("robust_acc", 0.9, 0.8, 0.95, detail={"attack": "pgd", "eps": "2/255"}),
        row("robust_acc", 0.4, 0.3, 0.5, detail={"attack": "pgd", "eps": "8/255"}),
        row("robust_acc", 0.95, 0.9, 1.0, detail={"attack": "noise", "eps": "8/255"}),
        row("roi_share", 0.9, 0.88, 0.92, detail={"explainer": "centre_gaussian"}),
        row("roi_share", 0.5, 0.45, 0.55, detail={"explainer": "ig"}),
        row("roi_share", 0.7, 0.65, 0.75, detail={"explainer": "lime"}),
        row("latency_ms", 9.0, detail={"statistic": "p95"}, unit="ms"),
        row("latency_ms", 2.0, 1.9, 2.2, detail={"statistic": "median"}, unit="ms"),
    ]
    table = {"robust_acc": ">= 0.3", "roi_share": ">= 0.65", "latency_ms": "<= 2.1"}
    verdicts, said = decide(rows, table, final_arm="pruned")
    assert {v["name"]: (v["bound"], v["passed"]) for v in verdicts} == {
        "robust_acc": (0.3, True),
        "roi_share": (0.65, True),
        "latency_ms": (2.2, False),
    }
    assert [r.value for r in said] == [1.0, 1.0, 0.0]


def test_what_was_not_measured_does_not_pass() -> None:
    skipped = row("roi_share", None, detail={"explainer": "ig"}, status="skipped", reason="no boxes")
    verdicts, said = decide([skipped], {"roi_share": ">= 0.1", "robust_acc": "<= 1"}, final_arm="pruned")
    assert [(v["passed"], v["value"], v["bound"]) for v in verdicts] == [(False, None, None)] * 2
    assert [r.value for r in said] == [0.0, 0.0]
    assert decide([skipped], {"final_arm": "pruned"}, final_arm="pruned") == ([], [])


def gate_of(rows: list[Row], column: str, condition: str, **more: Any) -> dict[str, Any]:
    (verdict,), (said,) = decide(rows, {column: condition, "final_arm": "pruned"}, final_arm="pruned", **more)
    assert said.value == float(verdict["passed"])
    assert bool(verdict["reason"]) != verdict["passed"]  # a failure says why, a pass has nothing to say
    return verdict


def test_a_column_singles_out_its_row() -> None:
    rows = [
        row("robust_acc", 0.6, 0.5, 0.7, detail={"attack": "square", "eps": "8/255", "queries": 1000}),
        row("robust_acc", 0.9, 0.8, 0.95, detail={"attack": "square", "eps": "2/255", "queries": 1000}),
        row("robust_acc", 0.2, 0.1, 0.3, detail={"attack": "pgd", "eps": "8/255"}),
    ]
    square = "robust_acc attack=square eps=8/255"
    assert gate_of(rows, square, ">= 0.5")["passed"]
    failed = gate_of(rows, square, ">= 0.51")
    assert (failed["bound"], failed["n"]) == (0.5, 100)
    assert "0.5 is below 0.51 by 0.01;" in failed["reason"]
    assert " 0.95 is above 0.9 by 0.05;" in gate_of(rows, "robust_acc eps=2/255", "<= 0.9")["reason"]
    assert gate_of(rows, "robust_acc attack=square", ">= 0.51")["bound"] == 0.5  # the worst of both decides
    assert gate_of(rows, "robust_acc queries=1000", "<= 0.9")["bound"] == 0.95
    missing = gate_of(rows, "robust_acc attack=apgd-ce", ">= 0.1")
    assert missing["value"] is None
    assert "attack=pgd eps=8/255" in missing["reason"]
    assert "no row of ece" in gate_of(rows, "ece", "<= 0.1")["reason"]


def test_all_explainers_must_keep_it_and_baselines_do_not_count() -> None:
    named = {"ig": (0.3, 0.4), "lime": (0.2, 0.35), "random": (-0.1, 0.1), "centre_gaussian": (0.0, 0.2)}
    rows = [row("road_gap", low, low, high, detail={"explainer": name}) for name, (low, high) in named.items()]
    assert gate_of(rows, "road_gap", ">= 0.2")["passed"]
    assert gate_of(rows, "road_gap", ">= 0.25")["row"]["explainer"] == "lime"
    assert gate_of(rows, "road_gap explainer=random", "<= 0.1")["passed"]
    rows.append(row("road_gap", None, detail={"explainer": "cam"}, status="skipped", reason="no common image"))
    assert gate_of(rows, "road_gap", ">= 0.1")["reason"] == "skipped: no common image"


def test_drift_is_the_engines_and_never_the_floor() -> None:
    about = {"explainer": "lime", "step": "int8-tensorrt"}
    rows = [
        row("map_drift", 0.05, 0.04, 0.06, detail=about),
        row("map_drift", 0.5, 0.4, 0.6, detail={**about, "step": "rebuilt", "floor": "rebuilding"}),
        row("map_drift", 0.7, 0.6, 0.8, artefact="twin", subject="twin", detail={**about, "step": "pruned"}),
        row("agreement", 0.5, 0.4, 0.6, detail={"step": "int8-tensorrt", "against": "fp32"}),
        row("agreement", 0.99, 0.98, 1.0),
        row("relative_input_stability", 1.0, 0.9, 1.1, artefact="twin", subject="twin", detail={"explainer": "ig"}),
    ]
    assert gate_of(rows, "map_drift", "<= 0.06")["passed"]
    assert gate_of(rows, "map_drift step=rebuilt", "<= 0.06")["bound"] == 0.6
    assert gate_of(rows, "map_drift artefact=twin", "<= 0.06")["bound"] == 0.8
    assert gate_of(rows, "agreement", ">= 0.9")["bound"] == 0.98
    assert gate_of(rows, "agreement step=int8-tensorrt", ">= 0.9")["bound"] == 0.4
    assert gate_of(rows, "relative_input_stability", "<= 1.2")["row"]["artefact"] == "twin"
