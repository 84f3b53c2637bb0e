"""The prune stage on a handful of images: every method, what its summary says, and that a second start ends alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recipes_for_tests import loaded
from torch import nn

from edgexai.config.coherence import incoherences
from edgexai.data import pack
from edgexai.data.dataset import Dataset
from edgexai.errors import MissingCapability
from edgexai.models import store
from edgexai.models.arch import Arch
from edgexai.models.cost import macs, parameters
from edgexai.recipe.job import Job
from edgexai.recipe.plan import plan
from edgexai.recipe.stages_network import prune
from edgexai.recipe.stages_prune_latency import EngineLatency
from edgexai.train.detect import Flags
from edgexai.train.flag_file import write_flags
from edgexai.types import Split

SMALL: dict[str, Any] = {"prune.batch_size": 5, "prune.finetune_epochs": 1, "train.batch_size": 5, "train.epochs": 1}


def split(name: str, n: int) -> Split:
    rng = np.random.default_rng(len(name))
    boxes = np.tile(np.array([4, 4, 26, 24], np.float32), (n, 1))
    images = rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    return Split(name, images, np.arange(n, dtype=np.int64) % 5, boxes, np.arange(n, dtype=np.int64))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A pack of noise and a dense network."""
    folder = tmp_path_factory.mktemp("inputs")
    splits = {name: split(name, n) for name, n in (("train", 20), ("val", 10), ("test", 10))}
    classes = tuple("abcde")
    found = Dataset("signs", classes, splits, (0.5,) * 3, (0.25,) * 3)
    (folder / "data").mkdir()
    pack.write(found, folder / "data")
    net = store.build(Arch("signnet", (8,) * 8, 5, 32, (0.5,) * 3, (0.25,) * 3), seed=0)
    store.save(net, folder / "network")
    return {"data": folder / "data", "network": folder / "network"}


def table(changes: Mapping[str, Any]) -> dict[str, Any]:
    return prune_table("pruned", {**SMALL, **changes})


def prune_table(recipe: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    nodes = plan(loaded(recipe, changes).recipe, data_digest="d", machine="m")
    return dict(next(node for node in nodes if node.stage == "prune").table)


def run(inputs: Mapping[str, Path], folder: Path, changes: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    out, work = folder / "out", folder / "work"
    out.mkdir(parents=True)
    work.mkdir(exist_ok=True)
    job = Job("prune", "prune", "pruned", table(changes), inputs, out, work, 0, "cpu", None, lambda _: None)
    prune(job)
    return store.load(out), json.loads((out / "summary.json").read_text())


def zeros(net: nn.Module) -> float:
    weights = [m.weight.detach() for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    return sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)


@pytest.mark.parametrize(
    "changes",
    [
        {"prune.macs_ratio": 0.5},
        {"prune.importance": "taylor", "prune.scope": "global", "prune.steps": 2},
        {"prune.importance": "attribution", "prune.scope": "isomorphic", "prune.parameter_ratio": 0.6},
        {"prune.importance": "robust", "prune.eps": "4/255", "prune.attribution_weight": 1.0},
        {"prune.importance": "fisher", "prune.finetune_epochs": 0, "prune.score_images": 10},
        {"train.method": "adversarial"},
    ],
)
def test_channels(inputs: dict[str, Path], tmp_path: Path, changes: dict[str, Any]) -> None:
    dense = store.load(inputs["network"])
    net, summary = run(inputs, tmp_path / "a", {"prune.round_to": 2, **changes})
    limit = changes.get("prune.parameter_ratio", 0.5)
    counted, name = (parameters, "parameter_ratio") if "prune.parameter_ratio" in changes else (macs, "macs_ratio")
    assert counted(net) <= limit * counted(dense)
    assert summary[name] == counted(net) / counted(dense)
    assert summary["macs_removed"] == macs(dense) - macs(net) > 0
    assert summary["masked_sparsity"] == 0
    assert (summary["widths_before"], summary["widths_after"]) == ([8] * 8, list(net.arch.widths))
    again, same = run(inputs, tmp_path / "b", {"prune.round_to": 2, **changes})
    assert same == summary
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in net.state_dict().items())


@pytest.mark.parametrize("scope", ["per_layer", "global", "structured"])
@pytest.mark.parametrize(("when", "epochs"), [("before", None), ("after", 0), ("after", 1)])
def test_the_nine_masked_models(
    inputs: dict[str, Path], tmp_path: Path, scope: str, when: str, epochs: int | None
) -> None:
    dense = store.load(inputs["network"])
    changes = {"prune.method": "masked", "prune.scope": scope, "prune.amount": 0.25, "prune.when": when}
    if when == "before":
        changes |= {"prune.batch_size": 64, "prune.finetune_epochs": 4}  # the defaults: nothing is fine-tuned
    else:
        changes["prune.finetune_epochs"] = epochs
    net, summary = run(inputs, tmp_path / "a", changes)
    assert (summary["macs"], summary["macs_removed"], summary["macs_ratio"]) == (macs(dense), 0, 1.0)
    assert summary["masked_sparsity"] == pytest.approx(0.25, abs=0.01)
    assert zeros(net) == summary["masked_sparsity"]  # exactly zero after all training
    kept = net.state_dict()["body.0.0.weight"] != 0
    trained_from = dense.state_dict()["body.0.0.weight"]
    same = torch.equal(net.state_dict()["body.0.0.weight"][kept], trained_from[kept])
    assert same == (when == "after" and epochs == 0)


def test_masks_from_the_start_begin_where_the_natural_arm_began(inputs: dict[str, Path], tmp_path: Path) -> None:
    """The dense network here is untrained, of the same seed: what is masked before must be its smallest weights."""
    changes = {"prune.method": "masked", "prune.amount": 0.3, "prune.when": "before"}
    net, _ = run(inputs, tmp_path, {**changes, "prune.batch_size": 64, "prune.finetune_epochs": 4})
    fresh = store.load(inputs["network"]).state_dict()["body.2.0.weight"].abs()
    masked = net.state_dict()["body.2.0.weight"] == 0
    assert int(masked.sum()) == round(0.3 * fresh.numel())
    assert fresh[masked].max() <= fresh[~masked].min()


def test_measured_latencies_are_remembered(inputs: dict[str, Path], tmp_path: Path) -> None:
    """A run that was killed after the search finds the measurements and chooses the same widths."""
    work = tmp_path / "work"
    work.mkdir()
    (work / "latencies.json").write_text(json.dumps({"8 8 8 8 8 8 8 8": 1.0}))
    changes = {"prune.latency_ms": 1.02, "prune.round_to": 2, "prune.finetune_epochs": 0}
    net, summary = run(inputs, tmp_path, changes)
    assert net.arch.widths == (8,) * 8
    assert (summary["latency_ms"], summary["latency_ms_wanted"]) == (1.0, 1.02)
    assert table(changes)["search"] == 3
    assert table(changes)["engine"] == {"opset": 18, "saliency": "cam"}


@pytest.mark.slow
def test_the_engine_is_as_fast_as_was_asked(inputs: dict[str, Path], tmp_path: Path) -> None:
    """Measured twice: in the search, and here again on the network that came out."""
    net = store.build(Arch("signnet", (64,) * 8, 5, 32, (0.5,) * 3, (0.25,) * 3), seed=0).eval()
    store.save(net, tmp_path / "wide")
    measure = EngineLatency(net, work=tmp_path, opset=18, saliency="cam", progress=lambda _: None)
    wanted = 0.5 * measure(net)
    changes = {"prune.latency_ms": wanted, "prune.round_to": 4, "prune.finetune_epochs": 0}
    small, summary = run({**inputs, "network": tmp_path / "wide"}, tmp_path / "run", changes)
    assert abs(summary["latency_ms"] / wanted - 1) <= 0.1
    assert macs(small) < macs(net)
    # again, in turn with the dense network, so that other work on this machine slows both
    assert abs(measure(small) / wanted - 1) <= 0.15


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prune.importance": "bn_scale", "model.name": "lisa_cnn", "export.saliency": "none"}, "no batch norm"),
        ({"prune.attribution_weight": 1.0, "train.method": "adversarial"}, "natural training"),
        ({"prune.attribution_weight": 1.0, "model.name": "vgg16", "export.saliency": "none"}, "linear head"),
        ({"prune.importance": "attribution", "data.name": "cifar10", "data.per_class": None}, "where the sign is"),
    ],
)
def test_what_does_not_go_together(changes: dict[str, Any], said: str) -> None:
    assert any(said in fault for fault in incoherences(loaded("pruned", changes).recipe))
    assert not incoherences(loaded("pruned").recipe)


def test_masks_before_training_leave_no_room_for_refinement() -> None:
    changes = {"prune.method": "masked", "prune.when": "before"}
    assert any("before" in fault for fault in incoherences(loaded("pruned_lime", changes).recipe))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "masked", "macs_ratio": 0.5}, "does not use macs_ratio"),
        ({"method": "channel", "amount": 0.5}, "does not use amount"),
        ({"method": "masked", "when": "before", "lr": 0.1}, "does not use lr"),
        ({"method": "masked", "scope": "isomorphic"}, "structured"),
        ({"method": "channel", "scope": "structured"}, "isomorphic"),
        ({"method": "channel", "macs_ratio": 0.5, "latency_ms": 1.0}, "one target only"),
        ({"method": "channel", "eps": "2/255"}, "does not use eps"),
    ],
)
def test_tables_that_say_what_decides_nothing(changes: dict[str, Any], said: str) -> None:
    from pydantic import ValidationError

    from edgexai.config.recipe import PruneTable

    with pytest.raises(ValidationError, match=said):
        PruneTable.model_validate(changes)


def test_later_keys_leave_the_keys_of_stored_results_alone() -> None:
    dumped = table({})
    assert set(dumped) == {
        *("method", "importance", "macs_ratio", "round_to", "finetune_epochs", "augment_strength", "batch_size", "lr"),
        *("weight_decay", "augment", "label_smoothing", "weight_average"),
    }
    assert dumped["macs_ratio"] == 0.5
    nodes = plan(loaded("pruned", {"prune.latency_ms": 1.0}).recipe, data_digest="d", machine="here")
    assert [n.extra for n in nodes if n.stage == "prune"] == ["here"]
    assert all(n.extra == "" for n in plan(loaded("pruned").recipe, data_digest="d", machine="m") if n.stage == "prune")


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        ("pruned", {"prune.round_to": 2}),
        ("pruned", {"prune.round_to": 2, "train.method": "adversarial"}),
        ("pruned", {"prune.method": "masked"}),
        ("pruned_lime", {"prune.round_to": 2}),
    ],
)
def test_mixed_precision_reaches_the_fine_tuning(
    inputs: dict[str, Path], tmp_path: Path, recipe: str, changes: dict[str, Any]
) -> None:
    """It runs on CUDA only and is refused elsewhere, never downgraded: a fine-tuning here that has it refuses."""
    flags = Flags(
        np.arange(20),
        np.zeros((20, 64), np.float32),
        np.zeros((20, 64), np.bool_),
        np.zeros((5, 64), np.float32),
        np.zeros((20, 64), np.bool_),
    )
    for k in range(3):
        write_flags(tmp_path, k, flags)

    def start(precision: str) -> None:
        loaded_table = prune_table(recipe, {**SMALL, **changes, "train.precision": precision})
        found = {**inputs, "flags": tmp_path}
        out, work = tmp_path / precision / "out", tmp_path / precision / "work"
        out.mkdir(parents=True)
        work.mkdir()
        prune(Job("prune", "prune", "pruned", loaded_table, found, out, work, 0, "cpu", None, lambda _: None))

    start("fp32")
    with pytest.raises(MissingCapability, match="CUDA only"):
        start("amp")


def test_mixed_precision_is_in_the_keys_only_where_it_is_asked_for() -> None:
    for stage in ("train", "refine", "prune"):
        for precision, wanted in (("fp32", False), ("amp", True)):
            changes = {"train.precision": precision}
            nodes = plan(loaded("pruned_lime", changes).recipe, data_digest="d", machine="m")
            assert all(("precision" in n.table) is wanted for n in nodes if n.stage == stage)
