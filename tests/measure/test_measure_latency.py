"""Timing: what is counted, in what order, and that a slower callable is found slower. No torch, no SciPy needed."""

from __future__ import annotations

import subprocess
import sys
from time import perf_counter

import numpy as np
import pytest

from edgexai.errors import ShapeError, UserError
from edgexai.measure import METRICS
from edgexai.measure.latency import Timing, compare_latency, latency_ms, throughput

IMAGES = np.zeros((10, 3, 4, 4), np.float32)


def spin(milliseconds: float):
    def predict(images: np.ndarray) -> np.ndarray:
        end = perf_counter() + milliseconds / 1000
        while perf_counter() < end:
            pass
        return np.zeros((len(images), 2), np.float32)

    return predict


def test_calls_are_interleaved_batched_and_warmed_up() -> None:
    calls: list[tuple[str, int]] = []

    def named(name: str):
        def predict(images: np.ndarray) -> np.ndarray:
            calls.append((name, len(images)))
            return np.zeros((len(images), 2), np.float32)

        return predict

    result = compare_latency({"a": named("a"), "b": named("b")}, IMAGES, batch=4, warmup=2, repeats=5)
    assert calls == [("a", 4), ("b", 4)] * 7
    assert result["a"].n == result["b"].n == 5


def test_goes_on_until_repeats_and_seconds_have_both_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def predict(images: np.ndarray) -> np.ndarray:
        nonlocal now
        now += 0.25
        return np.zeros((len(images), 2), np.float32)

    monkeypatch.setattr("edgexai.measure.latency.perf_counter", lambda: now)
    both = {"a": predict, "b": predict}
    assert compare_latency(both, IMAGES, batch=1, warmup=1, repeats=3, seconds=3.0)["b"].times_ms.tolist() == [250] * 5
    assert compare_latency(both, IMAGES, batch=1, warmup=1, repeats=3, seconds=1.0)["b"].times_ms.tolist() == [250] * 3


def test_measures_the_time_that_passes() -> None:
    result = compare_latency({"slow": spin(2.0), "fast": spin(0.5)}, IMAGES, batch=2, warmup=1, repeats=21)
    assert result["slow"].times_ms.min() >= 2.0
    assert result["fast"].times_ms.min() >= 0.5
    # The best of 21: on a busy machine a median is that of whoever else runs.
    assert result["slow"].times_ms.min() > 2 * result["fast"].times_ms.min()
    timing = latency_ms(spin(0.5), IMAGES, batch=1, warmup=0, repeats=5)
    assert timing.images_per_second <= 2000


def test_timing_statistics() -> None:
    timing = Timing(np.arange(1.0, 102.0), batch=8)
    assert timing.median_ms == 51
    assert timing.p95_ms == pytest.approx(96)
    low, high = timing.median_interval_ms
    assert 40 <= low < 51 < high <= 62
    assert timing.images_per_second == pytest.approx(8000 / 51)


def test_throughput_reports_every_batch_size() -> None:
    result = throughput(spin(0.2), IMAGES, batches=(1, 5, 10), warmup=0, repeats=3)
    assert list(result) == [1, 5, 10]
    assert max(result.values(), key=lambda t: t.images_per_second).batch == 10


def test_refuses() -> None:
    with pytest.raises(ShapeError):
        latency_ms(spin(0), IMAGES, batch=11)
    with pytest.raises(UserError):
        latency_ms(spin(0), IMAGES, batch=1, repeats=1)
    with pytest.raises(UserError):
        throughput(spin(0), IMAGES, batches=())


def test_room_imports_without_torch_and_scipy_and_its_registry_resolves() -> None:
    assert all(callable(entry.load()) for entry in METRICS.values())
    names = ("accuracy", "deletion", "drift", "faithfulness", "flags", "impute", "latency", "localisation", "rows")
    code = "import sys; sys.modules['torch'] = None; sys.modules['scipy'] = None; sys.modules['pydantic'] = None; "
    code += "import " + ", ".join(f"edgexai.measure.{name}" for name in (*names, "shapes", "sparsity", "stats"))
    subprocess.run([sys.executable, "-c", code], check=True)
