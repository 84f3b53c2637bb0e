"""What is read from a finished recipe: rows of the right network and file, per-image values, counts, the median."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgexai.errors import UserError
from edgexai.recipe.lock import Outcome
from edgexai.recipe.plan import Node
from edgexai.study.collect import collect, find, per_image
from edgexai.types import Row


def outcome(folder: Path, name: str, stage: str, arm: str) -> Outcome:
    (folder / name).mkdir()
    return Outcome(Node(name, stage, arm, {}, {}, 0, 1), "key", folder / name, "digest", 1.0, True)


@pytest.fixture
def finished(tmp_path: Path) -> list[Outcome]:
    """A pruned recipe: two networks, two files of the pruned one."""
    train, prune = outcome(tmp_path, "train", "train", "natural"), outcome(tmp_path, "prune", "prune", "pruned")
    natural = outcome(tmp_path, "measure[natural]", "measure", "natural")
    pruned = outcome(tmp_path, "measure[pruned]", "measure", "pruned")
    compare = outcome(tmp_path, "compare", "compare", "")
    values: dict[str, Any] = {
        "fp32|gini/ig": np.array([0.1, 0.2, 0.3]),
        "int8-tensorrt|gini/ig": np.array([0.4, 0.5, 0.6]),
        "twin|ris/ig": np.array([10.0, 100.0, 1e9, np.nan]),
        "fp32|clean/test": np.array([True, False]),
        "fp32|corruption/fog_3": np.array([True, True]),
    }
    np.savez_compressed(pruned.folder / "verdicts.npz", **values)
    np.savez_compressed(natural.folder / "verdicts.npz", **{"fp32|gini/ig": np.zeros(3)})

    def row(arm: str, artefact: str, metric: str, value: float, **detail: Any) -> Row:
        subject: Any = "twin" if artefact == "twin" else "engine"
        return Row(arm, artefact, subject, metric, value, "unitless", n=3, detail=detail)

    rows = [
        row("natural", "fp32", "clean_acc", 0.9),
        row("pruned", "fp32", "clean_acc", 0.8),
        row("pruned", "int8-tensorrt", "clean_acc", 0.7),
        row("pruned", "fp32", "clean_acc_difference", -0.1, against="natural"),
        row("pruned", "fp32", "road_gap", 0.3, explainer="ig"),
        row("pruned", "twin", "masked_sparsity", 0.25),
        row("pruned", "twin", "macs_removed", 7.0),
        row("pruned", "twin", "relative_input_stability", 8.5, explainer="ig"),
    ]
    (compare.folder / "rows.jsonl").write_text("".join(r.to_json() + "\n" for r in rows))
    return [train, prune, natural, pruned, compare]


def test_one_network_and_one_file_are_read(finished: list[Outcome]) -> None:
    got = collect("mine", 4, finished, network="pruned", artefact="fp32")
    clean = find(got, "clean_acc")
    assert clean is not None
    assert (clean.value, clean.arm, clean.seed) == (0.8, "mine", 4)
    other = find(collect("mine", 4, finished, network="pruned", artefact="int8-tensorrt"), "clean_acc")
    assert other is not None
    assert other.value == 0.7
    named = find(got, "clean_acc artefact=int8-tensorrt")  # a column may name another file than the study's
    assert named is not None
    assert named.value == 0.7
    assert per_image(got, "clean_acc artefact=int8-tensorrt") is None  # of which no values per image were taken
    assert per_image(got, "clean_acc artefact=fp32") is not None
    first = find(collect("mine", 4, finished, network="natural", artefact="fp32"), "clean_acc")
    assert first is not None
    assert first.value == 0.9
    # of the recipe's own comparison nothing is taken over: the study compares its own arms
    assert find(got, "road_gap explainer=ig") is None
    assert find(got, "clean_acc_difference") is None


def test_a_network_that_was_not_pruned_lost_nothing(finished: list[Outcome]) -> None:
    def value(network: str, metric: str) -> float | None:
        row = find(collect("mine", 0, finished, network=network, artefact="fp32"), metric)
        assert row is not None
        return row.value

    assert (value("pruned", "masked_sparsity"), value("pruned", "macs_removed")) == (0.25, 7)
    assert (value("natural", "masked_sparsity"), value("natural", "macs_removed")) == (0, 0)


def test_the_median_of_stability_is_not_ruled_by_one_image(finished: list[Outcome]) -> None:
    got = collect("mine", 0, finished, network="pruned", artefact="fp32")
    mean, median = (find(got, f"relative_input_stability{end} explainer=ig") for end in ("", "_median"))
    assert mean is not None
    assert median is not None
    assert (mean.value, median.value) == (8.5, 2.0)  # log10 of 100, the middle of the three that are defined


def test_per_image_values_are_those_of_the_file(finished: list[Outcome]) -> None:
    got = collect("mine", 0, finished, network="pruned", artefact="fp32")
    for column, expected in (
        ("saliency_gini explainer=ig", [0.1, 0.2, 0.3]),
        ("clean_acc", [1.0, 0.0]),
        ("corruption_acc corruption=fog severity=3", [1.0, 1.0]),
    ):
        values = per_image(got, column)
        assert values is not None
        assert values.tolist() == expected
    assert per_image(got, "saliency_gini explainer=vg") is None
    assert per_image(got, "latency_ms") is None


def test_what_is_not_there_is_said(finished: list[Outcome]) -> None:
    with pytest.raises(UserError, match='no "control" network; it has: natural, pruned'):
        collect("mine", 0, finished, network="control", artefact="fp32")
    with pytest.raises(UserError, match='no "int8-x86" file'):
        collect("mine", 0, finished, network="pruned", artefact="int8-x86")
