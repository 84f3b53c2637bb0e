"""Rows of attacks: who made what, on how many images, and the worst case over them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgexai.measure.flags import check
from edgexai.measure.replay import Replay, replay_attacks
from edgexai.measure.subject import Subject
from edgexai.probe.probe_set import ProbeSet
from edgexai.types import Images, Logits, Row

N, FEW = 40, 15
BIG, SMALL = "0.1", "0.01"


def predict(images: Images) -> Logits:
    """Decides by the first pixel: 1 above one half, else 0."""
    first = images[:, 0, 0, 0]
    return np.stack([0.5 - first, first - 0.5], axis=1).astype(np.float32)


def probes(names: tuple[str, ...]) -> tuple[ProbeSet, dict[str, np.ndarray]]:
    """A probe set whose attacks fool images that are known here: name -> bool, True where it stands."""
    rng = np.random.default_rng(0)
    images = rng.random((N, 3, 4, 4), dtype=np.float32) * np.float32(0.2) + np.float32(0.4)
    labels = np.arange(N, dtype=np.int64) % 2
    images[:, 0, 0, 0] = np.where(labels, 0.9, 0.1)  # out of reach for Square and noise at these radii
    attacked, stands = {}, {}
    for name in names:
        count = FEW if name.startswith("apgd") else N
        stands[name] = rng.random(count) < 0.6
        attacked[name] = images[:count].copy()
        attacked[name][:, 0, 0, 0] = np.where(stands[name] == (labels[:count] == 1), 0.8, 0.2)
    empty: Any = np.zeros(0)
    settings = {"seed": 0, "pgd_steps": 40, "apgd_steps": 100, "split": "test"}
    return ProbeSet(empty, images, labels, None, empty, attacked, {}, empty, empty, settings), stands


def replayed(names: tuple[str, ...], *, subject: Any = "engine", attacks: tuple[str, ...] = ("square", "noise")) -> Any:
    given, stands = probes(names)
    out = Replay()
    who = Subject(predict, "natural", "fp32", subject, "numpy")
    replay_attacks(who, given, eps=(SMALL, BIG), attacks=attacks, square_queries=5, square_n=25, seed=0, out=out)
    return out, stands


def rows_of(out: Replay, attack: str) -> list[Row]:
    return [row for row in out.rows if row.detail["attack"] == attack]


def test_apgd_rows_say_what_they_are() -> None:
    names = tuple(f"{attack}@{eps}" for attack in ("pgd", "apgd-ce", "apgd-dlr") for eps in (SMALL, BIG))
    out, stands = replayed(names)
    for name in names:
        attack, eps = name.split("@")
        (row,) = [row for row in rows_of(out, attack) if row.detail["eps"] == eps]
        assert row.detail["source"] == "transfer"
        assert row.detail["steps"] == (40 if attack == "pgd" else 100)
        assert row.n == (N if attack == "pgd" else FEW)
        assert row.value == stands[name].mean()
        assert row.subject == "engine"
        assert np.array_equal(out.verdicts[f"robust/{name}"], stands[name])
    twin, _ = replayed(names, subject="twin", attacks=())
    assert {row.detail["source"] for row in rows_of(twin, "apgd-ce")} == {"white_box"}


def test_the_union_is_the_worst_case_per_image() -> None:
    names = tuple(f"{attack}@{eps}" for attack in ("fgsm", "pgd", "apgd-ce", "apgd-dlr") for eps in (SMALL, BIG))
    out, stands = replayed(names)
    by_eps = {str(row.detail["eps"]): row for row in rows_of(out, "union")}
    assert set(by_eps) == {SMALL, BIG}
    for eps, row in by_eps.items():
        worst = np.logical_and.reduce([stands[f"{a}@{eps}"][:FEW] for a in ("pgd", "apgd-ce", "apgd-dlr")])
        assert row.value == worst.mean()
        assert row.n == FEW
        assert np.array_equal(out.verdicts[f"robust/union@{eps}"], worst)
        assert worst.mean() < stands[f"apgd-ce@{eps}"].mean()
    assert by_eps[BIG].detail["source"] == "worst of pgd, apgd-ce, apgd-dlr and square"
    assert by_eps[SMALL].detail["source"] == "worst of pgd, apgd-ce and apgd-dlr"  # Square runs at the largest eps only


def test_without_apgd_the_rows_are_as_they_were() -> None:
    names = (f"fgsm@{SMALL}", f"fgsm@{BIG}", f"pgd@{SMALL}", f"pgd@{BIG}")
    out, stands = replayed(names)
    told = [(row.detail["attack"], row.detail["eps"], row.n) for row in out.rows]
    assert told == [
        ("fgsm", SMALL, N), ("fgsm", BIG, N), ("pgd", SMALL, N), ("pgd", BIG, N),
        ("noise", SMALL, N), ("noise", BIG, N), ("square", BIG, 25), ("union", BIG, 25),
    ]  # fmt: skip
    assert out.rows[-1].detail == {"attack": "union", "eps": BIG, "source": "worst of pgd and square"}
    assert np.array_equal(out.verdicts[f"robust/union@{BIG}"], stands[f"pgd@{BIG}"][:25])
    twin, _ = replayed(names, subject="twin", attacks=())
    assert not rows_of(twin, "union")
    assert "steps" not in rows_of(out, "fgsm")[0].detail


@pytest.mark.parametrize("attack", ["apgd-ce", "apgd-dlr"])
def test_flags_watch_apgd_as_they_watch_pgd(attack: str) -> None:
    def row(value: float, name: str, eps: str = "8/255") -> Row:
        detail: dict[str, str | int | float] = {"attack": name, "eps": eps}
        return Row("natural", "fp32", "engine", "robust_acc", value, "fraction", 1000, value - 0.02, value + 0.02,
                   detail=detail)  # fmt: skip

    def raised(*rows: Row) -> set[str]:
        return {flag for found in check(list(rows)) if found.detail["attack"] == attack for flag in found.flags}

    strong = row(0.4, attack)
    assert not raised(strong, row(0.5, "square"), row(0.9, "noise"), row(0.6, "fgsm"), row(0.7, attack, "2/255"))
    assert raised(strong, row(0.3, "square")) == {"black_box_beats_white_box"}
    assert raised(strong, row(0.3, "noise")) == {"noise_beats_attack"}
    assert raised(strong, row(0.3, "fgsm")) == {"one_step_beats_many"}
    assert raised(strong, row(0.4, attack, "2/255")) == {"robust_not_falling"}


@pytest.mark.parametrize(("radius", "expected"), [(None, BIG), (SMALL, SMALL)])
def test_square_takes_the_radius_it_is_given(radius: str | None, expected: str) -> None:
    given, _ = probes((f"pgd@{BIG}",))
    out = Replay()
    who = Subject(predict, "natural", "fp32", "engine", "numpy")
    words: dict[str, Any] = {"eps": (SMALL, BIG), "attacks": ("square",), "square_queries": 5, "square_n": 9}
    replay_attacks(who, given, **words, square_eps=radius, seed=0, out=out)
    assert [name for name in out.verdicts if "square" in name] == [f"robust/square@{expected}"]
