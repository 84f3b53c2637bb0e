"""The ledger stage: the network at every step from training to the rebuilt engine, on the same images.

Steps: the trained network, refined, pruned as cut, fine-tuned; then the final arm's files, and the deployed one made
again from the weights. Twins explain with all explainers of the recipe; a file explains with LIME and with its own
saliency output, since it has no gradients.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgexai.data import pack
from edgexai.data.dataset import Dataset
from edgexai.engine import RUNTIMES
from edgexai.engine.twin import Twin
from edgexai.explain import EXPLAINERS, KINDS
from edgexai.explain.lime import lime
from edgexai.export import FLAVOURS
from edgexai.measure.accuracy import logits_of
from edgexai.measure.drifted import drifted
from edgexai.measure.ledger import OWN_SEED, REBUILDING, Step, ledger_rows
from edgexai.models import store
from edgexai.models.base import Network
from edgexai.probe.probe_set import ProbeSet, read_probes
from edgexai.recipe.job import Job
from edgexai.recipe.stages_export import saliency_of
from edgexai.recipe.stages_prune import cut_again
from edgexai.train.detect import stratified
from edgexai.types import Labels, Maps, Predict, Row

_ARMS = ("natural", "refined", "pruned")
_FILES = ("fp32", "fp16", "int8-tensorrt", "int8-x86")
_LIME = 64
"""Images with LIME's maps: as many as the probes hold of the twin."""
_REBUILDS = 2
_HELD_TO_FP16 = 512
_OTHER_SEED = 1


def ledger(job: Job) -> None:
    """Rows of every step beside the noise floors, and pictures of the signs whose maps moved most."""
    found = pack.read(job.inputs["data"])
    final = str(job.table["final_arm"])
    probes = {arm: read_probes(job.inputs[f"probe[{arm}]"]) for arm in _ARMS if f"probe[{arm}]" in job.inputs}
    n = min(int(job.table["ledger_n"]), len(probes[final].targets))
    given = probes[final]
    told = _Progress(job)
    steps = list(_twins(job, found, probes, n=n, told=told))
    steps += _files(job, found, given, twin=steps[-1].name, n=n, told=told)
    steps += _other_seed(job, found, given, steps, n=n, told=told)
    split = str(given.settings["split"])
    rows = [*ledger_rows(steps, given.labels, seed=job.seed, split=split), *_left_out(job, steps)]
    (job.out / "rows.jsonl").write_text("".join(row.to_json() + "\n" for row in rows))
    images = found.splits[split].take(given.index[:n]).images
    arrays: dict[str, Any] = drifted(steps, images, given.labels[:n])
    if arrays:
        (job.out / "pictures").mkdir()
        np.savez_compressed(job.out / "pictures" / f"drift_{final}.npz", **arrays)


class _Progress:
    """One event a step; how many there will be follows from the inputs."""

    def __init__(self, job: Job) -> None:
        self._job, self._done = job, 0

    def __call__(self, name: str) -> None:
        self._done += 1
        self._job.progress({"what": f"ledger: {name}", "done": self._done})


def _twins(
    job: Job, found: Dataset, probes: dict[str, ProbeSet], *, n: int, told: Callable[[str], None]
) -> Iterator[Step]:
    before = ""
    for arm, held in probes.items():
        name = {"natural": str(job.table["method"]), "pruned": "fine-tuned"}.get(arm, arm)
        dense = ""
        if arm == "pruned":
            untuned = not job.table["prune"].get("finetune_epochs", 1) or job.table["prune"].get("when") == "before"
            if untuned:
                name = "pruned"
            elif (cut := _cut(job, found)) is not None:
                twin = Twin(cut, device=job.device)
                logits = logits_of(twin, held.images)
                maps = _maps(job, found, twin.net, twin, held, logits[:n].argmax(1), seed=job.seed)
                told("pruned")
                yield Step("pruned", arm, "twin", "twin", twin.runtime, logits, maps, before)
                before, dense = "pruned", before
        runtime = Twin(store.load(job.inputs[f"network[{arm}]"]), device=job.device).runtime
        maps = {explainer: values[:n] for explainer, values in held.maps.items()}
        told(name)
        yield Step(name, arm, "twin", "twin", runtime, held.logits, maps, before, dense)
        before = name


def _cut(job: Job, found: Dataset) -> Network | None:
    """The pruned network before its fine-tuning, cut again as the prune stage did; None where training lay between."""
    last = "refined" if "network[refined]" in job.inputs else "natural"
    dense = store.load(job.inputs[f"network[{last}]"], device=job.device)
    net = cut_again(dense, job.table["prune"], found.splits["train"], seed=job.seed)
    final = store.load(job.inputs["network[pruned]"])
    return net if net is not None and net.arch.widths == final.arch.widths else None


def _files(
    job: Job, found: Dataset, given: ProbeSet, *, twin: str, n: int, told: Callable[[str], None]
) -> Iterator[Step]:
    """The final arm's files in the order in which they are made, then the deployed one made again."""
    folder = job.inputs[f"export[{job.table['final_arm']}]"]
    tensorrt = job.table["engine"]["runtime"] == "tensorrt"
    names = [name for name in _FILES if (folder / f"{name}.onnx").is_file() and not (tensorrt and name == "int8-x86")]
    deployed = next(name for name in ("int8-tensorrt", "fp16", "fp32") if name in names)
    for name in names:
        before = twin if name == "fp32" else "fp32"
        yield _file_step(job, found, given, folder / f"{name}.onnx", name, before, "" if before == twin else twin, n=n)
        told(name)
    for draw, path in enumerate(_rebuilt(job, found, folder, deployed), start=1):
        name = f"rebuilt {draw}"
        step = _file_step(job, found, given, path, name, deployed, "", n=n)
        told(name)
        yield replace(step, artefact=deployed, floor=REBUILDING)


def _file_step(
    job: Job, found: Dataset, given: ProbeSet, path: Path, name: str, before: str, twin: str, *, n: int
) -> Step:
    start: Callable[..., Any] = RUNTIMES[job.table["engine"]["runtime"]].load()
    run = start(path, device=job.device, threads=job.table["engine"]["threads"])
    logits = logits_of(run, given.images)
    maps: dict[str, Maps] = {}
    if "saliency" in run.outputs and saliency_of(run) in given.maps:
        maps[saliency_of(run)] = run.with_saliency(given.images[:n])[1]
    if "lime" in given.maps:
        maps["lime"] = _lime(job, found, run, given, logits.argmax(1), seed=job.seed)
    return Step(name, str(job.table["final_arm"]), name, "engine", run.runtime, logits, maps, before, twin)


def _rebuilt(job: Job, found: Dataset, folder: Path, artefact: str) -> Iterator[Path]:
    """The deployed file made again from the weights; what is drawn for it is drawn anew, in int8 more than once."""
    net, table = store.load(job.inputs[f"network[{job.table['final_arm']}]"]), job.table["export"]
    fp32, split = job.work / "fp32.onnx", found.splits["train"]
    FLAVOURS["fp32"].load()(net, fp32, opset=table["opset"], saliency=table["saliency"], metadata={})
    if artefact == "fp32":
        yield fp32
        return
    summary = folder / "summary.json"
    method = json.loads(summary.read_text())["calibration"] if summary.is_file() else table.get("calibration", "max")
    for draw in range(_REBUILDS if artefact.startswith("int8") else 1):
        # the export's own draw is [seed, 21] of int8 and [seed, 22] of fp16
        kept = table.get("calibration_images", _HELD_TO_FP16)
        index = stratified(split.labels, kept, np.random.default_rng([job.seed, 23, draw]))
        images, path = split.take(index).as_float(), job.work / f"{artefact}_{draw}.onnx"
        if artefact == "fp16":
            FLAVOURS["fp16"].load()(fp32, path, metadata={}, images=images)
        else:
            FLAVOURS[artefact].load()(fp32, path, flavour=artefact, images=images, metadata={}, calibration=method)
        yield path


def _other_seed(
    job: Job, found: Dataset, given: ProbeSet, steps: list[Step], *, n: int, told: Callable[[str], None]
) -> Iterator[Step]:
    """The final twin, and the deployed file, explained again with another seed: nothing but the explainer differs."""
    final = str(job.table["final_arm"])
    twin_step = next(step for step in reversed(steps) if step.subject == "twin")
    twin = Twin(store.load(job.inputs[f"network[{final}]"]), device=job.device)
    seed = job.seed + _OTHER_SEED
    gradient = [name for name in given.maps if KINDS[name] == "gradient"]
    maps = _maps(job, found, twin.net, twin, given, given.targets[:n], seed=seed, only=gradient)
    told(OWN_SEED)
    name = "own seed (twin)"
    yield Step(
        name, final, "twin", "twin", twin_step.runtime, twin_step.logits, maps, twin_step.name, floor=OWN_SEED
    )  # fmt: skip
    engine = next(s for name in ("int8-tensorrt", "fp16", "fp32") for s in steps if s.name == name)
    if "lime" not in engine.maps:
        return
    start: Callable[..., Any] = RUNTIMES[job.table["engine"]["runtime"]].load()
    path = job.inputs[f"export[{final}]"] / f"{engine.name}.onnx"
    run = start(path, device=job.device, threads=job.table["engine"]["threads"])
    again = {"lime": _lime(job, found, run, given, engine.logits.argmax(1), seed=seed)}
    told(OWN_SEED)
    yield Step(
        "own seed", final, engine.artefact, "engine", engine.runtime, engine.logits, again, engine.name, floor=OWN_SEED
    )  # fmt: skip


def _maps(
    job: Job,
    found: Dataset,
    net: Network,
    predict: Predict,
    given: ProbeSet,
    targets: Labels,
    *,
    seed: int,
    only: list[str] | None = None,
) -> dict[str, Maps]:
    """A twin's maps, made as the probes' are."""
    maps: dict[str, Maps] = {}
    images = torch.from_numpy(given.images[: len(targets)]).to(job.device)
    labels = torch.from_numpy(targets).to(job.device)
    for name in given.maps if only is None else only:
        if KINDS[name] == "gradient":
            maps[name] = EXPLAINERS[name].load()(net, images, labels, seed=seed).cpu().numpy().astype(np.float32)
        elif name == "lime":
            maps[name] = _lime(job, found, predict, given, targets, seed=seed)
    return maps


def _lime(job: Job, found: Dataset, predict: Predict, given: ProbeSet, targets: Labels, *, seed: int) -> Maps:
    some = min(_LIME, int(job.table["ledger_n"]), len(given.maps["lime"]))
    return lime(
        predict,
        given.images[:some],
        targets[:some],
        segments=given.segments,
        n_samples=job.table["lime_samples"],
        seed=seed,
        fill=found.mean,
    ).maps


def _left_out(job: Job, steps: list[Step]) -> list[Row]:
    """A row for the cut network where it could not be had: skipped is not passed."""
    tuned = "prune" in job.table and any(step.name == "fine-tuned" for step in steps)
    if not tuned or any(step.name == "pruned" for step in steps):
        return []
    reason = "the network was trained between its cuts, or cut to a latency: there is no cut network without training"
    row = Row("pruned", "twin", "twin", "step_acc", None, "fraction", 0, detail={"step": "pruned"}, status="skipped")
    return [replace(row, reason=reason)]
