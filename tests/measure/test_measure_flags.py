"""Honesty rules: each fires on the case it is for and stays quiet on a sound set of rows."""

from __future__ import annotations

import numpy as np
import pytest

from edgexai.measure.flags import _RULES, FLAGS, check, output_kind
from edgexai.measure.rows import accuracy_row
from edgexai.types import Row

WHERE = {"arm": "natural", "artefact": "fp32", "subject": "engine"}


def accuracy(share: float, n: int = 1000, metric: str = "robust_acc", **detail: str | float) -> Row:
    return accuracy_row(np.arange(n) < round(share * n), **WHERE, metric=metric, detail=detail)


def score(metric: str, value: float, half: float = 0.02, **detail: str | float) -> Row:
    return Row(
        **WHERE,
        metric=metric,
        value=value,
        unit="unitless",
        n=300,
        low=value - half,
        high=value + half,
        interval="bootstrap",
        detail=detail,
    )


SOUND = [
    accuracy(0.985, n=12_630, metric="clean_acc"),
    accuracy(0.70, attack="fgsm", eps="2/255"),
    accuracy(0.30, attack="fgsm", eps="8/255"),
    accuracy(0.60, attack="pgd", eps="2/255"),
    accuracy(0.10, attack="pgd", eps="8/255"),
    accuracy(0.12, n=300, attack="square", eps="8/255"),
    accuracy(0.984, attack="noise", eps="2/255"),
    accuracy(0.985, attack="noise", eps="8/255"),
    accuracy(0.996, metric="agreement"),
    score("road_gap", 0.2, explainer="ig", order="morf"),
    score("road_gap", 0.0, explainer="random", order="morf"),
    score("roi_share", 0.7, explainer="ig"),
    score("roi_share", 0.5, explainer="centre_gaussian"),
    Row(**WHERE, metric="latency_ms", value=None, unit="ms", n=0, status="skipped", reason="no board"),
]


def test_every_rule_is_explained() -> None:
    assert list(FLAGS) == list(_RULES)
    assert all(flag.raised_if and flag.means and flag.do for flag in FLAGS.values())


def test_sound_rows_raise_nothing_and_are_not_modified() -> None:
    checked = check(SOUND)
    assert checked == SOUND
    assert all(row.flags == () for row in checked)


CASES = [
    ("robust_above_clean", [accuracy(0.9, metric="clean_acc")], accuracy(0.95, attack="pgd", eps="8/255")),
    (
        "robust_not_falling",
        [accuracy(0.4, attack="pgd", eps="2/255")],
        accuracy(0.4, attack="pgd", eps=8 / 255),
    ),
    (
        "black_box_beats_white_box",
        [accuracy(0.1, n=300, attack="square", eps="8/255")],
        accuracy(0.4, attack="pgd", eps="8/255"),
    ),
    (
        "noise_beats_attack",
        [accuracy(0.3, attack="noise", eps="8/255")],
        accuracy(0.4, attack="square", eps="8/255"),
    ),
    ("one_step_beats_many", [accuracy(0.3, attack="fgsm", eps="8/255")], accuracy(0.4, attack="pgd", eps="8/255")),
    ("not_logits", [], accuracy(0.9, metric="clean_acc", output="probabilities")),
    (
        "not_above_random_map",
        [score("road_gap", 0.0, explainer="random", order="morf")],
        score("road_gap", 0.03, explainer="vg", order="morf"),
    ),
    (
        "not_above_centre_map",
        [score("roi_share", 0.6, explainer="centre_gaussian")],
        score("roi_share", 0.55, explainer="vg"),
    ),
    ("follows_confidence", [], score("deletion_auc", 0.3, explainer="vg")),
    ("mask_leaks_class", [], score("mask_leak", 0.1, explainer="vg")),
    (
        "substrate_decides",
        [
            score("deletion_auc_normalised", 0.5, explainer="random", substrate="blur"),
            score("deletion_auc_normalised", 0.5, explainer="random", substrate="data set mean"),
            score("deletion_auc_normalised", 0.51, explainer="vg", substrate="data set mean"),
        ],
        score("deletion_auc_normalised", 0.3, explainer="vg", substrate="blur"),
    ),
    ("unlike_twin", [], accuracy(0.9, metric="agreement")),
    ("few_images", [], accuracy(0.9, n=50, metric="clean_acc")),
]


@pytest.mark.parametrize(("name", "others", "row"), CASES, ids=[case[0] for case in CASES])
def test_each_rule_fires_on_its_case_alone(name: str, others: list[Row], row: Row) -> None:
    checked = check([*others, row])
    assert checked[-1].flags == (name,)
    assert all(other.flags == () for other in checked[:-1])
    assert row.flags == ()
    # Asking again adds nothing; another artefact's rows are not compared.
    assert check(checked) == checked
    if others:
        elsewhere = [Row.from_json(o.to_json().replace('"fp32"', '"int8-x86"')) for o in others]
        assert check([*elsewhere, row])[-1].flags == ()


def test_every_rule_has_a_case() -> None:
    assert {case[0] for case in CASES} == set(FLAGS)


def test_differences_within_sampling_noise_do_not_fire() -> None:
    rows = [
        accuracy(0.42, attack="pgd", eps="8/255"),
        accuracy(0.40, n=300, attack="square", eps="8/255"),
        accuracy(0.41, attack="fgsm", eps="8/255"),
        accuracy(0.41, n=300, metric="clean_acc"),
        accuracy(0.0, attack="fgsm", eps="16/255"),
        accuracy(0.0, attack="fgsm", eps="32/255"),  # nothing was left to lose
    ]
    assert [row.flags for row in check(rows)] == [()] * len(rows)


def test_output_kind() -> None:
    logits = np.random.default_rng(0).standard_normal((10, 4)).astype(np.float32)
    power = np.exp(logits)
    assert output_kind(logits) == "logits"
    assert output_kind(power / power.sum(axis=1, keepdims=True)) == "probabilities"
    assert output_kind(np.ones((5, 4), np.float32)) == "constant"
