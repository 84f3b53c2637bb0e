"""The methods that need gradients, called one way; what they tell of their error and their passes is kept."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import nn

from edgexai.explain import EXPLAINERS, KINDS
from edgexai.explain.cam import gradcam
from edgexai.explain.explanation import ExplainSettings, Explanation
from edgexai.explain.gradient_shap import expected_gradients
from edgexai.explain.integrated import completeness_gap
from edgexai.explain.passes import counted_passes
from edgexai.types import Images, Labels


def differentiated(
    method: str,
    images: Images,
    targets: Labels,
    *,
    model: nn.Module,
    seed: int,
    settings: ExplainSettings,
) -> Explanation:
    """The ``Explanation`` of one method of the gradient or optimised kind.

    Args:
        method, images, targets, model, seed, settings: as ``explain``.

    Raises:
        ShapeError, UserError: as the method.
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    pixels, labels = torch.from_numpy(images).to(device), torch.from_numpy(targets.astype(np.int64)).to(device)
    error: torch.Tensor | None = None
    name = ""
    call: Any = EXPLAINERS[method].load()  # Captum's import takes seconds, which are no cost of the method
    with counted_passes(model, pixels[:1]) as passes:
        started = perf_counter()
        if method == "gradshap":
            drawn = expected_gradients(model, pixels, labels, seed=seed)
            maps, error, name = drawn.maps, drawn.standard_error, "standard_error"
        elif method == "gradcam":
            maps = gradcam(model, pixels, labels, layer=settings.layer)
        elif KINDS[method] == "optimised" and settings.steps is not None:
            maps = call(model, pixels, labels, seed=seed, steps=settings.steps)
        else:
            maps = call(model, pixels, labels, seed=seed)
        if method == "ig":
            error, name = completeness_gap(model, pixels, labels, maps=maps), "completeness_gap"
        seconds = perf_counter() - started
    told = np.full(len(images), np.nan) if error is None else error.cpu().numpy().astype(np.float64)
    return Explanation(
        method,
        maps.cpu().numpy().astype(np.float32),
        told,
        name,
        passes.forward,
        passes.backward,
        seconds,
    )
