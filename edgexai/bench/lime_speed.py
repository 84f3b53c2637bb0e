"""Our LIME on an engine against the ``lime`` package as its users run it, and against the bare forward passes.

Both explain the same images for one label each, with the same grid of segments and as many masks. The package gets
the torch network (eval mode, no gradient), its own batch of 10, and shows its progress bar to nobody.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stderr
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgexai.bench.line import Line, Seconds, interleave, ratio_line
from edgexai.bench.workshop import SEED, Workshop
from edgexai.explain.lime import lime
from edgexai.explain.segment import grid
from edgexai.models.base import Network
from edgexai.types import Images, Labels, Logits, Predict, Segments

_BATCH = 256


def package_lime(
    net: Network, images: Images, targets: Labels, *, segments: Segments, n_samples: int
) -> NDArray[np.float64]:
    """Coefficients (N,S) from the ``lime`` package with the torch network.

    Raises:
        ImportError: the package is not installed.
    """
    explainer_class: Any = import_module("lime.lime_image").LimeImageExplainer

    def classify(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            pixels = torch.from_numpy(np.ascontiguousarray(batch.transpose(0, 3, 1, 2)))
            shares: NDArray[np.float32] = net(pixels).softmax(1).numpy()
        return shares

    coefficients = np.zeros((len(images), int(segments.max()) + 1))
    for index, (image, target) in enumerate(zip(images, targets.tolist(), strict=True)):
        explainer = explainer_class(random_state=SEED)
        with redirect_stderr(io.StringIO()):
            found = explainer.explain_instance(
                image.transpose(1, 2, 0),
                classify,
                labels=(target,),
                top_labels=None,
                num_samples=n_samples,
                segmentation_fn=lambda _: segments,
            )
        for segment, value in found.local_exp[target]:
            coefficients[index, segment] = value
    return coefficients


def lime_over_package(workshop: Workshop) -> list[Line]:
    """Four lines: fp32 and int8-x86 engine, over the package and over bare passes; or skipped lines without it."""
    settings, threads = workshop.settings, workshop.threads
    net, images = workshop.net("signnet"), workshop.noise(settings.lime_images)
    with torch.inference_mode():
        targets: Labels = net(torch.from_numpy(images)).argmax(1).numpy()
    segments, n_samples = grid(images.shape[2], settings.lime_cells), settings.lime_samples
    engines = {f: workshop.engine("signnet", flavour=f, threads=threads) for f in ("fp32", "int8-x86")}
    sizes = _batch_sizes(engines["fp32"], images, targets, segments, n_samples)
    ready = workshop.noise(max(sizes))

    def ours(predict: Predict) -> Callable[[], object]:
        return lambda: lime(
            predict, images, targets, segments=segments, n_samples=n_samples, seed=SEED, batch_size=_BATCH
        )

    def bare(predict: Predict) -> Callable[[], object]:
        return lambda: [predict(ready[:size]) for size in sizes]

    sides: dict[str, Callable[[], object]] = {}
    missing = _missing()
    if not missing:
        sides["package"] = lambda: package_lime(net, images, targets, segments=segments, n_samples=n_samples)
    for flavour, engine in engines.items():
        sides |= {f"ours {flavour}": ours(engine), f"bare {flavour}": bare(engine)}
    times = interleave(sides, rounds=settings.rounds)
    return _lines(times, workshop, missing)


def _lines(times: dict[str, Seconds], workshop: Workshop, missing: str) -> list[Line]:
    settings, threads = workshop.settings, workshop.threads
    common = (
        f"signnet, {settings.lime_images} image(s) a round, {settings.lime_cells**2} grid segments, "
        f"{settings.lime_samples} masks an image, one label."
    )
    lines = []
    for flavour in ("fp32", "int8-x86"):
        main = flavour == "fp32"
        what = f"lime package on torch / ours on onnxruntime {flavour}"
        ours = f"ours: all images in one call, batch {_BATCH}, onnxruntime {flavour}"
        if missing:
            lines.append(Line("lime", what, None, threads=threads, aim=">= 2.5" if main else "", reason=missing))
        else:
            lines.append(
                ratio_line(
                    "lime",
                    what,
                    times["package"],
                    times[f"ours {flavour}"],
                    threads=threads,
                    method=f"{common} Over: lime package, torch network, batch 10 (its default). Under: {ours}.",
                    aim=">= 2.5" if main else "",
                )
            )
        lines.append(
            ratio_line(
                "lime",
                f"ours / bare forward passes, onnxruntime {flavour}",
                times[f"ours {flavour}"],
                times[f"bare {flavour}"],
                threads=threads,
                method=f"{common} Over: {ours}. Under: the same engine on ready batches, as many and as large.",
                aim="<= 1.25" if main else "",
            )
        )
    return lines


def _batch_sizes(predict: Predict, images: Images, targets: Labels, segments: Segments, n_samples: int) -> list[int]:
    """Sizes of the batches that our LIME hands to the engine."""
    sizes: list[int] = []

    def recorded(batch: Images) -> Logits:
        sizes.append(len(batch))
        return predict(batch)

    lime(recorded, images, targets, segments=segments, n_samples=n_samples, seed=SEED, batch_size=_BATCH)
    return sizes


def _missing() -> str:
    """Why the package cannot be run here; "" where it can."""
    try:
        import_module("lime.lime_image")
    except ImportError as error:
        return f'the lime package is not here ({error}); pip install "edgexai[reference]"'
    return ""
