"""What a saliency output costs: files of one network with and without it, in the same runtime, in turn."""

from __future__ import annotations

from edgexai.bench.line import Line, ratio_line
from edgexai.bench.workshop import Workshop
from edgexai.engine.onnx_runtime import OnnxRuntimeEngine
from edgexai.export.onnx_graph import export_onnx
from edgexai.measure.latency import compare_latency
from edgexai.types import Images, Logits, Predict

_OPSET = 18
_AIMS = {("signnet", "cam"): "<= 1.07", ("resnet18", "cam"): "<= 1.07", ("resnet18", "gradient"): "<= 3"}


def saliency_over_plain(workshop: Workshop) -> list[Line]:
    """Per network: CAM and gradient, at batch 1 and a large batch, single thread."""
    lines = []
    settings = workshop.settings
    for name in settings.networks:
        calls = {saliency: _call(workshop, name, saliency) for saliency in ("none", "cam", "gradient")}
        for batch in (1, settings.large_batch):
            repeats = settings.single_repeats if batch == 1 else settings.batch_repeats
            times = compare_latency(calls, workshop.noise(batch), batch=batch, warmup=2, repeats=max(2, repeats))
            for saliency in ("cam", "gradient"):
                lines.append(
                    ratio_line(
                        "saliency",
                        f"with {saliency} / logits alone, {name}, batch {batch}",
                        times[saliency].times_ms / 1000,
                        times["none"].times_ms / 1000,
                        threads=1,
                        aim=_AIMS.get((name, saliency), ""),
                        method=(
                            f"{name}, untrained, onnxruntime fp32, calls of all files in turn. Over: logits and "
                            f'saliency = "{saliency}". Under: saliency = "none".'
                        ),
                        detail={"batch": batch},
                    )
                )
    return lines


def _call(workshop: Workshop, name: str, saliency: str) -> Predict:
    path = workshop.folder / f"{name}.saliency-{saliency}.onnx"
    if not path.is_file():
        export_onnx(workshop.net(name), path, opset=_OPSET, saliency=saliency, metadata={})
    engine = OnnxRuntimeEngine(path, threads=1)
    if saliency == "none":
        return engine

    def both(images: Images) -> Logits:
        return engine.with_saliency(images)[0]

    return both
