"""The plan: which nodes, on what; keys that change exactly when the output may."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from recipes_for_tests import RECIPES, loaded

from edgexai.cli.doctor import needs
from edgexai.cli.options import Device
from edgexai.errors import MissingCapability
from edgexai.recipe import STAGES
from edgexai.recipe.keys import canonical, plan_keys
from edgexai.recipe.plan import Node, data_read, final_arm, plan
from edgexai.recipe.run import planned
from edgexai.registry import Entry


def nodes_of(name: str, changes: dict[str, Any] | None = None, data: str = "d", machine: str = "m") -> list[Node]:
    return plan(loaded(name, changes).recipe, data_digest=data, machine=machine)


def keys_of(name: str, changes: dict[str, Any] | None = None, **other: str) -> dict[str, str]:
    return plan_keys(nodes_of(name, changes, **other))


def test_nodes_by_recipe() -> None:
    assert [n.name for n in nodes_of("bare")] == ["data", "train"]
    per_arm = ["export", "engine", "probe", "measure", "latency"]
    assert [n.name for n in nodes_of("natural")] == ["data", "train", *[f"{s}[natural]" for s in per_arm], "compare"]
    arms = ["natural", "refined", "control", "pruned"]
    expected = ["data", "train", "refine", "refine[control]", "prune"]
    expected += [f"{s}[{a}]" for s in per_arm for a in arms] + ["compare"]
    assert [n.name for n in nodes_of("pruned_lime")] == expected
    assert not any(n.arm == "control" for n in nodes_of("pruned_lime", {"refine.control": "none"}))


@pytest.mark.parametrize("name", RECIPES)
def test_inputs_come_first_and_names_are_unique(name: str) -> None:
    seen: set[str] = set()
    ranks = [list(STAGES).index(n.stage) for n in nodes_of(name)]
    assert ranks == sorted(ranks)
    for node in nodes_of(name):
        assert set(node.inputs.values()) <= seen
        assert node.name not in seen
        seen.add(node.name)
    keys = keys_of(name)
    assert len(set(keys.values())) == len(keys)


def test_roles_and_tables() -> None:
    by = {n.name: n for n in nodes_of("pruned_lime")}
    assert by["refine"].inputs == {"data": "data", "network": "train"}
    assert by["refine[control]"].inputs == {"data": "data", "network": "train", "twin_flags": "refine"}
    assert by["refine"].table["cells"] == "lime"
    assert by["refine[control]"].table == {**by["refine"].table, "cells": "random"}
    assert by["prune"].inputs == {"data": "data", "network": "refine", "flags": "refine"}
    assert by["prune"].table["refine"]["mask_probability"] == 0.7
    assert by["measure[control]"].inputs["network"] == "refine[control]"
    assert by["export[pruned]"].table["flavours"] == ["fp32", "int8-tensorrt", "int8-x86"]
    assert all(by[f"export[{a}]"].table["flavours"] == ["fp32"] for a in ("natural", "refined", "control"))
    assert by["compare"].table["final_arm"] == "pruned"
    assert {n.stage for n in map(by.get, by["compare"].inputs.values()) if n} == {
        "prune",
        "data",
        "engine",
        "measure",
        "latency",
    }
    plain = {n.name: n for n in nodes_of("pruned")}
    assert plain["prune"].inputs == {"data": "data", "network": "train"}
    assert "refine" not in plain["prune"].table
    assert [final_arm(loaded(n).recipe) for n in ("natural", "lime", "pruned")] == ["natural", "refined", "pruned"]


def test_key_is_the_documented_digest() -> None:
    node = nodes_of("bare")[0]
    text = (
        '{"extra":"d","inputs":{},"seed":0,"stage":"data","table":'
        '{"name":"signs","per_class":4,"rendered":0,"size":32,"validation":0.1},"version":1}'
    )
    assert plan_keys([node])["data"] == hashlib.sha256(text.encode()).hexdigest()


def test_golden_keys() -> None:
    """A change here makes every stored entry useless: it must be meant."""
    nodes = [
        Node("a", "data", "", {"x": 1, "y": [0.1, None, "é"]}, {}, 0, 1, "d"),
        Node("b", "train", "natural", {}, {"data": "a"}, 3, 2),
    ]
    assert canonical({"b": 1e-3, "a": [True, None]}) == '{"a":[true,null],"b":0.001}'
    assert plan_keys(nodes) == {
        "a": "f88fbf72673c9e4b742733e0acf9c429b301511d4744b71db6f327d9fad45bbd",
        "b": "a5cbae2569eb9cd3c221e7f9a5528056cb656cc67a72aaf5374897e3fd2df36c",
    }


def test_lime_and_pruned_lime_share_networks() -> None:
    one, two = keys_of("lime"), keys_of("pruned_lime")
    shared = {name for name in one if one[name] == two.get(name)}
    assert {"data", "train", "refine", "refine[control]"} <= shared
    assert {"measure[refined]", "export[refined]"}.isdisjoint(shared)  # there it is the final arm, in int8
    assert {"measure[natural]", "latency[natural]", "measure[control]"} <= shared
    natural, pruned = keys_of("natural"), keys_of("pruned")
    assert natural["train"] == pruned["train"] == one["train"]
    assert pruned["prune"] != two["prune"]


ALL = set(keys_of("pruned_lime"))
REFINED = {"refine", "refine[control]", "prune"}
LATE = {
    f"{s}[{a}]" for s in ("export", "engine", "probe", "measure", "latency") for a in ("refined", "control", "pruned")
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"title": "another", "source": "a paper"}, set()),
        ({"seed": 1}, ALL),
        ({"data.size": 48}, ALL),
        ({"train.lr": 0.1}, ALL - {"data"}),
        ({"model.name": "lisa_cnn"}, ALL - {"data"}),
        ({"refine.rounds": 5}, REFINED | LATE | {"compare"}),
        ({"refine.eps": "4/255"}, REFINED | LATE | {"compare"}),
        ({"refine.control": "none"}, {"compare"}),
        ({"prune.macs_ratio": 0.4}, {"prune", "compare", *(n for n in LATE if n.endswith("[pruned]"))}),
        (
            {"export.calibration_images": 64},
            {"compare", *(f"{s}[pruned]" for s in ("export", "engine", "measure", "latency"))},
        ),
        ({"export.min_agreement": 0.9}, {"compare", *(n for n in ALL if n.startswith("engine["))}),
        ({"measure.n": 20}, {"compare", *(n for n in ALL if n.startswith(("measure[", "probe[")))}),
        ({"measure.apgd_steps": 20, "measure.apgd_n": 7}, set()),  # without "apgd" among the attacks they say nothing
        ({"measure.attacks": ["apgd"]}, {"compare", *(n for n in ALL if n.startswith(("measure[", "probe[")))}),
        ({"measure.corruption_n": 9, "measure.corruption_severities": [5]}, set()),  # nothing is corrupted
        ({"measure.corruptions": ["fog"]}, {"compare", *(n for n in ALL if n.startswith("measure["))}),
        ({"measure.unknown_n": 9}, set()),  # of no card
        ({"measure.stability_n": 9}, {"compare", *(n for n in ALL if n.startswith(("measure[", "probe[")))}),
        ({"measure.strong_eps": "8/255"}, {"compare", *(n for n in ALL if n.startswith(("measure[", "probe[")))}),
        ({"measure.split": "test"}, set()),
        (
            {"measure.split": "val"},
            {"compare", *(n for n in ALL if n.startswith(("measure[", "probe[", "latency[")))},
        ),
        ({"gate.clean_acc": ">= 0.9"}, {"compare"}),
    ],
)
def test_exactly_the_dependent_keys_change(changes: dict[str, Any], expected: set[str]) -> None:
    before, after = keys_of("pruned_lime"), keys_of("pruned_lime", changes)
    assert {name for name in after if before[name] != after[name]} == expected


def test_data_machine_and_version_count() -> None:
    before = keys_of("pruned_lime")
    assert all(keys_of("pruned_lime", data="e")[n] != before[n] for n in before)
    moved = keys_of("pruned_lime", machine="other")
    assert {n for n in before if moved[n] != before[n]} == {"compare", *(n for n in ALL if n.startswith("latency["))}
    raised = {**STAGES, "prune": Entry(STAGES["prune"].where, 99)}
    newer = plan_keys(plan(loaded("pruned_lime").recipe, data_digest="d", machine="m", stages=raised))
    assert {n for n in before if newer[n] != before[n]} == {"prune", "compare", *(n for n in LATE if "[pruned]" in n)}


def test_written_defaults_and_integers_change_nothing() -> None:
    assert keys_of("natural") == keys_of("natural", {"train.batch_size": 64, "export.opset": 18, "train.lr": 0.2})
    assert keys_of("natural", {"train.lr": 1}) == keys_of("natural", {"train.lr": 1.0})


def test_tables_are_plain_json() -> None:
    for node in nodes_of("pruned_lime"):
        assert json.loads(json.dumps(node.table)) == node.table


def test_the_real_data_digest_is_used(tmp_path: Path) -> None:
    first = planned(loaded("natural"), home=tmp_path / "home", device="cpu", data_root=None, write=False)
    second = planned(loaded("natural"), home=tmp_path / "home", device="cpu", data_root=None, write=False)
    assert first == second
    assert first[0][0].extra
    assert not (tmp_path / "home").exists()
    other = planned(loaded("natural"), home=tmp_path / "home", device="cuda", data_root=None, write=False)
    assert {n for n in first[1] if first[1][n] != other[1][n]} == {"latency[natural]", "compare"}


def test_unknown_classes_are_a_stage_that_only_measurements_read() -> None:
    before, asked = keys_of("pruned_lime"), {"measure.unknown": "cifar10"}
    recipe = loaded("pruned_lime", asked).recipe
    assert [table.name for table in data_read(recipe)] == ["signs", "cifar10"]
    nodes = plan(recipe, data_digest="d", machine="m", unknown_digests=["u"])
    by, after = {n.name: n for n in nodes}, plan_keys(nodes)
    assert (by["unknown"].table, by["unknown"].extra) == ({"name": "cifar10", "size": 32, "n": 300}, "u")
    assert {name for name, node in by.items() if "unknown" in node.inputs} == {n for n in by if n[:8] == "measure["}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"compare", *(n for n in before if n.startswith("measure["))}
    other = plan_keys(plan(recipe, data_digest="d", machine="m", unknown_digests=["v"]))
    assert {name for name in after if after[name] != other[name]} == {*changed, "unknown"}


def test_missing_images_of_unknown_classes_are_told_before_anything_runs(tmp_path: Path) -> None:
    asked = loaded("natural", {"measure.unknown": "cifar10"})
    with pytest.raises(MissingCapability, match="cifar10"):
        planned(asked, home=tmp_path / "home", device="cpu", data_root=tmp_path, write=False)
    nodes, _ = planned(loaded("natural"), home=tmp_path / "home", device="cpu", data_root=tmp_path, write=False)
    assert "unknown" not in {node.name for node in nodes}


def test_the_doctor_asks_for_the_other_card_too() -> None:
    for changes, wanted in (({}, False), ({"measure.unknown": "cifar10"}, True)):
        assert ("data:cifar10" in needs(loaded("natural", changes).recipe, device=Device.CPU)) == wanted
