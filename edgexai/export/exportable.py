"""Asks before training whether a network of the user's own can become an ONNX file; afterwards is too late."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from edgexai.errors import UserError
from edgexai.export.lint import refuse_unfit
from edgexai.export.onnx_graph import export_onnx
from edgexai.models.base import Network

_OPSET = 18
_CLOSE = 1e-3


def check_exportable(net: Network) -> None:
    """Exports ``net`` to a file that is thrown away, and runs it on one image and on five.

    Raises:
        UserError: the exporter cannot follow the network, TensorRT would not take the file, or it computes otherwise.
    """
    what = net.arch.own.factory if net.arch.own is not None else net.arch.name
    images = np.random.default_rng(0).random((5, 3, net.arch.size, net.arch.size), dtype=np.float32)
    with torch.no_grad():
        wanted = net.eval()(torch.from_numpy(images).to(net.mean.device)).cpu().numpy()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trial.onnx"
        try:
            export_onnx(net, path, opset=_OPSET, saliency="none", metadata={})
            run = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            parts = [run.run(["logits"], {"images": images[part]})[0] for part in (slice(0, 1), slice(0, 5))]
        except Exception as error:
            # the exporter wraps what stopped it in instructions for people who write exporters
            cause = error.__cause__ or error
            said = str(cause).strip().splitlines()
            raise UserError(
                f"{what}: cannot be exported to ONNX with any number of images in a batch",
                problems=(f"{type(cause).__name__}: {said[0] if said else ''}",),
                next_step="write its forward with torch operations on the whole batch: no branches on values, no fixed "
                "batch size",
            ) from error
        refuse_unfit(path)
    scale = _CLOSE * (1 + float(np.abs(wanted).max()))
    for part in parts:
        if part.shape != wanted[: len(part)].shape or np.abs(part - wanted[: len(part)]).max() > scale:
            raise UserError(
                f"{what}: as ONNX it computes other logits than in PyTorch",
                next_step="look for steps whose result depends on the number of images or on random draws",
            )
