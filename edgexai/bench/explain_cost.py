"""What the explainers cost beside what they cannot do without: the black-box kind against its bare forward passes, the
gradient kind against Captum alone. The same network, images and batches on both sides, in turn, in one run.

Every line's detail also tells forwards, backwards and ms per image: the method table.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from captum.attr import GradientShap, InputXGradient, IntegratedGradients, NoiseTunnel, Saliency
from torch import Tensor

from edgexai.bench.line import Line, interleave, ratio_line
from edgexai.bench.workshop import SEED, Workshop
from edgexai.explain.gradient import vanilla_gradient
from edgexai.explain.gradient_shap import gradient_shap
from edgexai.explain.input_gradient import input_x_gradient
from edgexai.explain.integrated import integrated_gradients
from edgexai.explain.kernelshap import kernelshap
from edgexai.explain.map_result import MapResult
from edgexai.explain.occlusion import occlusion
from edgexai.explain.rise import rise
from edgexai.explain.segment import grid
from edgexai.explain.smooth import smoothgrad
from edgexai.models.base import Network
from edgexai.types import Images, Labels, Logits, Predict

_BATCH, _GRADIENT_IMAGES = 64, 64
_POINTS = {"ig": 50, "smoothgrad": 25, "gradshap": 50}
"""Points where the gradient is taken for one image: our defaults."""


def explain_over_passes(workshop: Workshop) -> list[Line]:
    """Three lines of the black-box kind on the fp32 engine, five of the gradient kind on the twin."""
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
    """Captum gets the same points in batches of the same size: as many images at a time as ours takes."""
    net = workshop.net("signnet")
    pixels = torch.from_numpy(workshop.noise(_GRADIENT_IMAGES))
    with torch.no_grad():
        targets = net(pixels).argmax(1)
    greys = torch.tensor([0.0, 0.5, 1.0]).view(-1, 1, 1, 1).expand(-1, *pixels.shape[1:]).contiguous()
    captum = captum_attributions(net, greys)
    ours: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "vg": lambda x, k: vanilla_gradient(net, x, k),
        "ixg": lambda x, k: input_x_gradient(net, x, k),
        "ig": lambda x, k: integrated_gradients(net, x, k, steps=_POINTS["ig"], batch_size=_BATCH),
        "smoothgrad": lambda x, k: smoothgrad(net, x, k, n_samples=_POINTS["smoothgrad"], batch_size=_BATCH),
        "gradshap": lambda x, k: gradient_shap(net, x, k, n_samples=_POINTS["gradshap"], batch_size=_BATCH),
    }
    lines = []
    for name, (kind, attribute) in captum.items():
        points = _POINTS.get(name, 1)
        n = _GRADIENT_IMAGES if points == 1 else workshop.settings.gradient_images
        images, labels, together = pixels[:n], targets[:n], max(1, _BATCH // points)
        sides: dict[str, Callable[[], object]] = {
            "ours": lambda name=name, images=images, labels=labels: ours[name](images, labels),  # type: ignore[misc]
            "captum": lambda a=attribute, x=images, k=labels, m=together: [  # type: ignore[misc]
                a(x[i : i + m].clone().requires_grad_(True), k[i : i + m]) for i in range(0, len(x), m)
            ],
        }
        times = interleave(sides, rounds=workshop.settings.rounds)
        per_image = float(sorted(times["ours"])[len(times["ours"]) // 2]) * 1000 / n
        lines.append(
            ratio_line(
                "explain",
                f"{name} / Captum's {kind} alone, torch",
                times["ours"],
                times["captum"],
                threads=workshop.threads,
                method=f"signnet, {n} images of {points} point(s) each, {min(n, together)} images a batch on both "
                "sides; ours also checks its input (one pass of one image) and sums the channels"
                + (", and tells its sampling error and completeness." if name == "gradshap" else "."),
                aim="<= 1.1",
                detail={"forwards": points, "backwards": points, "ms_per_image": per_image},
            )
        )
    return lines


def captum_attributions(net: Network, baselines: Tensor) -> dict[str, tuple[str, Callable[[Tensor, Tensor], Tensor]]]:
    """Method -> Captum's name of it, and its call with our default settings: (images, targets) -> (N,3,H,W).

    Args:
        net: in eval mode.
        baselines: (B,3,H,W), of GradientSHAP.
    """
    saliency, tunnel = Saliency(net), NoiseTunnel(Saliency(net))
    times, integrated, shap = InputXGradient(net), IntegratedGradients(net), GradientShap(net)
    calls: dict[str, tuple[str, Callable[[Tensor, Tensor], Tensor]]] = {
        "vg": ("Saliency", lambda x, k: saliency.attribute(x, target=k)),
        "ixg": ("InputXGradient", lambda x, k: times.attribute(x, target=k)),
        "ig": ("IntegratedGradients", lambda x, k: integrated.attribute(x, target=k, n_steps=_POINTS["ig"])),
        "smoothgrad": (
            "NoiseTunnel",
            lambda x, k: tunnel.attribute(
                x, nt_type="smoothgrad", nt_samples=_POINTS["smoothgrad"], stdevs=0.15, target=k
            ),
        ),
        "gradshap": (
            "GradientShap",
            lambda x, k: shap.attribute(x, baselines=baselines, n_samples=_POINTS["gradshap"], stdevs=0.0, target=k),
        ),
    }
    return calls
