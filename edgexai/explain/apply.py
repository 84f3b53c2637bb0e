"""One call for every method: the same arguments, the same answer, whatever the method needs inside.

Torch is imported only for the kinds that need it, so the black-box kind and the baselines run where there is none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import MissingCapability, ShapeError, UserError
from edgexai.explain import EXPLAINERS, KINDS
from edgexai.explain.kernelshap import kernelshap
from edgexai.explain.lime_result import LimeResult
from edgexai.explain.map_result import MapResult
from edgexai.explain.occlusion import occlusion
from edgexai.explain.presets import lime_preset, preset_named, preset_segments
from edgexai.explain.rise import rise
from edgexai.explain.score import Score
from edgexai.types import Images, Labels, Maps, Predict, Segments

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class ExplainSettings:
    """What the methods are given beside the images.

    Attributes:
        preset: of LIME, whose segments KernelSHAP takes too.
        stability_seeds: LIME explanations that are compared; 0 = none.
        shap_samples: coalitions of KernelSHAP per image; rise_masks: masks of RISE.
        score: what the black-box kind explains.
        layer: of Grad-CAM, a submodule's name; None = its default.
        steps: of the optimised kind; None = each method's own.
        min_segments: fewer are refused.
        batch_size: images per pass.
    """

    preset: str = "fast"
    stability_seeds: int = 3
    shap_samples: int = 1024
    rise_masks: int = 2000
    score: Score = "probability"
    layer: str | None = None
    steps: int | None = None
    min_segments: int = 8
    batch_size: int = 64


@dataclass(frozen=True)
class Explanation:
    """One method's maps of N images, and what they cost.

    Attributes:
        method: key of ``EXPLAINERS``.
        maps: float32 (N,H,W); how to read them: ``conventions``.
        error: float64 (N,), what the method knows of its own error; NaN where it knows nothing.
        error_name: what that is; "" for nothing.
        forwards, backwards: images that passed the network, all N together.
        seconds: wall time of all N together.
        segments: of the segment methods.
        lime: LIME's whole result.
        detail: settings worth writing down.
    """

    method: str
    maps: Maps
    error: NDArray[np.float64]
    error_name: str
    forwards: int
    backwards: int
    seconds: float
    segments: Segments | None = None
    lime: LimeResult | None = None
    detail: dict[str, str | int | float] = field(default_factory=dict)


def check_method(name: str) -> None:
    """Raises UserError where there is no method of this name."""
    if name not in EXPLAINERS:
        near = get_close_matches(name, EXPLAINERS, n=1)
        raise UserError(
            f'method "{name}" is unknown' + (f'; did you mean "{near[0]}"?' if near else ""),
            next_step=f"some of: {', '.join(EXPLAINERS)}",
        )


def explain(
    method: str,
    images: Images,
    targets: Labels,
    *,
    predict: Predict,
    model: nn.Module | None = None,
    seed: int = 0,
    settings: ExplainSettings | None = None,
) -> Explanation:
    """Explains one class of each image with one method.

    Args:
        method: key of ``EXPLAINERS``.
        images: float32 (N,3,H,W) in [0,1]; not modified.
        targets: int64 (N,).
        predict: what the black-box kind asks.
        model: what the gradient and optimised kinds differentiate, in eval mode; None where there is no twin.
        seed: of whatever is drawn.
        settings: see ``ExplainSettings``; the defaults when None.

    Returns:
        The ``Explanation``.

    Raises:
        MissingCapability: the method needs gradients and there is no model.
        ShapeError, UserError: as the method.
    """
    check_method(method)
    settings = settings or ExplainSettings()
    started = perf_counter()
    kind = KINDS[method]
    nothing = np.full(len(images), np.nan)
    if kind in ("gradient", "optimised"):
        if model is None:
            able = [name for name, of in KINDS.items() if of in ("black_box", "baseline")]
            raise MissingCapability(
                f"{method} needs gradients, and an ONNX file has none",
                next_step=f"take one of {', '.join(able)}; or explain the run whose twin is here",
            )
        return _differentiated(method, images, targets, model=model, seed=seed, settings=settings, started=started)
    if kind == "baseline":
        if images.ndim != 4:
            raise ShapeError(f"images: {images.shape}; wanted (N,3,H,W)")
        return Explanation(method, _baseline(method, images, seed), nothing, "", 0, 0, perf_counter() - started)
    if method in ("lime", "kernelshap"):
        return _segmented(method, predict, images, targets, seed=seed, settings=settings, started=started)
    found: MapResult
    if method == "rise":
        detail: dict[str, str | int | float] = {"masks": settings.rise_masks, "fill": "black"}
        found = rise(
            predict,
            images,
            targets,
            seed=seed,
            n_masks=settings.rise_masks,
            score=settings.score,
            batch_size=settings.batch_size,
        )
    else:
        detail = {"fill": "black", "window": min(images.shape[2:]) // 4}
        found = occlusion(predict, images, targets, score=settings.score, batch_size=settings.batch_size)
    return Explanation(
        method,
        found.maps,
        found.error,
        found.error_name,
        found.forwards,
        0,
        perf_counter() - started,
        detail={**detail, "score": settings.score},
    )


def _segmented(
    method: str,
    predict: Predict,
    images: Images,
    targets: Labels,
    *,
    seed: int,
    settings: ExplainSettings,
    started: float,
) -> Explanation:
    preset = preset_named(settings.preset)
    segments = preset_segments(preset, images, seed=seed, min_segments=settings.min_segments)
    detail: dict[str, str | int | float] = {"segmenter": preset.segmenter, "preset": settings.preset}
    if method == "lime":
        found = lime_preset(
            predict,
            images,
            targets,
            preset=preset,
            segments=segments,
            seed=seed,
            stability_seeds=settings.stability_seeds,
            batch_size=settings.batch_size,
        )
        unstable = np.full(len(images), np.nan) if found.stability is None else 1 - found.stability.jaccard
        detail |= {"fill": str(preset.options.fill), "ridge": preset.options.ridge, "design": preset.options.design}
        return Explanation(
            method,
            found.maps,
            unstable,
            "" if found.stability is None else "1 - jaccard",
            found.forwards,
            0,
            perf_counter() - started,
            segments,
            found,
            detail,
        )
    shap = kernelshap(
        predict,
        images,
        targets,
        segments=segments,
        seed=seed,
        n_samples=max(settings.shap_samples, 4 * (int(segments.max()) + 1)),
        score=settings.score,
        batch_size=settings.batch_size,
    )
    detail |= {"fill": "segment_mean", "coalitions": shap.forwards // len(images), "score": settings.score}
    return Explanation(
        method,
        shap.maps,
        shap.error,
        shap.error_name,
        shap.forwards,
        0,
        perf_counter() - started,
        segments,
        detail=detail,
    )


def _differentiated(
    method: str,
    images: Images,
    targets: Labels,
    *,
    model: nn.Module,
    seed: int,
    settings: ExplainSettings,
    started: float,
) -> Explanation:
    import torch

    from edgexai.explain.cam import gradcam
    from edgexai.explain.gradient_shap import expected_gradients
    from edgexai.explain.integrated import completeness_gap
    from edgexai.explain.passes import counted_passes

    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    pixels, labels = torch.from_numpy(images).to(device), torch.from_numpy(targets.astype(np.int64)).to(device)
    error: torch.Tensor | None = None
    name = ""
    with counted_passes(model, pixels[:1]) as passes:
        if method == "gradshap":
            drawn = expected_gradients(model, pixels, labels, seed=seed)
            maps, error, name = drawn.maps, drawn.standard_error, "standard_error"
        elif method == "gradcam":
            maps = gradcam(model, pixels, labels, layer=settings.layer)
        elif KINDS[method] == "optimised" and settings.steps is not None:
            maps = EXPLAINERS[method].load()(model, pixels, labels, seed=seed, steps=settings.steps)
        else:
            call: Any = EXPLAINERS[method].load()
            maps = call(model, pixels, labels, seed=seed)
        if method == "ig":
            error, name = completeness_gap(model, pixels, labels, maps=maps), "completeness_gap"
    told = np.full(len(images), np.nan) if error is None else error.cpu().numpy().astype(np.float64)
    return Explanation(
        method,
        maps.cpu().numpy().astype(np.float32),
        told,
        name,
        passes.forward,
        passes.backward,
        perf_counter() - started,
    )


def _baseline(method: str, images: Images, seed: int) -> Maps:
    from edgexai.explain.baselines import centre_gaussian, edge_map

    height, width = images.shape[2:]
    if method == "edges":
        return edge_map(images)
    if method == "random":
        return np.random.default_rng(seed).random((len(images), height, width), dtype=np.float32)
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    return np.ascontiguousarray(centre_gaussian(len(images), side)[:, top : top + height, left : left + width])
