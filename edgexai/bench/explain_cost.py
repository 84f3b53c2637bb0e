"""What the explainers cost beside what they cannot do without: the black-box kind against its bare forward passes, the
gradient kind against Captum alone. The same network, images and batches on both sides, in turn, in one run.

Every line's detail also tells forwards, backwards and ms per image: the method table.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from captum.attr import InputXGradient, Saliency

from edgexai.bench.line import Line, interleave, ratio_line
from edgexai.bench.workshop import SEED, Workshop
from edgexai.explain.gradient import vanilla_gradient
from edgexai.explain.input_gradient import input_x_gradient
from edgexai.explain.kernelshap import kernelshap
from edgexai.explain.map_result import MapResult
from edgexai.explain.occlusion import occlusion
from edgexai.explain.rise import rise
from edgexai.explain.segment import grid
from edgexai.types import Images, Labels, Logits, Predict

_BATCH, _GRADIENT_IMAGES = 256, 64


def explain_over_passes(workshop: Workshop) -> list[Line]:
    """Three lines of the black-box kind on the fp32 engine, two of the gradient kind on the twin."""
    return [*_black_box(workshop), *_gradient(workshop)]


def _black_box(workshop: Workshop) -> list[Line]:
    settings = workshop.settings
    engine = workshop.engine("signnet", flavour="fp32", threads=workshop.threads)
    images = workshop.noise(settings.lime_images)
    targets: Labels = engine(images).argmax(1)
    cells, samples = grid(images.shape[2], settings.lime_cells), settings.lime_samples

    def run_rise(predict: Predict) -> MapResult:
        return rise(predict, images, targets, seed=SEED, n_masks=samples, batch_size=_BATCH)

    def run_occlusion(predict: Predict) -> MapResult:
        return occlusion(predict, images, targets, window=4, stride=1, batch_size=_BATCH)

    def run_shap(predict: Predict) -> MapResult:
        return kernelshap(
            predict, images, targets, segments=cells, seed=SEED, n_samples=max(samples, 512), batch_size=_BATCH
        )

    lines = []
    for name, method in (("rise", run_rise), ("occlusion", run_occlusion), ("kernelshap", run_shap)):
        sizes: list[int] = []

        def recorded(batch: Images, sizes: list[int] = sizes) -> Logits:
            sizes.append(len(batch))
            return engine(batch)

        method(recorded)
        ready = workshop.noise(max(sizes))
        sides: dict[str, Callable[[], object]] = {
            "ours": lambda method=method: method(engine),  # type: ignore[misc]
            "bare": lambda sizes=sizes, ready=ready: [engine(ready[:size]) for size in sizes],  # type: ignore[misc]
        }
        times = interleave(sides, rounds=settings.rounds)
        per_image = float(sorted(times["ours"])[len(times["ours"]) // 2]) * 1000 / len(images)
        lines.append(
            ratio_line(
                "explain",
                f"{name} / its bare forward passes, onnxruntime fp32",
                times["ours"],
                times["bare"],
                threads=workshop.threads,
                method=f"signnet, {len(images)} image(s) a round, {sum(sizes) // len(images)} passes an image, batch "
                f"{_BATCH}. Under: the same engine on ready batches, as many and as large.",
                aim="<= 1.2",
                detail={"forwards": sum(sizes) // len(images), "backwards": 0, "ms_per_image": per_image},
            )
        )
    return lines


def _gradient(workshop: Workshop) -> list[Line]:
    net = workshop.net("signnet")
    pixels = torch.from_numpy(workshop.noise(_GRADIENT_IMAGES))
    with torch.no_grad():
        targets = net(pixels).argmax(1)

    def captum(kind: type[Saliency] | type[InputXGradient]) -> object:
        return kind(net).attribute(pixels.clone().requires_grad_(True), target=targets)

    lines = []
    for name, ours, theirs in (
        ("vg", vanilla_gradient, Saliency),
        ("ixg", input_x_gradient, InputXGradient),
    ):
        sides: dict[str, Callable[[], object]] = {
            "ours": lambda ours=ours: ours(net, pixels, targets),  # type: ignore[misc]
            "captum": lambda theirs=theirs: captum(theirs),  # type: ignore[misc]
        }
        times = interleave(sides, rounds=workshop.settings.rounds)
        per_image = float(sorted(times["ours"])[len(times["ours"]) // 2]) * 1000 / _GRADIENT_IMAGES
        lines.append(
            ratio_line(
                "explain",
                f"{name} / Captum's {theirs.__name__} alone, torch",
                times["ours"],
                times["captum"],
                threads=workshop.threads,
                method=f"signnet, {_GRADIENT_IMAGES} images in one batch on both sides; ours also checks its input "
                "(one pass of one image) and sums the channels.",
                aim="<= 1.1",
                detail={"forwards": 1, "backwards": 1, "ms_per_image": per_image},
            )
        )
    return lines
