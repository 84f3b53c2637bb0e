"""Cells, claims and correlations on rows written by hand, with answers worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from edgexai.config.study import Claim, Correlation, Study, TableSpec
from edgexai.errors import UserError
from edgexai.study.collect import ArmSeed, find, per_image, with_road
from edgexai.study.judge import cells, correlate, judge, spearman
from edgexai.types import Row

GINI = "saliency_gini explainer=ig"
ACC = "clean_acc"


def row(arm: str, metric: str, value: float | None, **more: Any) -> Row:
    words: dict[str, Any] = {"artefact": "fp32", "subject": "engine", "unit": "fraction", "n": 50, **more}
    return Row(arm=arm, metric=metric, value=value, **words)


def study(**more: Any) -> Study:
    content: dict[str, Any] = {
        "title": "t",
        "seeds": [0, 1, 2],
        "baseline": "base",
        "arms": {"base": {"title": "Base"}, "new": {"title": "New"}},
        "tables": [{"title": "all", "columns": [ACC, GINI]}],
    }
    return Study.model_validate({**content, **more})


def measured(arm: str, seed: int, acc: float, gini: float | None, **verdicts: Any) -> ArmSeed:
    rows = (
        row(arm, "clean_acc", acc),
        row(arm, "clean_acc", 0.0, artefact="twin", subject="twin"),
        row(arm, "saliency_gini", gini, detail={"explainer": "ig"}, unit="unitless"),
        row(arm, "saliency_gini", 0.9, detail={"explainer": "vg"}, unit="unitless"),
    )
    return ArmSeed(arm, seed, "fp32", rows, verdicts, ())


FOUND = {
    ("base", 0): measured("base", 0, 0.90, 0.50),
    ("base", 1): measured("base", 1, 0.91, 0.51),
    ("base", 2): measured("base", 2, 0.92, 0.52),
    ("new", 0): measured("new", 0, 0.92, 0.40),
    ("new", 1): measured("new", 1, 0.94, 0.43),
    ("new", 2): measured("new", 2, 0.95, 0.41),
}


def test_cells_are_means_over_seeds_and_paired_differences() -> None:
    table = cells(study().tables[0], study(), FOUND)
    assert [(c.arm, c.column) for c in table] == [("base", ACC), ("base", GINI), ("new", ACC), ("new", GINI)]
    assert table[0].value is not None
    assert table[0].value.value == pytest.approx(0.91)  # the engine's rows, not the twin's zeros
    assert table[0].difference is None
    difference = table[2].difference
    assert difference is not None
    assert difference.values == pytest.approx((0.02, 0.03, 0.03))
    assert difference.p == pytest.approx(stats.ttest_rel([0.92, 0.94, 0.95], [0.90, 0.91, 0.92]).pvalue)
    assert table[2].p_holm is not None
    assert table[2].p_holm >= difference.p  # two were tested


def test_a_number_missing_for_one_seed_is_not_averaged_over_the_others() -> None:
    found = {**FOUND, ("new", 1): measured("new", 1, 0.94, None)}
    table = cells(study().tables[0], study(), found)
    assert table[3].value is None
    claim = Claim(source="s", says="x", arms=("new",), against="base", columns=(GINI,), direction="lower")
    assert judge(claim, study(), found).verdict == "not measured"


def test_claims_take_the_mean_within_a_seed_first() -> None:
    claim = Claim(source="s", says="x", arms=("new",), against="base", columns=(ACC, GINI), direction="lower")
    judged = judge(claim, study(), FOUND)
    assert judged.found is not None
    assert judged.found.values == pytest.approx(((0.02 - 0.10) / 2, (0.03 - 0.08) / 2, (0.03 - 0.11) / 2))
    assert (judged.verdict, judged.n) == ("reproduced", 50)
    other = claim.model_copy(update={"direction": "higher"})
    assert judge(other, study(), FOUND).verdict == "contradicted"


def test_an_ambiguous_column_is_a_fault_that_lists_what_tells_rows_apart() -> None:
    with pytest.raises(UserError, match="2 rows fit") as fault:
        find(FOUND["base", 0], "saliency_gini")
    assert any("explainer=vg" in problem for problem in fault.value.problems)
    assert find(FOUND["base", 0], "no_such_metric") is None


def test_with_one_seed_the_interval_is_that_of_the_images() -> None:
    rng = np.random.default_rng(1)
    base, new = rng.random(300), rng.random(300)
    found = {
        ("base", 0): measured("base", 0, 0.9, float(base.mean()), **{"gini/ig": base}),
        ("new", 0): measured("new", 0, 0.9, float((base + new).mean()), **{"gini/ig": base + new}),
    }
    one = study(seeds=[0])
    claim = Claim(source="s", says="x", arms=("new",), against="base", columns=(GINI,), direction="higher")
    judged = judge(claim, one, found)
    assert judged.found is not None
    assert judged.found.value == pytest.approx(new.mean())  # paired: what both share cancels
    half = 1.96 * new.std() / np.sqrt(300)
    assert judged.found.low == pytest.approx(new.mean() - half, abs=0.1 * half)
    assert judged.verdict == "reproduced"
    difference = cells(one.tables[0], one, found)[3].difference
    assert difference is not None
    assert difference.value == pytest.approx(new.mean())
    assert difference.high == pytest.approx(new.mean() + half, abs=0.1 * half)
    # accuracies have no per-image values here, hence no interval and no verdict
    bare = claim.model_copy(update={"columns": (ACC,)})
    assert judge(bare, one, found).verdict == "undecided"


def test_correlation_over_images_and_over_arms() -> None:
    rng = np.random.default_rng(3)
    x = rng.random(40)
    y = x + rng.normal(0, 0.3, 40)
    found = {
        (arm, seed): measured(arm, seed, 0.1 * k + 0.01 * seed, -0.1 * k, **{"gini/ig": x, "roi/ig": y})
        for k, arm in enumerate(("base", "new"))
        for seed in (0, 1, 2)
    }
    pair = Correlation(x=GINI, y="roi_share explainer=ig", direction="higher")
    judged = correlate(pair, study(), found)
    assert judged.found is not None
    assert judged.found.value == pytest.approx(stats.spearmanr(x, y).statistic)
    assert judged.verdict == "reproduced"
    assert judged.n == 40
    constant = {key: replace(item, verdicts={**item.verdicts, "gini/ig": np.ones(40)}) for key, item in found.items()}
    assert correlate(pair, study(), constant).verdict == "not defined"
    missing = Correlation(x="confidence", y=GINI, direction="higher")
    assert correlate(missing, study(), found).verdict == "not measured"


def test_spearman_with_ties_is_scipys_and_nan_where_undefined() -> None:
    x, y = [1.0, 2.0, 2.0, 3.0, 0.0], [5.0, 1.0, 2.0, 2.0, 9.0]
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert np.isnan(spearman([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]))
    assert np.isnan(spearman([1.0, 2.0], [2.0, 1.0]))


def test_road_is_formed_on_the_images_that_all_arms_get_right() -> None:
    def arm(name: str, base: list[bool], most: list[bool]) -> ArmSeed:
        levels = 9
        verdicts = {
            "road/base": np.array(base),
            "road/none/random": np.ones((levels, 4), np.bool_),
            "road/ig/morf": np.repeat(np.array([most]), levels, 0),
            "road/ig/lerf": np.ones((levels, 4), np.bool_),
        }
        return ArmSeed(name, 0, "fp32", (row(name, "deletion_auc", 0.1),), verdicts, ())

    both = with_road(
        [arm("a", [True, True, False, True], [False, True, False, True]), arm("b", [True] * 4, [False] * 4)]
    )
    gaps = [find(item, "road_gap explainer=ig") for item in both]
    assert [gap.value for gap in gaps if gap] == pytest.approx([1 / 3, 1.0])  # images 0, 1 and 3
    assert [gap.n for gap in gaps if gap] == [3, 3]
    own = per_image(both[1], "road_gap explainer=ig")
    assert own is not None
    assert np.isnan(own[2])  # the other arm gets it wrong: no image of the comparison


def test_a_study_that_names_what_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="no arm other"):
        study(
            claims=[
                {
                    "source": "s",
                    "says": "x",
                    "arms": ["other"],
                    "against": "base",
                    "columns": [ACC],
                    "direction": "higher",
                }
            ]
        )
    with pytest.raises(ValueError, match="write a metric"):
        TableSpec(title="t", columns=("robust acc",))
    with pytest.raises(ValueError, match="takes that arm's recipe"):
        study(arms={"base": {"title": "B"}, "new": {"title": "N", "like": "base", "train": {"epochs": 1}}})
    with pytest.raises(ValueError, match="only once"):
        study(seeds=[1, 1])
