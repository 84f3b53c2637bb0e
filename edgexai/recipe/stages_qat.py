"""The qat stage: the network that will be deployed, fine-tuned through the rounding of its int8 file for the board.

What comes out is a network like any other and takes the place of the one that went in: it is the twin of the files that
are exported from it, and of the probes. What went in is compared with it here, on validation images, and nowhere else.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgexai.data import pack
from edgexai.engine.onnx_runtime import OnnxRuntimeEngine
from edgexai.engine.twin import Twin
from edgexai.errors import MissingCapability
from edgexai.export import FLAVOURS
from edgexai.export.rounding import input_steps
from edgexai.measure.accuracy import logits_of
from edgexai.measure.rows import accuracy_row
from edgexai.models import store
from edgexai.models.base import Network
from edgexai.models.cost import macs, parameters
from edgexai.prune.masked import held
from edgexai.recipe.job import Job
from edgexai.recipe.stages_export import calibrated
from edgexai.train.detect import stratified
from edgexai.train.fake_quantise import fake_quantised
from edgexai.train.quantised import QuantisedSettings, fit_quantised
from edgexai.types import Images, Logits, Row

_BOARD = "int8-tensorrt"
_BATCH = 500


def qat(job: Job) -> None:
    """Trains, and keeps what the int8 file decides before and after."""
    found, table = pack.read(job.inputs["data"]), job.table
    if job.device == "cuda" and not torch.cuda.is_available():
        raise MissingCapability("--device cuda: torch sees no CUDA device here", next_step="use --device cpu")
    net = store.load(job.inputs["network"], device=job.device)
    train, val = found.splits["train"], found.splits["val"]
    index = stratified(train.labels, table["calibration_images"], np.random.default_rng([job.seed, 21]))
    images = train.take(index).as_float()
    fp32 = job.work / "fp32.onnx"
    _to_fp32(net, fp32, table["opset"])
    # the ranges that the export stage will take; it judges again, on the network that this stage leaves
    method = calibrated(job, net, val, fp32, images)

    def file_of(network: Network) -> Path:
        path = job.work / f"{_BOARD}.onnx"
        _to_fp32(network, fp32, table["opset"])
        FLAVOURS[_BOARD].load()(fp32, path, flavour=_BOARD, images=images, metadata={}, calibration=method)
        return path

    given, labels = val.as_float(), val.labels
    float_before = logits_of(Twin(net, device=job.device), given)
    before = logits_of(OnnxRuntimeEngine(file_of(net)), given)
    settings = QuantisedSettings(
        epochs=table["qat_epochs"],
        batch_size=table["batch_size"],
        lr=table["lr"],
        augment=table["augment"],
        augment_strength=table["augment_strength"],
    )
    with held(net, _zeros(net)):  # weights that pruning masked stay masked
        fit_quantised(
            net,
            train,
            settings=settings,
            calibrate=lambda network: input_steps(file_of(network)),
            seed=job.seed,
            work=job.work,
            progress=job.progress,
        )
    path = file_of(net)
    run = OnnxRuntimeEngine(path)
    after, float_after = logits_of(run, given), logits_of(Twin(net, device=job.device), given)
    imitated = _imitated(net, given, input_steps(path))
    decided = {
        ("accuracy", "before", "labels"): before.argmax(1) == labels,
        ("accuracy", "after", "labels"): after.argmax(1) == labels,
        ("agreement", "before", "network before"): before.argmax(1) == float_before.argmax(1),
        ("agreement", "after", "network before"): after.argmax(1) == float_before.argmax(1),
        ("agreement", "after", "network after"): after.argmax(1) == float_after.argmax(1),
        ("agreement", "after", "fake quantisation"): after.argmax(1) == imitated.argmax(1),
    }
    rows: list[Row] = []
    for (what, when, against), same in decided.items():
        detail: dict[str, str | int | float] = {"qat": when, "against": against}
        words: dict[str, Any] = {"arm": job.arm, "artefact": _BOARD, "subject": "engine", "split": "val"}
        rows.append(accuracy_row(same, **words, metric=f"qat_{what}", detail=detail, runtime=run.runtime))
    store.save(net, job.out)
    (job.out / "rows.jsonl").write_text("".join(row.to_json() + "\n" for row in rows))
    summary: dict[str, Any] = {"macs": macs(net), "parameters": parameters(net), "calibration": method, "n": len(val)}
    summary |= {f"qat_{w} {when}, {against}": float(same.mean()) for (w, when, against), same in decided.items()}
    (job.out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")


def _to_fp32(net: Network, path: Path, opset: int) -> None:
    # without a saliency output: it changes no rounding, and would wrap the network and rename its weights
    FLAVOURS["fp32"].load()(net, path, opset=opset, saliency="none", metadata={})


def _zeros(net: Network) -> dict[str, torch.Tensor]:
    """Which weights are not zero, of the layers that hold zeros."""
    layers = {f"{name}.weight": m for name, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    keep = {name: layer.get_parameter("weight").detach() != 0 for name, layer in layers.items()}
    return {name: kept for name, kept in keep.items() if not kept.all()}


def _imitated(net: Network, images: Images, steps: dict[str, float]) -> Logits:
    device = net.mean.device
    with torch.no_grad():
        parts = [
            fake_quantised(net, torch.from_numpy(images[k : k + _BATCH]).to(device), steps).cpu().numpy()
            for k in range(0, len(images), _BATCH)
        ]
    logits: Logits = np.concatenate(parts)
    return logits
