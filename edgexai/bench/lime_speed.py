"""Our LIME on an engine against the ``lime`` package as its users run it, and against the bare forward passes.

Both explain the same images for one label each, with the same grid of segments and as many masks. The package gets
the torch network (eval mode, no gradient), its own batch of 10, and shows its progress bar to nobody. With a null
model, which answers at once, what is left is what each adds to the passes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from edgexai.bench.lime_equal import lime_at_equal_agreement
from edgexai.bench.lime_package import missing_package, package_lime, package_lime_of
from edgexai.bench.line import Line, Seconds, interleave, ratio_line
from edgexai.bench.workshop import CLASSES, SEED, Workshop
from edgexai.explain.lime import lime
from edgexai.explain.segment import grid
from edgexai.types import Images, Labels, Logits, Predict, Segments

_BATCH, _PACKAGE_BATCH = 64, 10
_AIM_PACKAGE, _AIM_BARE, _AIM_NULL = ">= 3", "<= 1.2", ">= 12"
_NULL = "lime package / ours, with a null model: what each adds to the passes"


def lime_over_package(workshop: Workshop) -> list[Line]:
    """Six lines: fp32 and int8-x86, over the package and over bare passes; a null model's; one at equal agreement.

    Those with the package are skipped without it.
    """
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
    missing = missing_package()
    if not missing:
        sides["package"] = lambda: package_lime(net, images, targets, segments=segments, n_samples=n_samples)
        sides["package null"] = lambda: package_lime_of(
            null_classify, images, targets, segments=segments, n_samples=n_samples
        )
        sides["ours null"] = ours(null_predict)
    for flavour, engine in engines.items():
        sides |= {f"ours {flavour}": ours(engine), f"bare {flavour}": bare(engine)}
    times = interleave(sides, rounds=settings.rounds)
    return [*_lines(times, workshop, missing), lime_at_equal_agreement(workshop, missing=missing)]


def null_predict(images: Images) -> Logits:
    """Logits that are ready, whatever the images show; they differ, so that the surrogate has something to fit."""
    return _ANSWERS[: len(images)]


def null_classify(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same for the package: probabilities of at most its batch of 10."""
    return _SHARES[: len(images)]


_ANSWERS: Logits = np.random.default_rng(SEED).normal(size=(_BATCH, CLASSES)).astype(np.float32)
_SHARES: NDArray[np.float32] = (
    np.random.default_rng(SEED).dirichlet(np.ones(CLASSES), _PACKAGE_BATCH).astype(np.float32)
)


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
        aim = _AIM_PACKAGE if main else ""
        if missing:
            lines.append(Line("lime", what, None, threads=threads, aim=aim, reason=missing))
        else:
            lines.append(
                ratio_line(
                    "lime",
                    what,
                    times["package"],
                    times[f"ours {flavour}"],
                    threads=threads,
                    method=f"{common} Over: lime package, torch network, batch 10 (its default). Under: {ours}.",
                    aim=aim,
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
                aim=_AIM_BARE if main else "",
            )
        )
    if missing:
        lines.append(Line("lime", _NULL, None, threads=threads, aim=_AIM_NULL, reason=missing))
    else:
        lines.append(
            ratio_line(
                "lime",
                _NULL,
                times["package null"],
                times["ours null"],
                threads=threads,
                method=f"{common} Both get answers that were made before. Over: lime package, batch 10. Under: ours, "
                f"batch {_BATCH}.",
                aim=_AIM_NULL,
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
