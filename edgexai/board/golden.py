"""Golden vectors: is what runs here the network that was evaluated?

A fixed draw of test images with the logits and saliency maps that the workstation's engine gave. A few numbers say how
far an engine departs from them; ``golden.json`` holds a limit for each, derived from rebuilding the same network (see
``tolerance.py``). All must hold. NumPy only: the board judges itself with it. D = difference of the logits, R = golden
logits, s = root mean square of R with each image's mean taken off:

- ``disagreements``: images decided otherwise, a count.
- ``drift``: root mean square of D, over s. Rounding alone makes much of it in an int8 network.
- ``scale``: slope of D on R with each image's mean taken off; signed: 0.02 = logits 2 % too large.
- ``shift``: root mean square over classes of D's mean over images, over s: noise averages out, a wrong layer does not.
- ``slope``: root mean square over classes of the slope of D on R within the class.
- ``map_drift``: 1 - Spearman's rank correlation of the saliency maps, mean over images that are decided alike (another
  class has another map); only where there are maps.
- ``map_scale``: slope of the maps on the golden maps, minus 1; signed.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexai.board.canonical_zip import zip_bytes
from edgexai.errors import ShapeError, UserError
from edgexai.measure.drift import decision_agreement, map_rank_correlation
from edgexai.types import Images, Labels, Logits, Maps

FILE, RULE = "golden.npz", "golden.json"
STATISTICS = ("disagreements", "drift", "scale", "shift", "slope")
MAP_STATISTICS = ("map_drift", "map_scale")
SIGNED = ("scale", "map_scale")
"""Of these the size is what is limited."""


@dataclass(frozen=True)
class Golden:
    """What the workstation's engine said.

    Attributes:
        images: (n,3,H,W) in [0,1], whole 8-bit levels.
        labels: (n,).
        logits: (n,K).
        maps: (m,H,W) of the first m images, or None where the engine has no saliency output.
        limits: statistic -> the most that is accepted.
        about: the rest of ``golden.json``: where the limits come from.
    """

    images: Images
    labels: Labels
    logits: Logits
    maps: Maps | None
    limits: Mapping[str, float]
    about: Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """One engine held against the golden vectors.

    Attributes:
        statistics: name -> value.
        limits: name -> the most that is accepted.
        problems: one line for each limit that is exceeded.
    """

    statistics: Mapping[str, float]
    limits: Mapping[str, float]
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Every limit holds."""
        return not self.problems


def departure(golden: Logits, logits: Logits) -> dict[str, float]:
    """How far ``logits`` are from ``golden``: the first five statistics of the module's docstring.

    Args:
        golden: (n,K), the reference.
        logits: (n,K), of the same images.

    Raises:
        ShapeError: shapes differ.
        UserError: values that are not finite, or golden logits that are all alike.
    """
    if golden.shape != logits.shape or golden.ndim != 2 or not golden.size:
        raise ShapeError(f"logits have shape {logits.shape}; the golden ones have {golden.shape}")
    if not np.isfinite(logits).all():
        raise UserError("logits are not finite", next_step="build the engine again")
    reference = golden.astype(np.float64)
    difference = logits.astype(np.float64) - reference
    centred = reference - reference.mean(axis=1, keepdims=True)
    size = float(np.sqrt((centred**2).mean()))
    if not size > 0:
        raise UserError("the golden logits do not differ between classes: nothing can be held against them")
    means = difference.mean(axis=0)
    around = reference - reference.mean(axis=0)
    slopes = ((difference - means) * around).sum(axis=0) / np.maximum((around**2).sum(axis=0), 1e-12)
    return {
        "disagreements": float((~decision_agreement(golden, logits)).sum()),
        "drift": float(np.sqrt((difference**2).mean())) / size,
        "scale": float((difference * centred).sum() / (centred**2).sum()),
        "shift": float(np.sqrt((means**2).mean())) / size,
        "slope": float(np.sqrt((slopes**2).mean())),
    }


def map_parts(golden: Maps, maps: Maps, *, same: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What ``map_departure`` averages over images: (m,3), rank correlation, <maps, golden>, <golden, golden>.

    Args:
        golden, maps: (m,H,W).
        same: (m,), decided alike. The others' maps are of another class: their rows are NaN.

    Raises:
        ShapeError, UserError: shapes differ or maps are not finite.
    """
    correlation = map_rank_correlation(golden, maps)
    # a map that is constant on one side only agrees with nothing; constant on both sides it is the same
    both = np.isnan(correlation) & (np.ptp(golden, axis=(1, 2)) == 0) & (np.ptp(maps, axis=(1, 2)) == 0)
    correlation = np.where(both, 1.0, np.nan_to_num(correlation))
    reference, here = golden.astype(np.float64), maps.astype(np.float64)
    parts = np.stack([correlation, (reference * here).sum((1, 2)), (reference**2).sum((1, 2))], axis=1)
    parts[~same] = np.nan
    return parts


def map_departure(parts: NDArray[np.float64]) -> dict[str, float]:
    """``map_drift`` and ``map_scale`` of (m,3) ``map_parts``; with no image decided alike, both are 1."""
    known = parts[~np.isnan(parts[:, 0])]
    if not len(known):
        return {"map_drift": 1.0, "map_scale": 1.0}
    energy = float(known[:, 2].sum())
    scale = float(known[:, 1].sum()) / energy - 1 if energy > 0 else 0.0
    return {"map_drift": 1 - float(known[:, 0].mean()), "map_scale": scale}


def judge(golden: Golden, logits: Logits, maps: Maps | None) -> Verdict:
    """The verdict on an engine that gave ``logits``, and ``maps`` for the first images, on ``golden.images``.

    Raises:
        ShapeError, UserError: as ``departure``; also where maps are golden and the engine gives none.
    """
    found = departure(golden.logits, logits)
    if golden.maps is not None:
        if maps is None or maps.shape != golden.maps.shape:
            shape = "none" if maps is None else maps.shape
            raise ShapeError(f"saliency maps: {shape}; the golden ones have {golden.maps.shape}")
        same = decision_agreement(golden.logits, logits)[: len(maps)]
        found |= map_departure(map_parts(golden.maps, maps, same=same))
    problems = tuple(
        f"{name} is {value:.4g}, at most {golden.limits[name]:.4g} is accepted"
        for name, value in found.items()
        # written so that NaN fails
        if not abs(value) <= golden.limits[name]
    )
    return Verdict(found, {name: golden.limits[name] for name in found}, problems)


def write_golden(golden: Golden) -> dict[str, bytes]:
    """File name -> bytes, the same for the same vectors everywhere."""
    arrays: dict[str, NDArray[Any]] = {
        "images": np.round(golden.images * 255).astype(np.uint8),
        "labels": golden.labels,
        "logits": golden.logits,
    }
    if golden.maps is not None:
        arrays["maps"] = golden.maps
    files = {}
    for name, array in arrays.items():
        data = io.BytesIO()
        np.lib.format.write_array(data, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
        files[f"{name}.npy"] = data.getvalue()
    rule = {**golden.about, "limits": dict(golden.limits)}
    text = json.dumps(rule, indent=1, sort_keys=True, allow_nan=False) + "\n"
    return {FILE: zip_bytes(files), RULE: text.encode()}


def read_golden(folder: Path) -> Golden:
    """The inverse of ``write_golden``.

    Raises:
        UserError: the files are missing or hold something else.
    """
    try:
        about = json.loads((folder / RULE).read_text(encoding="utf-8"))
        limits = {str(name): float(value) for name, value in about.pop("limits").items()}
        with np.load(folder / FILE, allow_pickle=False) as arrays:
            images = arrays["images"].astype(np.float32) / np.float32(255)
            maps = arrays["maps"] if "maps" in arrays.files else None
            golden = Golden(images, arrays["labels"], arrays["logits"], maps, limits, about)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(f"{folder}: no golden vectors: {error}") from error
    wanted = {*STATISTICS, *(MAP_STATISTICS if maps is not None else ())}
    if not wanted <= set(limits) or golden.logits.ndim != 2 or len(golden.logits) != len(images):
        raise UserError(f"{folder}: golden vectors and their limits do not fit together")
    return golden
