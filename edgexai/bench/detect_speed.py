"""Time of a LIME round of training over its own forward passes: masks, masked images, surrogates, rules, class maps.

Over stands ``train.detect.detect`` itself, with the gradients of its sensitivity rule; under stand its forward passes
alone, on ready batches, as many and as large, in the layout that the convolutions like best.
"""

from __future__ import annotations

import numpy as np
import torch

from edgexai.bench.line import Line, interleave, ratio_line
from edgexai.bench.workshop import CLASSES, SEED, Workshop
from edgexai.models.base import Network
from edgexai.train.detect import DetectSettings, detect
from edgexai.types import Split

_REPEATS, _CLASSES = 2, 4


def detection(workshop: Workshop) -> tuple[Split, DetectSettings]:
    """A few classes of the training split, and how they are explained: as a recipe does by default, fewer images."""
    settings, train = workshop.settings, workshop.dataset.splits["train"]
    part = train.take(np.flatnonzero(train.labels < _CLASSES))
    found = DetectSettings(
        grid=settings.lime_cells,
        n_images=settings.detect_images,
        n_samples=settings.detect_samples,
        repeats=_REPEATS,
        relevance="none",
        importance_quantile=0.8,
        sensitivity_quantile=0.8,
        instability=0.5,
        max_flagged=0.25,
        class_frequency=0.3,
    )
    return part, found


def forward_sizes(net: Network, split: Split, settings: DetectSettings) -> list[int]:
    """Sizes of the batches that ``detect`` passes forward without a gradient."""
    sizes: list[int] = []

    def note(module: torch.nn.Module, given: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        if torch.is_inference_mode_enabled():
            sizes.append(len(given[0]))

    hook = net.register_forward_hook(note)
    try:
        detect(net, split, classes=CLASSES, settings=settings, seed=SEED)
    finally:
        hook.remove()
    return sizes


def detect_over_passes(workshop: Workshop) -> list[Line]:
    """One line: signnet, a round of detection over its forward passes."""
    net = workshop.net("signnet").to(memory_format=torch.channels_last)
    split, settings = detection(workshop)
    sizes = forward_sizes(net, split, settings)
    ready = torch.from_numpy(workshop.noise(max(sizes))).contiguous(memory_format=torch.channels_last)

    def bare() -> None:
        with torch.inference_mode():
            for size in sizes:
                net(ready[:size])

    times = interleave(
        {"round": lambda: detect(net, split, classes=CLASSES, settings=settings, seed=SEED), "bare": bare},
        rounds=workshop.settings.rounds,
    )
    return [
        ratio_line(
            "detect",
            f"LIME round / its forward passes, signnet, {workshop.dataset.name}",
            times["round"],
            times["bare"],
            threads=workshop.threads,
            aim="<= 1.2",
            method=(
                f"signnet, untrained, {settings.n_images} images of {workshop.dataset.name}, {settings.grid**2} cells, "
                f"{settings.n_samples} masks, {settings.repeats} draws. Over: explain and detect, sensitivity "
                "gradients included. Under: the same forward passes in torch on batches that lie in memory."
            ),
            detail={"forward_images": sum(sizes), "forward_passes": len(sizes), "data": workshop.dataset.name},
        )
    ]
