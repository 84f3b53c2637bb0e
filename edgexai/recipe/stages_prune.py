"""What stands behind the prune stage: cut or mask, with training loops and the engine handed in where they belong."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from edgexai.config.recipe import PruneTable, pixels
from edgexai.engine.onnx_runtime import OnnxRuntimeEngine
from edgexai.export.onnx_graph import export_onnx
from edgexai.measure.latency import latency_ms
from edgexai.models import store
from edgexai.models.base import Network
from edgexai.models.cost import macs, parameters
from edgexai.prune import LOOK_AT_IMAGES
from edgexai.prune.channel import prune_channels
from edgexai.prune.evidence import Evidence
from edgexai.prune.masked import held, mask_weights, masked_sparsity
from edgexai.prune.target import LatencyTarget
from edgexai.train.detect import stratified
from edgexai.types import Progress, Split

_WARMUP, _REPEATS = 30, 300


class Tune(Protocol):
    """Trains a network in place."""

    def __call__(self, net: Network, *, epochs: int, work: Path, seed: int) -> None: ...


def pruned(
    dense: Network,
    table: Mapping[str, Any],
    split: Split,
    *,
    seed: int,
    work: Path,
    tune: Tune,
    fit: Tune | None,
    progress: Progress,
) -> tuple[Network, dict[str, Any]]:
    """The pruned and fine-tuned network, and what its summary says.

    Args:
        table: of the stage; keys of ``PruneTable`` that are absent have their default.
        split: training images.
        work: survives a kill: checkpoints and measured latencies.
        tune: fine-tuning.
        fit: training from scratch, for masks that come before it; ``epochs`` is then that of the recipe's own training.
    """
    settings = PruneTable.model_validate({k: v for k, v in table.items() if k in PruneTable.model_fields})
    summary: dict[str, Any] = {"masked_sparsity": 0.0}
    if settings.method == "masked":
        net, summary["masked_sparsity"] = _masked(dense, settings, seed=seed, work=work, tune=tune, fit=fit)
    else:
        net, took = _cut(dense, settings, table, split, seed=seed, work=work, tune=tune, progress=progress)
        if settings.finetune_epochs:
            tune(net, epochs=settings.finetune_epochs, work=work, seed=seed + 1)
        if took is not None:
            summary |= {"latency_ms": took, "latency_ms_wanted": settings.latency_ms}
    # masked weights are multiplied like all others: what they save is 0 MACs
    summary |= {"macs": macs(net), "macs_ratio": macs(net) / macs(dense), "macs_removed": macs(dense) - macs(net)}
    summary |= {"parameters": parameters(net), "parameter_ratio": parameters(net) / parameters(dense)}
    summary |= {"widths_before": list(dense.arch.widths), "widths_after": list(net.arch.widths)}
    return net, summary


def _masked(
    dense: Network, settings: PruneTable, *, seed: int, work: Path, tune: Tune, fit: Tune | None
) -> tuple[Network, float]:
    """The masked network and its share of zeros."""
    start = dense
    if settings.when == "before":
        start = store.build(dense.arch, seed=seed).to(dense.mean.device)  # what the natural arm started from
    net, keep = mask_weights(start, scope=settings.scope, amount=settings.amount, amount_linear=settings.amount_linear)
    if settings.when == "before":
        if fit is None:
            raise RuntimeError('masks from the start: the stage\'s table has no "train"')
        with held(net, keep):
            fit(net, epochs=0, work=work, seed=seed)
    elif settings.finetune_epochs:
        with held(net, keep):
            tune(net, epochs=settings.finetune_epochs, work=work, seed=seed + 1)
    return net.eval(), masked_sparsity(net, keep)


def _cut(
    dense: Network,
    settings: PruneTable,
    table: Mapping[str, Any],
    split: Split,
    *,
    seed: int,
    work: Path,
    tune: Tune,
    progress: Progress,
) -> tuple[Network, float | None]:
    """The narrow network before its last fine-tuning, and the latency that was found, if one was asked for."""
    target = settings.targets()
    latency = None
    if "latency_ms" in target:
        measure = _engine_ms(work, table.get("engine", {"opset": 18, "saliency": "none"}), progress)
        latency = LatencyTarget(target["latency_ms"], measure)
    evidence = None
    if settings.importance in LOOK_AT_IMAGES:
        index = stratified(split.labels, settings.score_images, np.random.default_rng([seed, 31]))
        evidence = Evidence(split.take(index), eps=pixels(settings.eps))

    def between(net: Network, step: int) -> None:
        if settings.step_epochs:
            tune(net, epochs=settings.step_epochs, work=work / f"step{step}", seed=seed + 1 + step)

    net, report = prune_channels(
        dense,
        importance=settings.importance,
        round_to=settings.round_to,
        seed=seed,
        macs_ratio=target.get("macs_ratio"),
        parameter_ratio=target.get("parameter_ratio"),
        latency=latency,
        scope=settings.scope,
        steps=settings.steps,
        evidence=evidence,
        between=between,
    )
    return net, report.latency_ms


def _engine_ms(work: Path, engine: Mapping[str, Any], progress: Progress) -> Callable[[Network], float]:
    """Network -> median ms of its fp32 engine, one image, one thread.

    A measurement is kept in ``work``: a run that is killed and started again must choose the same widths, or its
    checkpoint would not fit.
    """
    known_file = work / "latencies.json"

    def measure(net: Network) -> float:
        name = " ".join(map(str, net.arch.widths))
        known: dict[str, float] = json.loads(known_file.read_text()) if known_file.is_file() else {}
        if name not in known:
            path = work / "candidate.onnx"
            export_onnx(net, path, opset=engine["opset"], saliency=engine["saliency"], metadata={})
            size = net.arch.size
            images = np.random.default_rng(0).random((8, 3, size, size), dtype=np.float32)
            run = OnnxRuntimeEngine(path, threads=1)
            known[name] = latency_ms(run, images, batch=1, warmup=_WARMUP, repeats=_REPEATS).median_ms
            aside = work / "latencies.json.part"
            aside.write_text(json.dumps(known))
            aside.replace(known_file)
            progress(
                {"what": "latency", "done": len(known), "scalars": {"latency_ms": known[name]}, "step": len(known)}
            )
        return known[name]

    return measure
