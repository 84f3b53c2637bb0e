"""A report of a thousand signs with their maps: in time, small enough, and what does not fit is said."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pytest
import synthetic_run

from edgexai.report import galleries
from edgexai.report.folder import read_run
from edgexai.report.html import render, write_report

SIGNS = 1000
LIMIT_SECONDS, LIMIT_BYTES = 10, 15_000_000


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thousand stored signs of one arm, half of them fooled, with six maps of the twin and two of the engine."""
    folder = synthetic_run.make(tmp_path_factory.mktemp("many") / "run", signs=2)
    g = np.random.default_rng(3)
    # Real pictures compress better than noise: a coarse scene under fine noise, as a camera gives.
    coarse = np.kron(g.integers(0, 255, (SIGNS, 8, 8, 3)), np.ones((1, 4, 4, 1)))
    images = np.clip(coarse + g.normal(0, 6, (SIGNS, 32, 32, 3)), 0, 255).astype(np.uint8)
    labels = g.integers(0, 10, SIGNS)
    pack = {
        "images": images, "labels": labels, "boxes": np.tile(np.array([4, 4, 28, 28], np.float32), (SIGNS, 1)),
        "pred_twin": labels, "pred_engine": labels, "attacked": images[::-1],
        "pred_attacked": np.where(np.arange(SIGNS) % 2, labels, (labels + 1) % 10), "attack": np.array("pgd@8/255"),
    }  # fmt: skip
    # As maps are: gradients noisy, CAM smooth, LIME a grid of cells.
    middle = np.exp(-((np.mgrid[:32, :32] - 16) ** 2).sum(0) / 80).astype(np.float32)
    maps = {
        "noisy": (g.normal(0, 1, (SIGNS, 32, 32)) * middle).astype(np.float32),
        "smooth": middle * g.uniform(0.5, 1, (SIGNS, 1, 1)).astype(np.float32),
        "cells": np.kron(g.normal(0, 1, (SIGNS, 8, 8)), np.ones((1, 4, 4))).astype(np.float32),
    }
    kinds = {"vg": "noisy", "ig": "noisy", "smoothgrad": "noisy", "gradcam": "smooth", "cam": "smooth", "lime": "cells"}
    pack |= {f"twin__{name}": maps[kind] for name, kind in kinds.items()}
    pack |= {f"engine__{name}": maps[kinds[name]] for name in ("cam", "lime")}
    for old in (folder / "pictures").iterdir():
        old.unlink()
    np.savez(folder / "pictures" / "pruned.npz", **pack)
    return folder


@pytest.mark.slow
def test_a_thousand_signs_in_ten_seconds_and_fifteen_megabytes(many: Path) -> None:
    start = time.process_time()  # of this process: other work on the machine must not decide
    page = write_report(many, signs=SIGNS)
    assert time.process_time() - start < LIMIT_SECONDS
    assert page.stat().st_size < LIMIT_BYTES
    text = page.read_text("utf-8")
    shown = text.count('<figure class="sign">')
    left_out = sum(int(n) for n in re.findall(r"\((\d+) more are stored\)", text))
    assert shown + left_out == SIGNS
    assert shown > 0.9 * SIGNS


def test_what_does_not_fit_is_counted(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(galleries, "BUDGET_BYTES", 60_000)
    run = read_run(many)
    found = galleries.galleries(run, ["pruned"], most=SIGNS)
    assert [g.kind for g in found] == ["fooled", "right"]
    assert sum(len(g.signs) + g.left_out for g in found) == SIGNS
    assert 0 < sum(len(g.signs) for g in found) < 20
    assert "more are stored" in render(run, signs=SIGNS)


def test_few_signs_are_shown_unless_more_are_asked_for(many: Path) -> None:
    run = read_run(many)
    for most in (0, 3):
        found = galleries.galleries(run, ["pruned"], most=most)
        assert [len(g.signs) for g in found] == [most, most]
        assert [g.left_out for g in found] == [500 - most, 500 - most]
