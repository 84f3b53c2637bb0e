"""What every method is given beside the images, and what it answers. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgexai.explain.lime_result import LimeResult
from edgexai.explain.score import Score
from edgexai.types import Maps, Segments


@dataclass(frozen=True)
class ExplainSettings:
    """What the methods are given beside the images.

    Attributes:
        preset: of LIME, whose segments KernelSHAP takes too.
        stability_seeds: LIME explanations that are compared; 0 = none.
        shap_samples: coalitions of KernelSHAP per image, at most; None: 1,024, or 4 per segment where that is more.
        rise_masks: masks of RISE per image.
        score: what the black-box kind explains.
        layer: of Grad-CAM, a submodule's name; None = its default.
        steps: of the optimised kind; None = each method's own.
        min_segments: fewer are refused.
        batch_size: images per pass of the black-box kind.
    """

    preset: str = "fast"
    stability_seeds: int = 3
    shap_samples: int | None = None
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
