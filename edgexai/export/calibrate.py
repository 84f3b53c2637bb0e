"""Ranges of activations for int8, by four methods over one histogram per value.

- ``max``: from the smallest to the largest value seen.
- ``percentile``: leaves out one value in 10,000, half of them at each end (at both ends alike where symmetric).
- ``entropy``: the clipping whose int8 histogram is nearest to the float one in Kullback-Leibler divergence (the idea of
  TensorRT's calibrator, Migacz 2017).
- ``mse``: the clipping with the smallest mean squared rounding and clipping error.

Convention: a range holds 0; where symmetric it is (-t, t). ``entropy`` and ``mse`` shrink the range seen by one factor,
tried in steps of 1 %. Exact zeros, which every scale holds, do not count: behind a ReLU they are half of all, and
``entropy`` would clip for their sake. Of many values every n-th is read, for minimum and maximum all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from edgexai.errors import UserError
from edgexai.types import Images

METHODS = ("max", "percentile", "entropy", "mse")
_BINS, _READ, _BATCH = 2048, 1 << 17, 64
_LEFT_OUT = 1e-4
_FACTORS = np.linspace(1.0, 0.3, 71)

Range = tuple[float, float]


def activation_ranges(
    model: ModelProto, names: Iterable[str], images: Images, *, method: str, symmetric: bool
) -> dict[str, Range]:
    """Range of each named float value of the graph over ``images``.

    Args:
        model: input "images"; not modified.
        names: of float values, no constants.
        images: (N,3,H,W) in [0,1], calibration images.
        method: one of ``METHODS``.
        symmetric: ranges for signed int8 with zero point 0; else for uint8 with a zero point.
    """
    if method not in METHODS:
        raise UserError(f'unknown calibration "{method}"; allowed: {", ".join(METHODS)}')
    wanted = list(dict.fromkeys(names))
    seen: dict[str, Range] = dict.fromkeys(wanted, (0.0, 0.0))
    for name, values in _values(model, wanted, images):
        low, high = seen[name]
        seen[name] = min(low, float(values.min())), max(high, float(values.max()))
    if symmetric:
        seen = {name: (-max(-low, high), max(-low, high)) for name, (low, high) in seen.items()}
    if method == "max":
        return seen
    counts = {name: np.zeros(_BINS, np.int64) for name in wanted}
    for name, values in _values(model, wanted, images):
        low, high = seen[name]
        if high > low:
            read = values.ravel()[:: -(-values.size // _READ)]
            counts[name] += np.histogram(read[read != 0], _BINS, (low, high))[0]
    return {name: clipped_range(counts[name], seen[name], method=method, symmetric=symmetric) for name in wanted}


def clipped_range(counts: NDArray[np.int64], seen: Range, *, method: str, symmetric: bool) -> Range:
    """The range that ``method`` takes from a histogram.

    Args:
        counts: (bins,) over ``seen`` in bins of equal width.
        seen: holds 0; (-t, t) where symmetric.
    """
    low, high = seen
    if not counts.any() or high <= low:
        return seen
    width = (high - low) / len(counts)
    centres = np.arange(len(counts), dtype=np.float64) * width + (low + width / 2)
    if method == "percentile":
        return _percentile(counts, centres, seen, symmetric=symmetric)
    best, least = 1.0, np.inf
    for factor in _FACTORS:
        cost = (_squared_error if method == "mse" else _divergence)(counts, centres, low * factor, high * factor)
        if cost < least:
            best, least = float(factor), cost
    return low * best, high * best


def _values(model: ModelProto, names: list[str], images: Images) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """(name, array) of every batch; the input itself is given without running anything."""
    watched = ModelProto()
    watched.CopyFrom(model)
    inside = [name for name in names if name != "images"]
    kept = {o.name for o in watched.graph.output}
    for name in inside:
        if name not in kept:
            watched.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    run = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for start in range(0, len(images), _BATCH):
        batch = images[start : start + _BATCH]
        if len(inside) < len(names):
            yield "images", batch
        if inside:
            yield from zip(inside, run.run(inside, {"images": batch}), strict=True)


def _percentile(counts: NDArray[np.int64], centres: NDArray[np.float64], seen: Range, *, symmetric: bool) -> Range:
    half = (seen[1] - seen[0]) / len(counts) / 2
    if symmetric:
        order = np.argsort(np.abs(centres), kind="stable")
        reached = np.cumsum(counts[order]) >= (1 - _LEFT_OUT) * counts.sum()
        edge = float(np.abs(centres[order][np.argmax(reached)])) + half
        return -edge, edge
    share = np.cumsum(counts) / counts.sum()
    low = float(centres[np.argmax(share > _LEFT_OUT / 2)]) - half
    high = float(centres[np.argmax(share >= 1 - _LEFT_OUT / 2)]) + half
    return min(low, 0.0), max(high, 0.0)


def _levels(centres: NDArray[np.float64], low: float, high: float) -> tuple[NDArray[np.float64], float]:
    """Index of the int8 level of each value, and the step; 255 levels where the range is symmetric, else 256."""
    step = (high - low) / (254 if low == -high else 255)
    first = round(low / step)
    return np.clip(np.rint(centres / step), first, first + round((high - low) / step)), step


def _squared_error(counts: NDArray[np.int64], centres: NDArray[np.float64], low: float, high: float) -> float:
    levels, step = _levels(centres, low, high)
    return float((counts * (centres - levels * step) ** 2).sum())


def _divergence(counts: NDArray[np.int64], centres: NDArray[np.float64], low: float, high: float) -> float:
    """KL of the clipped float histogram from the same histogram seen through int8 levels."""
    inside = np.flatnonzero((centres >= low) & (centres <= high))
    kept = counts[inside].astype(np.float64)
    if not kept.any():
        return np.inf
    levels, _ = _levels(centres[inside], low, high)
    index = (levels - levels[0]).astype(np.int64)
    mass, used = np.bincount(index, kept), np.bincount(index, kept > 0)
    through = np.where(kept > 0, mass[index] / np.maximum(used[index], 1), 0.0)
    given = kept.copy()
    given[0] += counts[: inside[0]].sum()
    given[-1] += counts[inside[-1] + 1 :].sum()
    p, q = given / given.sum(), through / through.sum()
    some = p > 0
    return float((p[some] * np.log(p[some] / np.maximum(q[some], 1e-12))).sum())
