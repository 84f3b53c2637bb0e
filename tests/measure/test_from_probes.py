"""``edgexai measure ENGINE --probes P``: what lies in the probes is replayed, and agrees with the plain computation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from foreign_files import classifier

from edgexai.cli.main import main
from edgexai.explain.segment import grid
from edgexai.probe.probe_set import ProbeSet, write_probes
from edgexai.types import Row


@pytest.fixture
def probes(tmp_path: Path) -> ProbeSet:
    """Sixteen images and a "twin" that decides by the mean of all channels but one time in eight otherwise."""
    draws = np.random.default_rng(0)
    images = draws.integers(60, 190, (16, 3, 16, 16)).astype(np.float32) / np.float32(255)
    logits = 60 * images.mean((2, 3))[:, ::-1]
    labels = logits.argmax(1).astype(np.int64)
    labels[:4] = (labels[:4] + 1) % 3
    told = logits.copy()
    told[::8] = np.roll(told[::8], 1, axis=1)
    region = np.zeros((16, 16, 16), dtype=np.bool_)
    region[:, 4:12, 4:12] = True
    flat = 1 - np.abs(images - images.mean()).mean(1)
    made = ProbeSet(
        index=np.arange(16),
        images=images,
        labels=labels,
        relevance=region,
        logits=told.astype(np.float32),
        attacked={"pgd@8/255": np.clip(images[:, ::-1].copy(), 0, 1)},
        maps={"ig": flat[:8]},
        targets=told.argmax(1).astype(np.int64)[:8],
        segments=grid(16, 4),
        settings={"seed": 0, "pgd_steps": 3, "split": "test"},
    )
    write_probes(made, tmp_path / "probes")
    return made


def test_rows_are_the_plain_computation(probes: ProbeSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEXAI_HOME", str(tmp_path / "home"))
    out = tmp_path / "rows.jsonl"
    words = ["measure", str(classifier(tmp_path / "m.onnx")), "--probes", str(tmp_path / "probes")]
    assert main([*words, "--square-queries", "5", "--square-n", "4", "--out", str(out)]) == 0
    rows = [Row.from_json(line) for line in out.read_text().splitlines()]
    images = np.rint(probes.images * 255).astype(np.float64) / 255
    decided = images.mean((2, 3))[:, ::-1].argmax(1)
    value = {(r.metric, str(r.detail.get("attack", ""))): r.value for r in rows}
    assert value["clean_acc", ""] == (decided == probes.labels).mean() == 12 / 16
    assert value["agreement", ""] == (decided == probes.logits.argmax(1)).mean() == 14 / 16
    swapped = probes.attacked["pgd@8/255"].mean((2, 3))[:, ::-1].argmax(1)
    assert value["robust_acc", "pgd"] == (swapped == probes.labels).mean()
    assert {attack for metric, attack in value if metric == "robust_acc"} == {"pgd", "noise", "square", "union"}
    explained = {(r.metric, str(r.detail["explainer"]), str(r.detail["map"])) for r in rows if "map" in r.detail}
    assert {("roi_share", "ig", "twin"), ("roi_share", "lime", "engine")} <= explained
    assert any(r.metric == "road_gap" for r in rows)
    assert next(r for r in rows if r.metric == "clean_acc").detail["images"] == "probes"


def test_what_does_not_fit_is_refused(
    probes: ProbeSet, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEXAI_HOME", str(tmp_path / "home"))
    four = str(classifier(tmp_path / "four.onnx", order=(0, 1, 2, -1)))
    assert main(["measure", four, "--probes", str(tmp_path / "probes")]) == 2
    assert "the engine has 4 classes, the probes 3" in capsys.readouterr().err
    assert main(["measure", four, "--probes", str(tmp_path / "nothing")]) == 2
    assert main(["measure", four]) == 2
    assert "give --data CARD or --probes FOLDER" in capsys.readouterr().err
    assert main(["measure", four, "--data", "signs", "--probes", "x"]) == 2
    assert main(["measure", four, "--probes", str(tmp_path / "probes"), "--shards", "1/2"]) == 2
