"""What scoring maps costs beside the forward passes it cannot do without.

ROAD, deletion, insertion, LIME and the rest of ``replay_explanations`` on the int8 engine, for five gradient maps and
LIME, against the same batches alone.

The clock is processor time: both sides run in one thread, and other work on the machine does not enter.
"""

from __future__ import annotations

from time import process_time

import numpy as np

from edgexai.bench.line import Line, ratio_line
from edgexai.bench.workshop import SEED, SIZE, Workshop
from edgexai.explain.segment import grid
from edgexai.measure.replay import Replay, replay_explanations
from edgexai.measure.subject import Subject
from edgexai.probe.probe_set import ProbeSet
from edgexai.types import Images, Logits

_GRADIENT = ("vg", "ig", "smoothgrad", "gradcam", "ixg")
_GREY = (0.5, 0.5, 0.5)


def measurement_over_passes(workshop: Workshop) -> list[Line]:
    """One line: a whole scoring over its bare forward passes."""
    settings, n = workshop.settings, workshop.settings.measure_images
    engine = workshop.engine("signnet", flavour="int8-tensorrt", threads=workshop.threads)
    probes = _probes(workshop.noise(n), engine(workshop.noise(n)))
    sizes: list[int] = []

    def counted(batch: Images) -> Logits:
        sizes.append(len(batch))
        return engine(batch)

    rounds = max(2, settings.rounds // 3)
    over, under = np.empty(rounds), np.empty(rounds)
    for k in range(rounds):
        sizes.clear()
        before = process_time()
        replay_explanations(
            Subject(counted, "natural", "int8-tensorrt", "engine", engine.runtime),
            probes,
            {},
            explainers=(*_GRADIENT, "lime"),
            lime_samples=settings.lime_samples,
            fill=_GREY,
            seed=SEED,
            out=Replay(),
        )
        over[k] = process_time() - before
        ready = workshop.noise(max(sizes))
        before = process_time()
        for size in sizes:
            engine(ready[:size])
        under[k] = process_time() - before
    return [
        ratio_line(
            "measurement",
            "scoring maps / its bare forward passes, onnxruntime int8",
            over,
            under,
            threads=workshop.threads,
            method=f"signnet, {n} images, 6 explainers, random map and centre Gaussian; {sum(sizes)} passes. Under: "
            "the same engine on ready batches, as many and as large. Processor seconds.",
            aim="<= 1.4",
            detail={"images": n, "passes": sum(sizes), "calls": len(sizes)},
        )
    ]


def _probes(images: Images, logits: Logits) -> ProbeSet:
    n, rng = len(images), np.random.default_rng(SEED)
    relevance = np.zeros((n, SIZE, SIZE), np.bool_)
    relevance[:, 4:26, 6:24] = True
    maps = {name: rng.normal(size=(n, SIZE, SIZE)).astype(np.float32) for name in _GRADIENT}
    decided = logits.argmax(1).astype(np.int64)
    return ProbeSet(
        index=np.arange(n), images=images, labels=decided, relevance=relevance, logits=logits, attacked={}, maps=maps,
        targets=decided, segments=grid(SIZE, 8), settings={"split": "none", "seed": SEED},
    )  # fmt: skip
