"""What stands behind the prune stage: cut or mask, with training loops and the engine handed in where they belong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from edgexai.config.recipe import PruneTable, pixels
from edgexai.models import store
from edgexai.models.base import Network
from edgexai.models.cost import macs, parameters
from edgexai.prune import LOOK_AT_IMAGES
from edgexai.prune.channel import prune_channels
from edgexai.prune.evidence import Evidence
from edgexai.prune.masked import held, mask_weights, masked_sparsity
from edgexai.prune.target import LatencyTarget
from edgexai.recipe.stages_prune_latency import EngineLatency
from edgexai.train.detect import stratified
from edgexai.types import Progress, Split


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


def cut_again(dense: Network, table: Mapping[str, Any], split: Split, *, seed: int) -> Network | None:
    """The pruned network as it was before its fine-tuning: the same cut of the same weights.

    Returns:
        The network; None where it was never there: masks from the start, training between cuts, or a search by latency.
    """
    settings = PruneTable.model_validate({k: v for k, v in table.items() if k in PruneTable.model_fields})
    if settings.method == "masked":
        if settings.when == "before":
            return None
        return mask_weights(
            dense, scope=settings.scope, amount=settings.amount, amount_linear=settings.amount_linear
        )[0].eval()  # fmt: skip
    if (settings.steps > 1 and settings.step_epochs) or "latency_ms" in settings.targets():
        return None

    def between(net: Network, step: int) -> None:
        """Nothing was trained between the steps."""

    return _narrowed(dense, settings, split, seed=seed, latency=None, between=between)[0].eval()


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
        engine = table.get("engine", {"opset": 18, "saliency": "none"})
        measure = EngineLatency(dense, work=work, opset=engine["opset"], saliency=engine["saliency"], progress=progress)
        latency = LatencyTarget(target["latency_ms"], measure)

    def between(net: Network, step: int) -> None:
        if settings.step_epochs:
            tune(net, epochs=settings.step_epochs, work=work / f"step{step}", seed=seed + 1 + step)

    return _narrowed(dense, settings, split, seed=seed, latency=latency, between=between)


def _narrowed(
    dense: Network,
    settings: PruneTable,
    split: Split,
    *,
    seed: int,
    latency: LatencyTarget | None,
    between: Callable[[Network, int], None],
) -> tuple[Network, float | None]:
    """The cut itself, and the latency that was found, if one was asked for."""
    target = settings.targets()
    evidence = None
    if settings.importance in LOOK_AT_IMAGES:
        index = stratified(split.labels, settings.score_images, np.random.default_rng([seed, 31]))
        evidence = Evidence(split.take(index), eps=pixels(settings.eps))
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
