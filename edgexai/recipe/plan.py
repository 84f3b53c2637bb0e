"""A recipe as a list of nodes: which stages run, for which arm, on which inputs.

Arms: natural (trained from scratch), refined (LIME-guided), control (same budget, random cells), pruned. The final arm,
the one that is deployed, is pruned, else refined, else natural. An arm follows from its stage, table and inputs, so it
need not be part of a key. A table holds only what decides the output: ``refine.control`` and ``export.min_agreement``
are left out where they decide nothing, so that changing them recomputes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgexai.config.own_network import network_digests
from edgexai.config.recipe import DataTable, Recipe
from edgexai.recipe import STAGES
from edgexai.registry import Entry


@dataclass(frozen=True)
class Node:
    """One stage of one arm, before it has run.

    Attributes:
        name: unique in the plan: "train", "refine[control]", "measure[pruned]".
        stage: key of ``STAGES``.
        arm: "natural", "refined", "control", "pruned" or "".
        table: JSON-able; the recipe's table with defaults and what the plan adds.
        inputs: role -> node name.
        seed: the recipe's.
        version: of the stage's registry entry.
        extra: what else decides the output: the data digest, or the machine of a timing.
    """

    name: str
    stage: str
    arm: str
    table: Mapping[str, Any]
    inputs: Mapping[str, str]
    seed: int
    version: int
    extra: str = ""

    @property
    def timed(self) -> bool:
        """Something is timed while it runs, so nothing else should run beside it on the same machine."""
        return self.stage == "latency" or (self.stage == "prune" and "latency_ms" in self.table)


def final_arm(recipe: Recipe) -> str:
    """The arm that is deployed."""
    if recipe.prune is not None:
        return "pruned"
    return "natural" if recipe.refine is None else "refined"


def data_read(recipe: Recipe) -> list[DataTable]:
    """What the run reads images of: [data], then the card of ``measure.unknown`` where there is one."""
    named = None if recipe.measure is None else recipe.measure.unknown
    other = [] if named is None else [{"name": named, "size": recipe.data.size}]
    return [recipe.data, *map(DataTable.model_validate, other)]


def plan(
    recipe: Recipe,
    *,
    data_digest: str,
    machine: str,
    unknown_digests: Sequence[str] = (),
    stages: Mapping[str, Entry] = STAGES,
) -> list[Node]:
    """Nodes in the order in which they run: stage by stage, arm by arm.

    Args:
        recipe: validated.
        data_digest: of the data's source files, or of the renderer.
        machine: names this machine; part of the key of what is timed.
        unknown_digests: of the files of ``measure.unknown``, where it names a card.
        stages: registry whose versions count.
    """
    nodes: list[Node] = []

    def add(
        stage: str, arm: str, table: dict[str, Any], inputs: dict[str, str], *, name: str = "", extra: str = ""
    ) -> str:
        node = Node(name or stage, stage, arm, table, inputs, recipe.seed, stages[stage].version, extra)
        nodes.append(node)
        return node.name

    add("data", "", _dump(recipe.data), {}, extra=data_digest)
    shown: dict[str, str] = {}  # to every arm's deployed engine, besides its own data
    if recipe.engine is not None and recipe.measure is not None and recipe.measure.unknown is not None:
        table = {"name": recipe.measure.unknown, "size": recipe.data.size, "n": recipe.measure.unknown_n}
        shown["unknown"] = add("unknown", "", table, {"data": "data"}, extra=" ".join(unknown_digests))
    networks = {"natural": add("train", "natural", _train_table(recipe), {"data": "data"})}
    if recipe.refine is not None:
        inputs = {"data": "data", "network": networks["natural"]}
        networks["refined"] = add("refine", "refined", {**_refine_table(recipe), "cells": "lime"}, inputs)
        if recipe.refine.control == "random_masks":
            # The control flags as many cells as LIME did, hence reads what LIME flagged.
            inputs = {**inputs, "twin_flags": networks["refined"]}
            table = {**_refine_table(recipe), "cells": "random"}
            networks["control"] = add("refine", "control", table, inputs, name="refine[control]")
    if recipe.prune is not None:
        inputs = {"data": "data", "network": networks.get("refined", networks["natural"])}
        if "refined" in networks:
            inputs["flags"] = networks["refined"]
        timed = machine if recipe.prune.latency_ms is not None else ""
        networks["pruned"] = add("prune", "pruned", _prune_table(recipe), inputs, extra=timed)

    cut = networks.get("pruned")
    if recipe.export is not None and recipe.export.qat_epochs:
        # The arm keeps its name; from here on its network, hence the twin of its files and probes, is this one.
        final = final_arm(recipe)
        networks[final] = add("qat", final, _qat_table(recipe), {"data": "data", "network": networks[final]})

    def per_arm(stage: str, tables: Mapping[str, dict[str, Any]], roles: tuple[str, ...], *, extra: str = "") -> None:
        common = {"data": "data", **(shown if stage == "measure" else {})}
        for arm, network in networks.items():
            filled = {**common, "network": network, **{role: f"{role}[{arm}]" for role in roles}}
            add(stage, arm, tables[arm], filled, name=f"{stage}[{arm}]", extra=extra)

    # What TensorRT builds, and hence what it answers, follows from the machine; ONNX Runtime's answers do not.
    built_on = machine if recipe.engine is not None and recipe.engine.runtime == "tensorrt" else ""
    if recipe.export is not None:
        per_arm("export", {arm: _export_table(recipe, arm) for arm in networks}, ())
    if recipe.export is not None and recipe.engine is not None:
        table = {**_dump(recipe.engine), "min_agreement": recipe.export.min_agreement}
        if recipe.export.saliency == "gradient" or recipe.export.min_fidelity is not None:
            table["min_fidelity"] = recipe.export.min_fidelity
        per_arm("engine", dict.fromkeys(networks, table), ("export",), extra=built_on)
    if recipe.engine is not None and recipe.measure is not None:
        measure = _measure_table(recipe)
        probed = {k: v for k, v in measure.items() if not k.startswith(("corruption", "metrics"))}
        if "randomisation" in measure.get("metrics", ()):
            probed["cascade_n"] = measure["metrics_n"]
        per_arm("probe", dict.fromkeys(networks, probed), ())
        table = {**measure, "engine": _dump(recipe.engine)}
        per_arm("measure", dict.fromkeys(networks, table), ("export", "probe"), extra=built_on)
        # On the test split, where nearly all runs measure, the tables do not name the split: their keys came first.
        split = {k: v for k, v in measure.items() if k == "split"}
        table = {**_dump(recipe.engine), **split}
        per_arm("latency", dict.fromkeys(networks, table), ("export",), extra=machine)
        if recipe.measure.ledger_n:
            final = final_arm(recipe)
            followed = [arm for arm in networks if arm != "control"]
            filled = {"data": "data", f"export[{final}]": f"export[{final}]"}
            filled |= {f"network[{arm}]": networks[arm] for arm in followed}
            filled |= {f"probe[{arm}]": f"probe[{arm}]" for arm in followed}
            add("ledger", "", _ledger_table(recipe), filled, extra=built_on)
        read = [node.name for node in nodes if node.stage in ("qat", "engine", "measure", "latency", "ledger")]
        gate = {} if recipe.gate is None else _dump(recipe.gate)
        decided = {**gate, **split, "final_arm": final_arm(recipe)}
        pruned = {} if cut is None else {"pruned": cut}
        add("compare", "", decided, {"data": "data", **pruned, **{name: name for name in read}})
    return nodes


def _dump(table: Any) -> dict[str, Any]:
    dumped: dict[str, Any] = table.model_dump(mode="json")
    return dumped


def _measure_table(recipe: Recipe) -> dict[str, Any]:
    """What is measured; keys that came later are absent where they ask for nothing, so that stored results stay."""
    table = _dump(recipe.measure)
    off = [] if "apgd" in table["attacks"] else ["apgd_steps", "apgd_n"]
    off += [] if {"patch", "sticker"} & set(table["attacks"]) else ["patch_n", "patch_area", "patch_steps"]
    off += [] if table["corruptions"] else ["corruptions", "corruption_severities", "corruption_n"]
    off += [] if table["strong_eps"] else ["strong_eps"]
    off += [] if table["stability_n"] else ["stability_n"]
    off += [] if table["metrics"] else ["metrics", "metrics_n"]
    off += [] if table["split"] != "test" else ["split"]
    off += ["ledger_n", "unknown", "unknown_n"]  # stages of their own look at them
    return {k: v for k, v in table.items() if k not in off}


def _ledger_table(recipe: Recipe) -> dict[str, Any]:
    """What the drift ledger makes itself; all else it reads from the stages before."""
    measure, final = _dump(recipe.measure), final_arm(recipe)
    table = {name: measure[name] for name in ("ledger_n", "lime_samples")}
    table |= {"engine": _dump(recipe.engine), "export": _export_table(recipe, final), "final_arm": final}
    table["method"] = recipe.train.method
    return table if recipe.prune is None else {**table, "prune": _prune_table(recipe)}


def _train_table(recipe: Recipe) -> dict[str, Any]:
    unused = recipe.train.undecided() | ({"precision"} if recipe.train.precision == "fp32" else set())
    unused |= set() if recipe.train.shuffle_labels else {"shuffle_labels"}
    kept = {key: value for key, value in _dump(recipe.train).items() if key not in unused}
    return {**kept, "model": _model_table(recipe)}


def _model_table(recipe: Recipe) -> dict[str, Any]:
    """Of a network of the user's own also what its files are: a change there trains anew."""
    model = recipe.model
    own = {} if model.factory is None else network_digests(model.factory, model.weights)
    return {**_dump(model), **own}


def _recipe_of_batches(recipe: Recipe) -> dict[str, Any]:
    """How later training draws its batches: as the natural training did."""
    train = recipe.train
    names = ("augment", "label_smoothing", "weight_average", *(("precision",) if train.precision != "fp32" else ()))
    return {name: getattr(train, name) for name in names}


def _refine_table(recipe: Recipe) -> dict[str, Any]:
    table = {**_recipe_of_batches(recipe), **_dump(recipe.refine)}
    del table["control"]
    return table


def _prune_table(recipe: Recipe) -> dict[str, Any]:
    prune = recipe.prune
    if prune is None:
        return {}
    # Of the keys that decide, those that came later are absent where they have their default: old keys stay.
    fields, first = (
        type(prune).model_fields,
        ("method", "importance", "round_to", "finetune_epochs", "augment_strength"),
    )
    kept = set(fields) - prune.undecided()
    dumped = {k: v for k, v in _dump(prune).items() if k in kept}
    settings = (*first, "batch_size", "lr", "weight_decay")
    table = {k: v for k, v in dumped.items() if k in settings or v != fields[k].default}
    table |= {**prune.targets(), **_recipe_of_batches(recipe)}
    if recipe.refine is not None:
        table["refine"] = _refine_table(recipe)
    elif recipe.train.method != "natural" or (prune.method == "masked" and prune.when == "before"):
        table["train"] = _train_table(recipe)
    if prune.latency_ms is not None:
        table["search"] = 3  # raised when the search chooses otherwise; other prunings need not be made again
    if prune.latency_ms is not None and recipe.export is not None:
        table["engine"] = {"opset": recipe.export.opset, "saliency": recipe.export.saliency}
    return table


def _qat_table(recipe: Recipe) -> dict[str, Any]:
    """Batches as the training drew them, at 1 % of its learning rate; calibration as the export will have it."""
    if recipe.export is None:
        return {}
    export, train = recipe.export, recipe.train
    table = {name: getattr(export, name) for name in ("qat_epochs", "opset", "calibration_images", "calibration")}
    table |= {name: getattr(train, name) for name in ("batch_size", "augment", "augment_strength")}
    return {**table, "lr": train.lr / 100}


def _export_table(recipe: Recipe, arm: str) -> dict[str, Any]:
    table = _dump(recipe.export)
    del table["min_agreement"], table["min_fidelity"], table["qat_epochs"]
    calibration = {"calibration_images": table.pop("calibration_images"), "calibration": table.pop("calibration")}
    if table["precision"] == "int8" and arm == final_arm(recipe):
        if calibration["calibration"] == "max":
            del calibration["calibration"]  # it came later: old keys stay
        return {**table, **calibration, "flavours": ["fp32", "int8-tensorrt", "int8-x86"]}
    if table["precision"] == "fp16" and arm == final_arm(recipe):
        return {**table, "flavours": ["fp32", "fp16"]}
    return {**table, "precision": "fp32", "flavours": ["fp32"]}
