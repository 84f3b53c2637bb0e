"""Wall-clock time of ``predict``, host copies included: what a caller on this machine waits for.

Convention: warm-up calls are thrown away; the median with its order-statistic interval, and the 95th percentile.
Callables that are compared are measured in turn within one loop, so that a machine that slows down slows all of them.
Calls follow each other without a pause: a processor that idles between frames may clock down and take longer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError, UserError
from edgexai.measure.median import median_interval
from edgexai.types import Images, Predict


@dataclass(frozen=True)
class Timing:
    """Repeated calls of one predictor at one batch size.

    Attributes:
        times_ms: float64 (n,), one per call, in the order they ran.
        batch: images per call.
    """

    times_ms: NDArray[np.float64]
    batch: int

    @property
    def n(self) -> int:
        """Calls timed."""
        return len(self.times_ms)

    @property
    def median_ms(self) -> float:
        """Median of a call, not of an image."""
        return float(np.median(self.times_ms))

    @property
    def p95_ms(self) -> float:
        """95th percentile of a call."""
        return float(np.quantile(self.times_ms, 0.95))

    @property
    def median_interval_ms(self) -> tuple[float, float]:
        """Interval of the median, at least 95 %, from order statistics (no shape of distribution assumed)."""
        found = median_interval(self.times_ms)
        return found.low, found.high

    @property
    def images_per_second(self) -> float:
        """At the median."""
        return 1000 * self.batch / self.median_ms


def compare_latency(
    predictors: Mapping[str, Predict], images: Images, *, batch: int, warmup: int, repeats: int, seconds: float = 0.0
) -> dict[str, Timing]:
    """Times several predictors, interleaved: one call of each per round.

    Args:
        predictors: name -> predictor.
        images: float32 (N,3,H,W) with N >= ``batch``; rounds walk through them, all predictors on the same ones.
        batch: images per call.
        warmup: rounds thrown away.
        repeats: rounds timed, at least 2.
        seconds: more rounds are timed until these have passed. A core that others share is slow for a second at a
            time, small networks more than large ones, and a few hundred calls of a small network take less than that.

    Returns:
        name -> ``Timing``.

    Raises:
        ShapeError: images are not (N,3,H,W) or fewer than ``batch``.
        UserError: counts out of range.
    """
    if images.ndim != 4 or batch < 1 or len(images) < batch:
        raise ShapeError(f"images have shape {images.shape}; batch {batch} needs (N,3,H,W) with N >= {max(batch, 1)}")
    if warmup < 0 or repeats < 2:
        raise UserError(f"warmup = {warmup}, repeats = {repeats}: at least 0 and 2")
    times: dict[str, list[float]] = {name: [] for name in predictors}
    groups = len(images) // batch
    began = perf_counter()
    for repeat in count(-warmup):
        if repeat >= repeats and perf_counter() - began >= seconds:
            break
        start = (repeat % groups) * batch
        part = np.ascontiguousarray(images[start : start + batch])
        for name, predict in predictors.items():
            before = perf_counter()
            predict(part)
            elapsed = perf_counter() - before
            if repeat >= 0:
                times[name].append(1000 * elapsed)
    return {name: Timing(np.array(values), batch) for name, values in times.items()}


def latency_ms(predict: Predict, images: Images, *, batch: int, warmup: int = 20, repeats: int = 200) -> Timing:
    """Times one predictor; see ``compare_latency``."""
    return compare_latency({"": predict}, images, batch=batch, warmup=warmup, repeats=repeats)[""]


def throughput(
    predict: Predict, images: Images, *, batches: Sequence[int], warmup: int = 3, repeats: int = 20
) -> dict[int, Timing]:
    """``Timing`` per batch size; the best is ``max(result.values(), key=lambda t: t.images_per_second)``.

    Raises:
        ShapeError, UserError: as ``compare_latency``, or no batch sizes.
    """
    if not batches:
        raise UserError("throughput needs at least one batch size")
    return {b: latency_ms(predict, images, batch=b, warmup=warmup, repeats=repeats) for b in batches}
