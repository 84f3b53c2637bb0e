"""Whether removed MACs are saved time: latency ratio pruned/dense over MACs ratio, single thread, fp32 engine."""

from __future__ import annotations

from edgexai.bench.line import Line, ratio_line
from edgexai.bench.workshop import Workshop
from edgexai.measure.latency import compare_latency, throughput

_AIMS = {"resnet18": "<= 1.10", "signnet": "<= 1.25"}


def latency_over_macs(workshop: Workshop) -> list[Line]:
    """Two lines a network: batch 1, and the batch at which the dense network is fastest per image."""
    lines = []
    settings = workshop.settings
    for name in settings.networks:
        report = workshop.pruned(name)[1]
        dense, pruned = (workshop.engine(name, flavour="fp32", threads=1, pruned=flag) for flag in (False, True))
        images = workshop.noise(max(settings.batches))
        scan = throughput(dense, images, batches=settings.batches, warmup=1, repeats=2)
        best = max(scan, key=lambda batch: scan[batch].images_per_second)
        for batch in (1, best):
            repeats = settings.single_repeats if batch == 1 else settings.batch_repeats
            times = compare_latency(
                {"dense": dense, "pruned": pruned}, images, batch=batch, warmup=2, repeats=max(2, repeats)
            )
            lines.append(
                ratio_line(
                    "pruned",
                    f"latency ratio / MACs ratio, {name}, batch {batch}{'' if batch == 1 else ' (best)'}",
                    times["pruned"].times_ms / 1000,
                    times["dense"].times_ms / 1000,
                    threads=1,
                    divide_by=report.macs_ratio,
                    aim=_AIMS.get(name, ""),
                    method=(
                        f"{name}, untrained, {report.macs_before / 1e6:.2f} -> {report.macs_after / 1e6:.2f} M MACs by "
                        "channel pruning (group L2, widths in multiples of 16), onnxruntime fp32 with CAM output, "
                        "calls of both in turn."
                    ),
                    detail={
                        "macs_before": report.macs_before,
                        "macs_after": report.macs_after,
                        "macs_ratio": report.macs_ratio,
                        "widths_after": " ".join(map(str, report.widths_after)),
                        "batch": batch,
                    },
                )
            )
    return lines
