"""Relative input stability (RIS): how far a map moves, relative to itself, for a small relative change of the image.

Source: Agarwal et al., "Rethinking stability for attribution-based explanations", 2022 (arXiv 2203.06877), as Quantus
0.6.0 computes it. Per image, over noisy copies x' on which the decision stands:

    RIS = max over x' of  || (e(x) - e(x')) / e(x) ||_2  /  max( || (x - x') / x ||_2 , eps_min )

Lower = more stable. Both quotients are per pixel; a zero of e counts as eps_min. Differs: copies with another decision
are left out (Quantus makes the whole image undefined), and a pixel below ``smallest_pixel`` counts as that much: with
Quantus' 1e-6 one black pixel makes an image look perfectly stable. Reported as log10 of the mean over images, as the
study of pruning and maps does (arXiv 2509.20148; there over images decided right); it is heavy-tailed (a map near zero
anywhere makes it huge), so read its interval.
"""

from __future__ import annotations

from dataclasses import replace
from math import log10
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError, UserError
from edgexai.measure.replay import Replay
from edgexai.measure.rows import mean_row
from edgexai.measure.shapes import check_maps
from edgexai.measure.subject import Subject
from edgexai.probe.noisy_copies import NOISE
from edgexai.probe.probe_set import ProbeSet
from edgexai.types import Images, Maps, Row

HALF_A_LEVEL = 0.5 / 255


def relative_input_stability(
    maps: Maps,
    copy_maps: NDArray[np.float32],
    images: Images,
    copies: NDArray[np.float32],
    *,
    same_class: NDArray[np.bool_] | None = None,
    eps_min: float = 1e-6,
    smallest_pixel: float = HALF_A_LEVEL,
) -> NDArray[np.float64]:
    """The largest ratio per image, before any logarithm.

    Args:
        maps: (N,H,W), of the clean images; not modified.
        copy_maps: (P,N,H,W), of their noisy copies, for the same classes.
        images: float32 (N,3,H,W) in [0,1].
        copies: (P,N,3,H,W).
        same_class: bool (P,N), the decision stands; all of them where absent.
        eps_min: stands for a zero of a map, and is the least relative change of an image.
        smallest_pixel: what darker pixels count as in the relative change of the image; 1e-6 gives Quantus' figures.

    Returns:
        (N,) >= 0, unitless; NaN where no copy is decided as its image.

    Raises:
        ShapeError, UserError: shapes do not fit together, P is 0, or maps are not finite.
    """
    e = check_maps(maps)
    if copy_maps.ndim != 4 or not len(copy_maps) or copy_maps.shape[1:] != maps.shape:
        raise ShapeError(f"maps of copies have shape {copy_maps.shape}; these maps need (P, {maps.shape})")
    if images.ndim != 4 or copies.shape != (len(copy_maps), *images.shape) or len(images) != len(maps):
        raise ShapeError(f"images {images.shape} and copies {copies.shape} do not fit {copy_maps.shape} maps of copies")
    stands = np.ones(copy_maps.shape[:2], np.bool_) if same_class is None else same_class
    if stands.shape != copy_maps.shape[:2] or stands.dtype != np.bool_:
        raise ShapeError(f"same_class is {stands.dtype} {stands.shape}; it must be bool {copy_maps.shape[:2]}")
    if not eps_min > 0 or not smallest_pixel > 0:
        raise UserError(f"eps_min = {eps_min}, smallest_pixel = {smallest_pixel}: both must be above 0")
    of_maps = np.where(e == 0, eps_min, e)
    x = images.astype(np.float64).reshape(len(images), -1)
    of_pixels = np.maximum(x, smallest_pixel)
    ratios = np.full(stands.shape, -np.inf)
    for p, (moved, copy) in enumerate(zip(copy_maps, copies, strict=True)):
        change = np.linalg.norm((e - check_maps(moved, name="maps of copies")) / of_maps, axis=1)
        given = np.linalg.norm((x - copy.reshape(x.shape)) / of_pixels, axis=1)
        ratios[p] = np.where(stands[p], change / np.maximum(given, eps_min), -np.inf)
    largest: NDArray[np.float64] = ratios.max(axis=0)
    return np.where(np.isneginf(largest), np.nan, largest)


def replay_stability(who: Subject, probes: ProbeSet, *, seed: int, out: Replay) -> None:
    """RIS of every gradient kind, where the probe set has noisy copies: rows and verdicts "ris/<explainer>".

    Args:
        who: the twin: the maps are its own, and no engine enters.
        seed: of the bootstrap.
        out: the verdicts are the largest ratio per image, the rows log10 of their mean.
    """
    if probes.noisy is None:
        return
    n = probes.noisy.images.shape[1]
    for name, moved in probes.noisy.maps.items():
        values = relative_input_stability(
            probes.maps[name][:n], moved, probes.images[:n], probes.noisy.images, same_class=probes.noisy.same_class
        )
        out.verdicts[f"ris/{name}"] = values
        words: dict[str, Any] = {
            "arm": who.arm, "artefact": who.artefact, "subject": who.subject, "runtime": who.runtime,
            "seed": seed, "split": str(probes.settings["split"]), "unit": "log10",
            "detail": {"explainer": name, "copies": len(moved), "noise": f"uniform {NOISE[0]} to {NOISE[1]}, added"},
        }  # fmt: skip
        out.rows.append(_logarithm(mean_row(values, **words, metric="relative_input_stability")))


def _logarithm(row: Row) -> Row:
    """log10 of a mean and of its interval's ends; a mean of zero (no map moved at all) has none."""
    if row.value is None:
        return replace(row, reason="no noisy copy is decided as its image")
    if row.value == 0:
        why = "no map moved on any copy: the mean is 0 and has no logarithm"
        return replace(row, value=None, low=None, high=None, interval="none", status="skipped", reason=why)
    # Resampling may miss the few images whose maps move at all, and bootstrap-t may go below 0: that end is unknown.
    low, high = (None if end is None or end <= 0 else log10(end) for end in (row.low, row.high))
    return replace(row, value=log10(row.value), low=low, high=high)
