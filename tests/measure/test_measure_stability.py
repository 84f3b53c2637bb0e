"""Relative input stability: against a naive double loop, against Quantus, and what its rows say."""

from __future__ import annotations

from math import log10
from typing import Any

import numpy as np
import pytest

from edgexai.errors import ShapeError, UserError
from edgexai.measure.replay import Replay
from edgexai.measure.stability import HALF_A_LEVEL, relative_input_stability, replay_stability
from edgexai.measure.stats import bootstrap_mean
from edgexai.measure.subject import Subject
from edgexai.probe.noisy_copies import NoisyCopies
from edgexai.probe.probe_set import ProbeSet

P, N, S = 3, 4, 5


def arrays(seed: int = 0) -> tuple[Any, Any, Any, Any]:
    rng = np.random.default_rng(seed)
    maps = rng.normal(size=(N, S, S)).astype(np.float32)
    maps[:, 0, 0] = 0
    images = rng.integers(0, 6, (N, 3, S, S)).astype(np.float32) / 255  # many black pixels
    moved = (maps + rng.normal(size=(P, N, S, S)) * 0.1).astype(np.float32)
    copies = np.clip(images + rng.uniform(0.02, 0.2, (P, N, 3, S, S)), 0, 1).astype(np.float32)
    return maps, moved, images, copies


def naive(maps: Any, moved: Any, images: Any, copies: Any, stands: Any, floor: float) -> list[float]:
    """The definition, pixel by pixel."""
    out = []
    for n in range(len(maps)):
        best = float("nan")
        for p in range(len(moved)):
            if not stands[p, n]:
                continue
            above = below = 0.0
            for e, other in zip(maps[n].ravel().tolist(), moved[p, n].ravel().tolist(), strict=True):
                above += ((e - other) / (e if e else 1e-6)) ** 2
            for x, other in zip(images[n].ravel().tolist(), copies[p, n].ravel().tolist(), strict=True):
                below += ((x - other) / max(x, floor)) ** 2
            ratio = above**0.5 / max(below**0.5, 1e-6)
            best = ratio if np.isnan(best) else max(best, ratio)
        out.append(best)
    return out


@pytest.mark.parametrize("floor", [HALF_A_LEVEL, 1e-6])
def test_it_is_the_definition(floor: float) -> None:
    given = arrays()
    stands = np.random.default_rng(1).random((P, N)) < 0.6
    stands[:, 2], stands[0, :2] = False, True
    found = relative_input_stability(*given, same_class=stands, smallest_pixel=floor)
    assert np.allclose(found, naive(*given, stands, floor), rtol=1e-9, equal_nan=True)
    assert np.isnan(found).tolist() == [False, False, True, not stands[:, 3].any()]
    everything = relative_input_stability(*given, smallest_pixel=floor)
    assert np.allclose(everything, naive(*given, np.ones((P, N), bool), floor), rtol=1e-9)
    assert (everything >= np.nan_to_num(found)).all()


def test_it_agrees_with_quantus() -> None:
    """Figures of ``RelativeInputStability.relative_input_stability_objective``, Quantus 0.6.0, on these arrays."""
    k = np.arange(32).reshape(2, 4, 4)
    e = np.sin(k + 1.0)
    e[0, 1, 2] = 0.0
    moved = np.stack([e + 0.1 * np.cos(3 * k), e * 1.5 + 0.02])
    x = ((np.arange(96).reshape(2, 3, 4, 4) * 37) % 256) / 255.0
    copies = np.clip(np.stack([x + 0.05, x + 0.02 + 0.1 * (np.arange(96).reshape(x.shape) % 3)]), 0, 1)
    assert (x == 0).sum() == 1
    theirs = np.array([[1.3206334092298946, 1.7143739432752516], [0.9999997297665826, 0.5476518677234139]])
    for p in range(2):
        ours = relative_input_stability(e, moved[p : p + 1], x, copies[p : p + 1], smallest_pixel=1e-6)
        assert np.allclose(ours, theirs[p], rtol=1e-12)
    assert np.allclose(relative_input_stability(e, moved, x, copies, smallest_pixel=1e-6), theirs.max(0), rtol=1e-12)
    # One black pixel no longer hides that the first image's map moves.
    assert relative_input_stability(e, moved, x, copies)[0] > 100 * theirs[:, 0].max()


def test_scale_of_the_map_says_nothing_and_a_still_map_is_zero() -> None:
    maps, moved, images, copies = arrays()
    maps[:, 0, 0] = 1  # a zero counts as 1e-6 at every scale
    base = relative_input_stability(maps, moved, images, copies)
    assert np.allclose(relative_input_stability(maps * -8, moved * -8, images, copies), base)
    assert (relative_input_stability(maps, np.stack([maps] * P), images, copies) == 0).all()
    assert (relative_input_stability(maps, maps + 2 * (moved - maps), images, copies) > 1.9 * base).all()


def test_what_does_not_fit_is_refused() -> None:
    maps, moved, images, copies = arrays()
    for broken in (
        (maps, moved[:, :2], images, copies),
        (maps, moved[:0], images, copies[:0]),
        (maps, moved, images[:2], copies),
        (maps, moved, images, copies[:2]),
    ):
        with pytest.raises(ShapeError):
            relative_input_stability(*broken)
    with pytest.raises(ShapeError, match="same_class"):
        relative_input_stability(maps, moved, images, copies, same_class=np.ones((P, N)))
    with pytest.raises(UserError, match="above 0"):
        relative_input_stability(maps, moved, images, copies, smallest_pixel=0.0)
    moved[0, 0, 0, 0] = np.nan
    with pytest.raises(UserError, match="maps of copies"):
        relative_input_stability(maps, moved, images, copies)


def replayed(noisy: NoisyCopies | None, maps: Any, images: Any) -> Replay:
    empty: Any = np.zeros(0)
    probes = ProbeSet(empty, images, empty, None, empty, {}, maps, empty, empty, {"split": "val"}, noisy)
    out = Replay()
    replay_stability(Subject(lambda _: empty, "pruned", "twin", "twin", "torch"), probes, seed=3, out=out)
    return out


def test_rows_are_the_logarithm_of_the_mean() -> None:
    maps, moved, images, copies = arrays()
    stands = np.ones((P, N), bool)
    stands[:, 1] = False
    more = np.concatenate([maps, maps])  # more images are explained than have copies
    noisy = NoisyCopies(copies, stands, {"ig": moved, "vg": np.stack([maps] * P)})
    out = replayed(noisy, {"ig": more, "vg": more}, np.concatenate([images, images]))
    values = relative_input_stability(maps, moved, images, copies, same_class=stands)
    assert np.array_equal(out.verdicts["ris/ig"], values, equal_nan=True)
    mean = bootstrap_mean(values[~np.isnan(values)], seed=3)
    row, still = out.rows
    assert row.metric == still.metric == "relative_input_stability"
    assert (row.subject, row.artefact, row.arm, row.split, row.unit) == ("twin", "twin", "pruned", "val", "log10")
    assert [row.value, row.low, row.high] == pytest.approx([log10(v) for v in mean])
    assert (row.n, row.interval, row.detail["explainer"], row.detail["undefined"]) == (3, "bootstrap", "ig", 1)
    assert (still.value, still.low, still.status) == (None, None, "skipped")
    assert "no map moved" in still.reason
    lost = NoisyCopies(copies, np.zeros((P, N), bool), {"ig": moved})
    (row,) = replayed(lost, {"ig": maps}, images).rows
    assert (row.status, row.reason) == ("skipped", "no noisy copy is decided as its image")


def test_without_copies_there_is_nothing() -> None:
    maps, _, images, _ = arrays()
    out = replayed(None, {"ig": maps}, images)
    assert out.rows == []
    assert out.verdicts == {}
