"""Golden vectors: what the statistics are, how limits follow from rebuilds, and what is caught."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from scipy import stats as reference
from small_bundle import CLASSES, LIMITS, small_contents, small_network

from edgexai.board.detection import Answers, detection, table
from edgexai.board.golden import Golden, departure, judge, map_departure, map_parts, read_golden, write_golden
from edgexai.board.golden_make import make_golden
from edgexai.board.rebuilds import Rebuild
from edgexai.board.sabotage import exchanged, layers, scaled_layer
from edgexai.board.tolerance import FLOOR, limits, most_disagreements, tolerance_limit
from edgexai.errors import ShapeError, UserError
from edgexai.types import Images


def logits_like(n: int = 64, k: int = 6, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 3, (n, k)).astype(np.float32)


def test_an_equal_engine_departs_by_nothing() -> None:
    golden = logits_like()
    assert set(departure(golden, golden.copy()).values()) == {0.0}


def test_a_factor_is_the_scale_and_the_drift() -> None:
    golden = logits_like()
    golden -= golden.mean(1, keepdims=True)
    found = departure(golden, golden * np.float32(1.02))
    assert found["scale"] == pytest.approx(0.02, rel=1e-3)
    assert found["slope"] == pytest.approx(0.02, rel=1e-3)
    assert found["drift"] == pytest.approx(0.02, rel=1e-3)
    assert found["disagreements"] == 0
    assert departure(golden, golden * np.float32(0.98))["scale"] == pytest.approx(-0.02, rel=1e-3)


def test_a_constant_of_one_class_is_the_shift() -> None:
    golden = logits_like(k=4)
    centred = golden - golden.mean(1, keepdims=True)
    size = np.sqrt((centred.astype(np.float64) ** 2).mean())
    moved = golden.copy()
    moved[:, 2] += 0.4
    found = departure(golden, moved)
    assert found["shift"] == pytest.approx(
        0.4 / 2 / size, rel=1e-5
    )  # one of four classes: half in the root mean square
    assert found["slope"] == pytest.approx(0, abs=1e-6)


def test_noise_averages_out_of_the_shift_and_stays_in_the_drift() -> None:
    golden = logits_like(4000)
    noisy = golden + np.random.default_rng(1).normal(0, 0.3, golden.shape).astype(np.float32)
    found = departure(golden, noisy)
    assert found["drift"] > 0.09
    assert found["shift"] < found["drift"] / 30


def test_disagreements_are_counted() -> None:
    golden = np.eye(5, dtype=np.float32)
    other = golden.copy()
    other[[1, 3]] = golden[[3, 1]]
    assert departure(golden, other)["disagreements"] == 2


def test_maps() -> None:
    rng = np.random.default_rng(0)
    golden = rng.random((5, 8, 8)).astype(np.float32)

    def found(reference: np.ndarray, maps: np.ndarray, same: str = "11111") -> dict[str, float]:
        return map_departure(map_parts(reference, maps, same=np.array([c == "1" for c in same])))

    assert found(golden, golden) == pytest.approx({"map_drift": 0, "map_scale": 0}, abs=1e-12)
    assert found(golden, golden * 1.5) == pytest.approx({"map_drift": 0, "map_scale": 0.5}, abs=1e-6)
    assert found(golden, golden.max() - golden)["map_drift"] == pytest.approx(2)
    constant = golden.copy()
    constant[0] = 0
    assert found(constant, constant)["map_drift"] == pytest.approx(0)
    assert found(constant, golden)["map_drift"] == pytest.approx(0.2)
    assert found(constant, golden, "01111")["map_drift"] == pytest.approx(0)  # decided otherwise: another class's map
    assert found(golden, golden, "00000") == {"map_drift": 1, "map_scale": 1}


def golden_of(logits: np.ndarray) -> Golden:
    images = np.zeros((len(logits), 3, 4, 4), np.float32)
    return Golden(images, logits.argmax(1).astype(np.int64), logits, None, LIMITS, {})


def test_judged_by_every_limit_and_by_the_size_of_what_has_a_sign() -> None:
    golden = logits_like()
    assert judge(golden_of(golden), golden, None).passed
    smaller = judge(golden_of(golden), golden * np.float32(0.99), None)
    assert not smaller.passed
    assert any(p.startswith("scale is -0.01") for p in smaller.problems)
    with pytest.raises(UserError, match="not finite"):
        judge(golden_of(golden), np.full_like(golden, np.nan), None)
    with pytest.raises(ShapeError):
        judge(golden_of(golden), golden[:, :3], None)
    with_maps = replace(golden_of(golden), maps=np.ones((4, 4, 4), np.float32))
    with pytest.raises(ShapeError, match="saliency maps: none"):
        judge(with_maps, golden, None)
    nan = {**LIMITS, "drift": float("nan")}
    assert not judge(replace(golden_of(golden), limits=nan), golden, None).passed


def test_written_and_read_and_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    golden = small_contents(tmp_path / "parts").golden
    files = write_golden(golden)
    assert files == write_golden(golden)
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    back = read_golden(tmp_path)
    for name in ("images", "labels", "logits", "maps"):
        assert np.array_equal(getattr(back, name), getattr(golden, name)), name
    assert back.limits == golden.limits
    assert back.about == golden.about
    (tmp_path / "golden.json").write_text(json.dumps({"limits": {"drift": 1.0}}))
    with pytest.raises(UserError, match="do not fit together"):
        read_golden(tmp_path)
    for text in ("", "{}", "[]", '{"limits": {"drift": "x"}}'):
        (tmp_path / "golden.json").write_text(text)
        with pytest.raises(UserError, match="no golden vectors"):
            read_golden(tmp_path)


@pytest.mark.parametrize(("n", "content"), [(4, 0.99), (8, 0.999), (12, 0.9999), (30, 0.99)])
def test_the_tolerance_factor_against_the_noncentral_t(n: int, content: float) -> None:
    """Natrella's formula is an approximation; the exact factor is a quantile of the noncentral t."""
    z = reference.norm.ppf(content)
    exact = reference.nct.ppf(0.95, n - 1, z * np.sqrt(n)) / np.sqrt(n)
    values = np.linspace(-1, 1, n)
    found = (tolerance_limit(list(values), content=content, signed=True) - 0) / values.std(ddof=1)
    # good to 10 % from eight values on; with four it errs
    assert found == pytest.approx(exact, rel=0.1 if n >= 8 else 0.25)


def test_the_tolerance_holds_what_it_promises() -> None:
    """Limits of twelve draws: at most 5 % of them may leave out more than a hundredth of all draws."""
    rng = np.random.default_rng(0)
    broken = 0
    for _ in range(1000):
        limit = tolerance_limit(list(np.exp(rng.normal(-3, 0.3, 12))), content=0.99)
        broken += reference.norm.sf((np.log(limit) + 3) / 0.3) > 0.01
    assert broken / 1000 < 0.07
    assert broken > 5  # and it is not merely loose


def test_most_disagreements_by_hand() -> None:
    # no disagreement in 100: the rate is at most 1 - 0.05^(1/100) = 2.951 %
    upper = 1 - 0.05**0.01
    count = most_disagreements(0, 100, error_rate=1e-3)
    assert reference.binom.sf(count, 100, upper) <= 1e-3 < reference.binom.sf(count - 1, 100, upper)
    assert most_disagreements(100, 100, error_rate=1e-3) == 100
    assert most_disagreements(5, 100, error_rate=1e-3) > count
    with pytest.raises(UserError):
        most_disagreements(3, 2, error_rate=0.1)


def test_limits_need_rebuilds_and_have_a_floor() -> None:
    same = departure(logits_like(), logits_like())
    found = limits([("threads", same), ("fp16", {**same, "drift": 0.01, "scale": -0.002})], n=64)
    assert found["drift"] == pytest.approx(0.03)
    assert found["scale"] == pytest.approx(0.006)
    assert found["shift"] == FLOOR
    with pytest.raises(UserError, match="no rebuilt engine"):
        limits([], n=64)
    with pytest.raises(UserError, match="2 recalibrations"):
        limits([("recalibrated", same)] * 2, n=64)


def test_made_from_a_float_network(tmp_path: Path) -> None:
    small_network(tmp_path / "a.onnx")
    images = (np.random.default_rng(0).integers(0, 256, (64, 3, 16, 16)) / 255).astype(np.float32)

    def never(k: int) -> Images:
        raise AssertionError("a float file is not calibrated")

    golden = make_golden(
        tmp_path / "a.onnx",
        tmp_path / "a.onnx",
        images,
        np.zeros(64, np.int64),
        artefact="fp32",
        n_maps=16,
        calibration=never,
        method="max",
        repeats=4,
        runtime="here",
        progress=lambda event: None,
    )
    assert [r["kind"] for r in golden.about["rebuilds"]] == ["threads", "threads", "unfused", "fp16"]
    assert judge(golden, *Rebuild("x", tmp_path / "a.onnx", threads=2).run(images, n_maps=16)).passed
    small_network(tmp_path / "b.onnx", seed=1)
    assert not judge(golden, *Rebuild("x", tmp_path / "b.onnx").run(images, n_maps=16)).passed
    assert not judge(golden, *Rebuild("x", tmp_path / "a.onnx").run(images[:, ::-1].copy(), n_maps=16)).passed
    assert layers(onnx.load(tmp_path / "a.onnx")) == ["conv", "head"]
    for layer in ("conv", "head"):
        scaled_layer(tmp_path / "a.onnx", tmp_path / "c.onnx", layer, factor=1.05)
        verdict = judge(golden, *Rebuild("x", tmp_path / "c.onnx").run(images, n_maps=16))
        assert not verdict.passed, layer
    with pytest.raises(UserError, match="no layer pool"):
        scaled_layer(tmp_path / "a.onnx", tmp_path / "c.onnx", "pool", factor=1.05)


def test_detection_on_engines_of_known_noise() -> None:
    """Good engines are the network plus noise; a bad one is off by as much as four times that, or has two classes
    exchanged: the first passes, the second is refused, every time."""
    rng = np.random.default_rng(0)
    golden = logits_like(600, CLASSES)

    def noisy(of: np.ndarray) -> Answers:
        return Answers((of + rng.normal(0, 0.05, of.shape)).astype(np.float32), None)

    good = {"threads": [noisy(golden)], "recalibrated": [noisy(golden) for _ in range(24)]}
    bad = {
        "noise of the same size": [noisy(golden)],
        "a constant": [noisy(golden + np.float32(0.2) * np.eye(CLASSES, dtype=np.float32)[1])],
        "exchanged": [noisy(exchanged(golden, 0, 3))],
    }
    # Judged, but it must not widen the limits: no bundle's come from it.
    good["re-exported"] = [Answers((golden * np.float32(1.3)).astype(np.float32), None)]
    lines = {line.kind: line for line in detection(golden, good, bad, n=300, n_maps=0, repeats=12, tries=60, seed=0)}
    assert lines.pop("re-exported").refused == 60
    assert lines["recalibrated"].refused == 0
    assert lines["noise of the same size"].refused == 0
    assert lines["a constant"].refused == lines["exchanged"].refused == 60
    assert all(line.tries == 60 for line in lines.values())
    assert "| exchanged | be refused | 60 | 60 | 100.00% |" in table(list(lines.values()))
    with pytest.raises(UserError, match="a draw must leave some out"):
        detection(golden, good, bad, n=300, n_maps=0, repeats=24, tries=1, seed=0)
