"""The drift ledger on steps whose drift is known: shifted logits, moved and negated maps, floors, pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgexai.errors import ShapeError, UserError
from edgexai.measure.drift import centre_shift
from edgexai.measure.drifted import drifted
from edgexai.measure.flags import check
from edgexai.measure.ledger import OWN_SEED, REBUILDING, Step, ledger_rows
from edgexai.types import Row

N, M, K = 200, 120, 4
RNG = np.random.default_rng(0)
LABELS = np.arange(N) % K
LOGITS = (np.eye(K)[LABELS] * 4 + RNG.standard_normal((N, K)) * 0.1).astype(np.float32)
MAPS = RNG.standard_normal((M, 12, 12)).astype(np.float32)


def step(name: str, **more: Any) -> Step:
    words: dict[str, Any] = {"arm": "natural", "artefact": name, "subject": "engine", "runtime": "r"}
    words |= {"logits": LOGITS, "maps": {"lime": MAPS}, **more}
    return Step(name, **words)


def noisy(scale: float, seed: int) -> np.ndarray[Any, Any]:
    return (MAPS + scale * np.random.default_rng(seed).standard_normal(MAPS.shape)).astype(np.float32)


def flipped(count: int) -> np.ndarray[Any, Any]:
    """The first ``count`` images decided otherwise."""
    out = LOGITS.copy()
    out[:count] = np.roll(out[:count], 1, axis=1)
    return out


def rows_of(*steps: Step) -> dict[tuple[str, str, str], Row]:
    rows = ledger_rows(steps, LABELS, seed=0, split="test")
    assert all(Row.from_json(row.to_json()) == row for row in rows)
    return {(str(r.detail["step"]), r.metric, str(r.detail.get("against", ""))): r for r in rows}


def test_nothing_moves_between_equal_steps() -> None:
    rows = rows_of(step("natural"), step("fp32", before="natural"))
    for metric in ("logit_drift", "map_drift", "top_drift", "centre_shift"):
        row = rows["fp32", metric, "natural"]
        assert row.value == pytest.approx(0, abs=1e-12)
        assert row.n == (N if metric == "logit_drift" else M)
    assert rows["fp32", "agreement", "natural"].value == 1
    assert rows["natural", "step_acc", ""].value == rows["fp32", "step_acc", ""].value == 1
    assert ("natural", "agreement", "") not in rows


def test_a_known_drift_is_told() -> None:
    """Logits shifted by a half; 30 of 200 decisions turned; maps negated, so that the drift is 2."""
    moved = step("int8", before="fp32", logits=flipped(30) + np.float32(0.5), maps={"lime": -MAPS})
    rows = rows_of(step("fp32"), moved)
    assert rows["int8", "agreement", "fp32"].value == pytest.approx(1 - 30 / N)
    assert rows["int8", "step_acc", ""].value == pytest.approx(1 - 30 / N)
    drift = np.abs((flipped(30) + 0.5) - LOGITS).mean()
    assert rows["int8", "logit_drift", "fp32"].value == pytest.approx(drift, rel=1e-5)
    assert rows["int8", "map_drift", "fp32"].value == pytest.approx(2)
    assert rows["int8", "map_drift", "fp32"].n == M - 30  # images decided otherwise explain another class
    assert rows["int8", "map_drift", "fp32"].detail["undefined"] == 30
    shifted = rows_of(step("fp32"), step("int8", before="fp32", logits=LOGITS + np.float32(0.5)))
    assert shifted["int8", "logit_drift", "fp32"].value == pytest.approx(0.5)
    assert shifted["int8", "agreement", "fp32"].value == 1


def test_unrelated_maps_drift_by_one() -> None:
    rows = rows_of(step("fp32"), step("int8", before="fp32", maps={"lime": noisy(1e6, 1)}))
    assert rows["int8", "map_drift", "fp32"].value == pytest.approx(1, abs=0.05)
    assert rows["int8", "top_drift", "fp32"].value == pytest.approx(0.9, abs=0.05)


def test_the_centre_moves_as_far_as_the_map() -> None:
    maps = np.zeros((2, 16, 16), np.float32)
    maps[:, 4:6, 4:6] = (1, -2)
    moved = np.roll(maps, (3, 4), axis=(1, 2))
    assert centre_shift(maps, moved) == pytest.approx([5.0, 5.0])
    assert centre_shift(maps, -maps) == pytest.approx([0.0, 0.0])
    assert np.isnan(centre_shift(maps, np.zeros_like(maps))).all()
    with pytest.raises(ShapeError):
        centre_shift(maps, moved[:1])


def test_drift_is_read_beside_both_floors() -> None:
    fp32 = step("fp32")
    small = step("int8", before="fp32", maps={"lime": noisy(0.05, 1)})
    large = step("pruned", before="fp32", maps={"lime": noisy(1.0, 2)}, logits=flipped(60))
    again = step("rebuilt 1", before="int8", floor=REBUILDING, maps={"lime": noisy(0.2, 3)})
    seed = step("own seed", before="int8", floor=OWN_SEED, maps={"lime": noisy(0.1, 4)})
    rows = rows_of(fp32, large, small, again, seed)
    told = {name: rows[name, "map_drift", "fp32"].detail for name in ("int8", "pruned")}
    assert told["int8"]["above_floor"] == "no"
    assert told["pruned"]["above_floor"] == "yes"
    for detail in told.values():
        assert detail["floor_rebuilt"] == pytest.approx(rows["rebuilt 1", "map_drift", "int8"].value)
        assert detail["floor_seed"] == pytest.approx(rows["own seed", "map_drift", "int8"].value)
        assert float(detail["floor_rebuilt"]) > float(detail["floor_seed"]) > 0
    assert rows["pruned", "agreement", "fp32"].detail["above_floor"] == "yes"  # beyond: below what rebuilding keeps
    assert rows["int8", "agreement", "fp32"].detail["above_floor"] == "no"
    assert rows["rebuilt 1", "map_drift", "int8"].detail["floor"] == REBUILDING
    assert "above_floor" not in rows["rebuilt 1", "map_drift", "int8"].detail
    assert ("own seed", "step_acc", "") not in rows


def test_the_twin_is_held_beside_the_step_before() -> None:
    twin = step("natural", maps={"lime": noisy(0.5, 1)}, subject="twin", artefact="twin")
    rows = rows_of(twin, step("fp32", before="natural"), step("int8", before="fp32", twin="natural"))
    assert rows["int8", "map_drift", "fp32"].value == pytest.approx(0, abs=1e-12)
    far = rows["int8", "map_drift", "natural"].value
    assert far is not None
    assert far > 0.05
    with pytest.raises(UserError, match="not there"):
        rows_of(step("fp32", before="nothing"))


def test_only_common_explainers_and_images_are_compared() -> None:
    one = step("natural", maps={"ig": MAPS, "lime": MAPS[:50]})
    rows = rows_of(one, step("fp32", before="natural"))
    assert rows["fp32", "map_drift", "natural"].n == 50
    assert {r.detail.get("explainer") for r in rows.values()} == {None, "lime"}
    nothing = rows_of(step("natural"), step("fp32", before="natural", maps={}))
    assert not [r for r in nothing.values() if r.metric == "map_drift"]
    other = rows_of(step("natural"), step("fp32", before="natural", logits=np.roll(LOGITS, 1, axis=1)))
    skipped = other["fp32", "map_drift", "natural"]
    assert (skipped.status, skipped.value) == ("skipped", None)
    assert "decide alike" in skipped.reason


def test_ledger_rows_do_not_raise_the_parity_flag() -> None:
    rows = ledger_rows([step("a"), step("b", before="a", logits=flipped(150))], LABELS, seed=0, split="test")
    (row,) = [r for r in check(rows) if r.metric == "agreement"]
    assert "unlike_twin" not in row.flags
    (plain,) = check([replace(row, detail={})])
    assert "unlike_twin" in plain.flags


def test_the_images_that_moved_most_are_kept() -> None:
    images = RNG.integers(0, 256, (M, 12, 12, 3)).astype(np.uint8)
    maps = MAPS.copy()
    maps[7], maps[11] = -MAPS[7], noisy(1.0, 5)[11]
    logits = LOGITS.copy()
    logits[7] = np.roll(logits[7], 1)
    steps = [
        step("fp32"),
        step("int8", before="fp32", maps={"lime": maps}, logits=logits),
        step("rebuilt 1", before="int8", floor=REBUILDING, maps={"lime": -MAPS}),
    ]
    found = drifted(steps, images, LABELS[:M], per_step=2)
    assert found["drift"] == pytest.approx([2.0, found["drift"][1]])
    assert (found["images"] == images[[7, 11]]).all()
    assert (found["map_before"] == MAPS[[7, 11]]).all()
    assert (found["map_after"] == maps[[7, 11]]).all()
    assert found["pred_before"].tolist() == LABELS[[7, 11]].tolist()
    assert found["pred_after"].tolist() == [(LABELS[7] + 1) % K, LABELS[11]]
    assert found["step"].tolist() == ["fp32 -> int8"] * 2
    assert found["explainer"].tolist() == ["lime"] * 2
    assert (
        drifted([step("fp32"), step("int8", before="fp32")], images, LABELS[:M]) == {}
    )  # nothing moved, nothing shown
    assert drifted([step("fp32")], images, LABELS[:M]) == {}
