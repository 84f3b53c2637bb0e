"""Stages that end in a network or its files: data, train, refine, prune, export.

Each reads a stage's inputs and settings, calls one room, and writes the result; no decision is taken here.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgexai.config.recipe import DataTable, pixels
from edgexai.data import pack
from edgexai.data.dataset import Dataset
from edgexai.data.load import load as load_dataset
from edgexai.errors import MissingCapability
from edgexai.export import FLAVOURS
from edgexai.export.exportable import check_exportable
from edgexai.export.lint import refuse_unfit
from edgexai.models import store
from edgexai.models.arch import Arch, OwnFactory
from edgexai.models.base import Network
from edgexai.models.cost import macs, parameters
from edgexai.models.own import OwnNetwork
from edgexai.models.own_weights import load_own_weights
from edgexai.prune.matched import fit_matched
from edgexai.recipe.job import Job
from edgexai.recipe.stages_export import calibrated
from edgexai.recipe.stages_prune import pruned
from edgexai.train import METHODS as TRAIN_METHODS
from edgexai.train.adversarial import AdversarialSettings
from edgexai.train.advprop import AdvPropSettings
from edgexai.train.detect import DetectSettings, Flags, stratified
from edgexai.train.flag_file import read_flags, write_flags
from edgexai.train.lime_refined import RefineSettings, control_flags
from edgexai.train.lime_refined import refine as refine_network
from edgexai.train.loop import LoopSettings
from edgexai.train.parallel import ALONE
from edgexai.train.perturb import Adversary
from edgexai.train.shuffled import shuffled_labels
from edgexai.train.validate import twin_accuracy
from edgexai.types import Split

_EXAMPLES = 12
_HELD_TO_FP16 = 256


def data(job: Job) -> None:
    """Decodes or renders once; the pack is what every later stage reads."""
    table = DataTable.model_validate(dict(job.table))
    found = load_dataset(table, seed=job.seed, data_root=job.data_root, progress=job.progress)
    pack.write(found, job.out)


def train(job: Job) -> None:
    """A network from scratch."""
    found = _data(job)
    model, size = job.table["model"], found.splits["train"].images.shape[1]
    widths = tuple(model["widths"] or store.default_widths(model["name"]))
    own = _own(model)
    arch = Arch(model["name"], widths, len(found.classes), size, found.mean, found.std, own)
    net = store.build(arch, seed=job.seed)
    if isinstance(net, OwnNetwork) and own is not None:
        if model["weights"] is not None:
            load_own_weights(net, own, Path(model["weights"]).expanduser(), sha256=model["weights_sha256"])
        check_exportable(net)
    net.to(_device(job))
    fit = TRAIN_METHODS[job.table["method"]].load()
    shuffled = bool(job.table.get("shuffle_labels"))
    seen = shuffled_labels(found.splits["train"], seed=job.seed) if shuffled else found.splits["train"]
    scores = fit(
        net,
        seen,
        found.splits["val"],
        settings=_train_settings(job.table, job.table["epochs"]),
        seed=job.seed,
        work=job.work,
        progress=job.progress,
        team=job.team or ALONE,
    )
    store.save(net, job.out)
    summary = {**scores, "macs": macs(net), "parameters": parameters(net)}
    if shuffled:  # how much of it was learnt by heart: a network that learnt nothing is no control
        summary["shuffled_train_acc"] = twin_accuracy(net, seen)
    _write(job.out / "summary.json", summary)


def refine(job: Job) -> None:
    """LIME-guided refinement, or its control with random cells of equal number."""
    found, net = _data(job), store.load(job.inputs["network"], device=_device(job))
    given: list[Flags] = []
    detection: DetectSettings | None = _detect_settings(job.table)
    if job.table["cells"] == "random":
        twin_flags = [read_flags(job.inputs["twin_flags"], k) for k in range(job.table["rounds"])]
        given, detection = control_flags([f for f in twin_flags if f is not None], seed=job.seed), None
    flags = refine_network(
        net,
        found.splits["train"],
        found.splits["val"],
        settings=_refine_settings(job.table),
        detection=detection,
        seed=job.seed,
        work=job.work,
        progress=job.progress,
        given=given,
        team=job.team or ALONE,
    )
    store.save(net, job.out)
    for k, found_flags in enumerate(flags):
        write_flags(job.out, k, found_flags)
    if flags:  # none where neither masks nor the regulariser read them
        _refine_pictures(job, found.splits["train"], flags)
    _write(job.out / "summary.json", {"macs": macs(net), "parameters": parameters(net)})


def prune(job: Job) -> None:
    """Channels removed or weights masked, then trained with the losses, and the flags, of the network itself.

    All but the sensitivity term: its scale is set by the first batch's gradients, and those of a network that has just
    lost half its channels are so small that the term would then hold the training down.
    """
    found, dense, table = _data(job), store.load(job.inputs["network"], device=_device(job)), job.table
    train_split, val = found.splits["train"], found.splits["val"]

    def fit(net: Network, *, epochs: int, work: Path, seed: int) -> None:
        """As the recipe trains, in the recipe's own epochs where 0 is given."""
        own = table["train"] if not epochs else {**table["train"], **_pace(table)}
        settings = _train_settings(own, epochs or own["epochs"])
        loop = TRAIN_METHODS[own["method"]].load()
        loop(net, train_split, val, settings=settings, seed=seed, work=work, progress=job.progress)

    def tune(net: Network, *, epochs: int, work: Path, seed: int) -> None:
        if "refine" in table:
            last = [read_flags(job.inputs["flags"], k) for k in range(table["refine"]["rounds"])]
            changed = {"rounds": 1, "epochs": epochs, "sensitivity_weight": 0.0, **_pace(table)}
            if "adversarial_weight" in table:
                changed["adversarial_weight"] = table["adversarial_weight"]
            refine_network(
                net,
                train_split,
                val,
                settings=_refine_settings({**table["refine"], **changed}),
                detection=None,
                seed=seed,
                work=work,
                progress=job.progress,
                given=[f for f in last if f is not None][-1:],
            )
        elif "train" in table:
            fit(net, epochs=epochs, work=work, seed=seed)
        else:
            fit_matched(
                net,
                dense,
                train_split,
                val,
                settings=_natural_settings(table, epochs),
                attribution_weight=table.get("attribution_weight", 0.0),
                seed=seed,
                work=work,
                progress=job.progress,
            )

    net, summary = pruned(
        dense,
        table,
        train_split,
        seed=job.seed,
        work=job.work,
        tune=tune,
        fit=fit if "train" in table else None,
        progress=job.progress,
    )
    store.save(net, job.out)
    _write(job.out / "summary.json", summary)


def export(job: Job) -> None:
    """The ONNX files of one network: fp32, and where asked fp16 or both int8 flavours of one calibration.

    Those for the board are held against TensorRT's operators.
    """
    net, table = store.load(job.inputs["network"]), job.table
    found = _data(job)
    metadata = {
        "edgexai.arch": json.dumps(net.arch.to_json(), sort_keys=True),
        "edgexai.classes": json.dumps(list(found.classes)),
        "edgexai.data": found.name,
        "edgexai.weights_sha256": json.loads((job.inputs["network"] / "meta.json").read_text())["files"][
            "weights.safetensors"
        ]["sha256"],
        "edgexai.git_commit": _git_commit(),
    }
    fp32 = job.out / "fp32.onnx"
    FLAVOURS["fp32"].load()(
        net, fp32, opset=table["opset"], saliency=table["saliency"], metadata={**metadata, "edgexai.artefact": "fp32"}
    )
    refuse_unfit(fp32)
    others = [name for name in table["flavours"] if name != "fp32"]
    if "fp16" in others:
        seen = stratified(found.splits["train"].labels, _HELD_TO_FP16, np.random.default_rng([job.seed, 22]))
        given = found.splits["train"].take(seen).as_float()
        FLAVOURS["fp16"].load()(fp32, job.out / "fp16.onnx", metadata={"edgexai.artefact": "fp16"}, images=given)
        refuse_unfit(job.out / "fp16.onnx")
    if "int8-tensorrt" not in others:
        return
    train_split = found.splits["train"]
    index = stratified(train_split.labels, table["calibration_images"], np.random.default_rng([job.seed, 21]))
    images = train_split.take(index).as_float()
    calibration = calibrated(job, net, found.splits["val"], fp32, images)
    for name in others:
        FLAVOURS[name].load()(
            fp32,
            job.out / f"{name}.onnx",
            flavour=name,
            images=images,
            metadata={"edgexai.artefact": name},
            calibration=calibration,
        )
        if name == "int8-tensorrt":
            refuse_unfit(job.out / f"{name}.onnx")
        job.progress({"what": "quantise", "done": others.index(name) + 1, "total": len(others)})


def _data(job: Job) -> Dataset:
    return pack.read(job.inputs["data"])


def _own(model: Mapping[str, Any]) -> OwnFactory | None:
    """Where a network of the user's own comes from; None for edgexai's."""
    if model["name"] != "own":
        return None
    return OwnFactory(model["factory"], model["factory_sha256"], model["feature_map"])


def _device(job: Job) -> str:
    if job.device == "cuda" and not torch.cuda.is_available():
        raise MissingCapability("--device cuda: torch sees no CUDA device here", next_step="use --device cpu")
    return job.device


def _train_settings(table: Mapping[str, Any], epochs: int) -> LoopSettings | AdversarialSettings | AdvPropSettings:
    """Of the table's method; keys that decide nothing are not in the table."""
    plain = _natural_settings(table, epochs)
    if table["method"] == "natural":
        return plain
    step = table["attack_step"]
    adversary = Adversary(
        pixels(table["eps"]),
        norm=table["norm"],
        steps=table.get("attack_steps", 1),
        step=None if step is None else pixels(step),
    )
    if table["method"] == "advprop":
        return AdvPropSettings(plain, adversary, adversarial_weight=table["adversarial_weight"])
    return AdversarialSettings(
        plain,
        adversary,
        trades=table["attack"] == "trades",
        clean_weight=table.get("clean_weight", 1.0),
        adversarial_weight=table["adversarial_weight"],
        patience=table["patience"],
    )


def _natural_settings(table: Mapping[str, Any], epochs: int) -> LoopSettings:
    return LoopSettings(
        epochs=epochs,
        batch_size=table["batch_size"],
        lr=table["lr"],
        weight_decay=table["weight_decay"],
        label_smoothing=table["label_smoothing"],
        weight_average=table["weight_average"],
        augment=table["augment"],
        augment_strength=table["augment_strength"],
        precision=table.get("precision", "fp32"),
    )


def _refine_settings(table: Mapping[str, Any]) -> RefineSettings:
    return RefineSettings(
        rounds=table["rounds"],
        epochs=table["epochs"],
        batch_size=table["batch_size"],
        lr=table["lr"],
        weight_decay=table["weight_decay"],
        mask_probability=table["mask_probability"],
        replace=table["replace"],
        sensitivity_weight=table["sensitivity_weight"],
        adversarial_weight=table["adversarial_weight"],
        eps=pixels(table["eps"]),
        augment=table["augment"],
        augment_strength=table["augment_strength"],
        label_smoothing=table["label_smoothing"],
        weight_average=table["weight_average"],
        precision=table.get("precision", "fp32"),
    )


def _detect_settings(table: Mapping[str, Any]) -> DetectSettings:
    names = DetectSettings.__dataclass_fields__
    return DetectSettings(**{name: table[name] for name in names})


def _pace(table: Mapping[str, Any]) -> dict[str, Any]:
    return {name: table[name] for name in ("batch_size", "lr", "weight_decay")}


def _refine_pictures(job: Job, split: Split, flags: list[Flags]) -> None:
    """A few explained images with what LIME saw and what was flagged, round by round."""
    grid = int(job.table["grid"])
    # images explained in every round, spread over the classes; what differs between rounds is then the network
    common = flags[0].explained
    for f in flags[1:]:
        common = np.intersect1d(common, f.explained)
    source = common if len(common) else flags[0].explained
    shown = source[np.linspace(0, len(source) - 1, min(_EXAMPLES, len(source))).astype(int)]
    used = [f for f in flags if np.isin(shown, f.explained).all()]
    places = [np.searchsorted(f.explained, shown) for f in used]
    folder = job.out / "pictures"
    folder.mkdir()
    np.savez_compressed(
        folder / f"refine_{job.arm}.npz",
        images=split.images[shown],
        labels=split.labels[shown],
        importance=np.stack([f.importance[p].reshape(-1, grid, grid) for f, p in zip(used, places, strict=True)]),
        flagged=np.stack([f.flagged[p].reshape(-1, grid, grid) for f, p in zip(used, places, strict=True)]),
        class_frequency=np.stack([f.class_frequency.reshape(-1, grid, grid) for f in flags]),
    )


def _git_commit() -> str:
    """Of the code that runs, or "unknown" outside a checkout."""
    here = Path(__file__).resolve().parent
    command = ["git", "-C", str(here), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


def _write(path: Path, data: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(dict(data), indent=1) + "\n")
