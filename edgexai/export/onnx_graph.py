"""A twin as one self-contained ONNX file: dynamic batch, batch norm folded, metadata inside."""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import onnx
import torch
from onnxruntime.quantization.shape_inference import quant_pre_process

from edgexai.export.gradient_head import add_gradient
from edgexai.export.saliency_head import WithCam
from edgexai.models.base import Network


def export_onnx(net: Network, path: Path, *, opset: int, saliency: str, metadata: Mapping[str, str]) -> None:
    """Writes ``path``.

    Inputs: "images" float32 (batch,3,H,W) in [0,1]. Outputs: "logits" (batch,K), and with ``saliency="cam"`` or
    ``"gradient"`` the winning class's "saliency" (batch,H,W).

    Args:
        opset: 18 to 20: what TensorRT 10.3 and newer parse.
        saliency: "cam" (see ``saliency_head``), "gradient" (see ``gradient_head``) or "none".
        metadata: written into the file's metadata properties.
    """
    model = copy.deepcopy(net).cpu().eval()
    module = WithCam(model) if saliency == "cam" else model
    example = (torch.zeros(2, 3, net.arch.size, net.arch.size),)
    names = ["logits", "saliency"] if saliency == "cam" else ["logits"]
    quiet = io.StringIO()  # the exporter narrates its steps on standard output
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), redirect_stdout(quiet), redirect_stderr(quiet):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            example,
            dynamo=True,
            opset_version=opset,
            input_names=["images"],
            output_names=names,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
        if program is None:
            raise RuntimeError("the exporter returned nothing")
        program.optimize()
        program.save(str(path), external_data=False)
        # constants folded and shapes inferred now, so that the quantiser sees the graph the runtime will fuse
        quant_pre_process(str(path), str(path), skip_symbolic_shape=True)
    if saliency == "gradient":
        onnx.save(add_gradient(onnx.load(path)), path)
        metadata = {**metadata, "edgexai.saliency": saliency}
    write_metadata(path, metadata)


def write_metadata(path: Path, metadata: Mapping[str, str]) -> None:
    """Sets metadata properties and drops the exporter's traces of this machine; checks the file."""
    model = onnx.load(path)
    kept = {p.key: p.value for p in model.metadata_props if p.key.startswith("edgexai.")}
    del model.metadata_props[:]
    for key, value in sorted((kept | dict(metadata)).items()):
        model.metadata_props.add(key=key, value=value)
    for node in model.graph.node:
        del node.metadata_props[:]  # stack traces with local paths
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
