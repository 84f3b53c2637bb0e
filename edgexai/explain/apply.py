"""One call for every method: the same arguments, the same answer, whatever the method needs inside.

Torch is imported only for the kinds that need it, so the black-box kind and the baselines run where there is none.
"""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from edgexai.errors import MissingCapability, ShapeError, UserError
from edgexai.explain import EXPLAINERS, KINDS
from edgexai.explain.explanation import ExplainSettings as ExplainSettings
from edgexai.explain.explanation import Explanation as Explanation
from edgexai.explain.kernelshap import kernelshap
from edgexai.explain.occlusion import occlusion
from edgexai.explain.presets import lime_preset, preset_named, preset_segments
from edgexai.explain.rise import rise
from edgexai.types import Images, Labels, Maps, Predict

if TYPE_CHECKING:
    from torch import nn


def check_method(name: str) -> None:
    """Raises UserError where there is no method of this name."""
    if name not in EXPLAINERS:
        near = get_close_matches(name, EXPLAINERS, n=1)
        raise UserError(
            f'method "{name}" is unknown' + (f'; did you mean "{near[0]}"?' if near else ""),
            next_step=f"some of: {', '.join(EXPLAINERS)}",
        )


def needs_gradients(method: str) -> MissingCapability:
    """The error of a method that is asked of an engine alone."""
    able = [name for name, of in KINDS.items() if of in ("black_box", "baseline")]
    return MissingCapability(
        f"{method} needs gradients, and an ONNX file has none",
        next_step=f"take one of {', '.join(able)}; or explain the run whose twin is here",
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
            raise needs_gradients(method)
        from edgexai.explain.differentiated import differentiated

        return differentiated(method, images, targets, model=model, seed=seed, settings=settings)
    if kind == "baseline":
        if images.ndim != 4:
            raise ShapeError(f"images: {images.shape}; wanted (N,3,H,W)")
        return Explanation(method, _baseline(method, images, seed), nothing, "", 0, 0, perf_counter() - started)
    if method in ("lime", "kernelshap"):
        return _segmented(method, predict, images, targets, seed=seed, settings=settings, started=started)
    return _moved(method, predict, images, targets, seed=seed, settings=settings, started=started)


def _moved(
    method: str,
    predict: Predict,
    images: Images,
    targets: Labels,
    *,
    seed: int,
    settings: ExplainSettings,
    started: float,
) -> Explanation:
    """Masks that know no segments: RISE and occlusion."""
    given: dict[str, str | int | float] = {"fill": "black", "score": settings.score}
    if method == "rise":
        given["masks"] = n = settings.rise_masks
        found = rise(
            predict, images, targets, seed=seed, n_masks=n, score=settings.score, batch_size=settings.batch_size
        )
    else:
        given["window"] = window = max(1, min(images.shape[2:]) // 4)
        found = occlusion(predict, images, targets, window=window, score=settings.score, batch_size=settings.batch_size)
    return Explanation(
        method, found.maps, found.error, found.error_name, found.forwards, 0, perf_counter() - started, detail=given
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
    preset = replace(preset, options=replace(preset.options, score=settings.score))
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
        options = preset.options
        detail |= {"fill": str(options.fill), "ridge": options.ridge, "design": options.design, "score": options.score}
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
        n_samples=settings.shap_samples or max(1024, 4 * (int(segments.max()) + 1)),
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
