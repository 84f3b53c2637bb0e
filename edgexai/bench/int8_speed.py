"""What int8 saves on this processor: fp32 latency over int8 latency, single thread, both int8 flavours."""

from __future__ import annotations

from edgexai.bench.line import Line, ratio_line
from edgexai.bench.workshop import Workshop
from edgexai.measure.latency import compare_latency

_AIMS = {"int8-x86": ">= 1.8", "int8-tensorrt": ""}


def int8_over_fp32(workshop: Workshop) -> list[Line]:
    """Per network: batch 1 and a large batch, for each flavour."""
    lines = []
    settings = workshop.settings
    for name in settings.networks:
        engines = {f: workshop.engine(name, flavour=f, threads=1) for f in ("fp32", *_AIMS)}
        for batch in (1, settings.large_batch):
            repeats = settings.single_repeats if batch == 1 else settings.batch_repeats
            times = compare_latency(engines, workshop.noise(batch), batch=batch, warmup=2, repeats=max(2, repeats))
            for flavour, aim in _AIMS.items():
                board = " (the board's file; not made for x86)" if flavour == "int8-tensorrt" else ""
                lines.append(
                    ratio_line(
                        "int8",
                        f"fp32 / {flavour}, {name}, batch {batch}",
                        times["fp32"].times_ms / 1000,
                        times[flavour].times_ms / 1000,
                        threads=1,
                        aim=aim,
                        method=(
                            f"{name}, untrained, calibrated on noise, onnxruntime CPU with CAM output, calls of all "
                            f"engines in turn. Over: fp32. Under: {flavour}{board}."
                        ),
                        detail={"batch": batch},
                    )
                )
    return lines
