"""LIME settings that have a name: those of the sources, and a quick one.

Sources: ``tml`` and ``fau``, two course assignments (700 masks, 12 segments shown, ridge 0.5, 20th percentile; 10
segments shown, the rest as the ``lime`` package); ``tmlr``, arXiv 2205.13042 (SLIC, compactness 10, sigma 3, 50
segments, 1,000 masks). Where a source is silent the package's defaults stand: quickshift 4 / 200 / 0.2, segment mean,
ridge 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Literal, TypeAlias

import numpy as np

from edgexai.errors import UserError
from edgexai.explain.lime import lime
from edgexai.explain.lime_fit import LimeOptions
from edgexai.explain.lime_result import LimeResult
from edgexai.explain.segment import felzenszwalb, grid, quickshift, slic
from edgexai.types import Images, Labels, Predict, Segments

Segmenter: TypeAlias = Literal["grid", "slic", "quickshift", "felzenszwalb"]


@dataclass(frozen=True)
class LimePreset:
    """A named way to run LIME.

    Attributes:
        segmenter: which.
        n_segments: asked of SLIC; of the grid, cells per side.
        compactness, sigma: of SLIC.
        n_samples: masks per image, or "auto".
        shown: segments in a picture of the explanation.
        options: fill, ridge, kernel, design.
    """

    segmenter: Segmenter
    n_segments: int
    n_samples: int | Literal["auto"]
    shown: int
    compactness: float = 10.0
    sigma: float = 0.0
    options: LimeOptions = field(default_factory=LimeOptions)


LIME_PRESETS: dict[str, LimePreset] = {
    "fast": LimePreset("grid", 7, 256, 10, options=LimeOptions(design="antithetic")),
    "tml": LimePreset("quickshift", 0, 700, 12, options=LimeOptions(fill="p20", ridge=0.5)),
    "fau": LimePreset("quickshift", 0, 1000, 10),
    "tmlr": LimePreset("slic", 50, 1000, 10, sigma=3.0),
    "auto": LimePreset("grid", 7, "auto", 10, options=LimeOptions(design="antithetic")),
}


def preset_named(name: str) -> LimePreset:
    """The preset of this name.

    Raises:
        UserError: there is none.
    """
    if name not in LIME_PRESETS:
        near = get_close_matches(name, LIME_PRESETS, n=1)
        raise UserError(
            f'preset "{name}" is unknown' + (f'; did you mean "{near[0]}"?' if near else ""),
            next_step=f"one of: {', '.join(LIME_PRESETS)}",
        )
    return LIME_PRESETS[name]


def preset_segments(preset: LimePreset, images: Images, *, seed: int, min_segments: int = 8) -> Segments:
    """The preset's segments: int32 (H,W) of a grid, else (N,H,W).

    Raises:
        MissingCapability: superpixels without scikit-image.
        UserError: an image got fewer than ``min_segments``.
    """
    if preset.segmenter == "grid":
        height, width = images.shape[2:]
        return grid((height, width), min(preset.n_segments, height, width), min_segments=min_segments)
    if preset.segmenter == "slic":
        return slic(
            images, preset.n_segments, compactness=preset.compactness, sigma=preset.sigma, min_segments=min_segments
        )
    if preset.segmenter == "quickshift":
        return quickshift(images, seed=seed, min_segments=min_segments)
    return felzenszwalb(images, min_segments=min_segments)


def lime_preset(
    predict: Predict,
    images: Images,
    targets: Labels,
    *,
    preset: LimePreset,
    segments: Segments,
    seed: int,
    stability_seeds: int = 0,
    batch_size: int = 64,
    fill: Sequence[float] | None = None,
) -> LimeResult:
    """LIME with the preset's settings.

    Args:
        predict, images, targets, segments, seed, stability_seeds, batch_size: as ``lime``.
        preset: of ``LIME_PRESETS`` or one's own.
        fill: a colour in place of the preset's fill, e.g. the data set's mean.

    Returns:
        The ``LimeResult``; stability looks at the ``shown`` largest segments.

    Raises:
        ShapeError, UserError: as ``lime``.
    """
    o = preset.options if fill is None else replace(preset.options, fill=np.asarray(fill))
    return lime(
        predict,
        images,
        targets,
        segments=segments,
        n_samples=preset.n_samples,
        seed=seed,
        fill=o.fill,
        ridge=o.ridge,
        kernel=o.kernel,
        kernel_width=o.kernel_width,
        design=o.design,
        score=o.score,
        n_features=o.n_features,
        stability_seeds=0 if preset.n_samples == "auto" else stability_seeds,
        top_k=preset.shown,
        batch_size=batch_size,
    )
