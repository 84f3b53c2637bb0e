"""measure.unknown from a user's own card to rows: which images are drawn, and that all arms see the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_evidence_stages import SIZES, evidence, rows_of

from edgexai.config.cards import read_card
from edgexai.data import pack
from edgexai.data.add import add_own
from edgexai.data.dataset import Dataset
from edgexai.errors import UserError
from edgexai.measure.subject import Subject
from edgexai.recipe.job import Job
from edgexai.recipe.stages_unknown import unknown, unknown_evidence
from edgexai.types import Images, Logits, Split

FOREIGN = ("A", "x", "y")  # the run's own classes are a to e: "A" is one of them
SHADE = {"A": 10, "x": 100, "y": 200}


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("EDGEXAI_HOME", str(tmp_path / "home"))
    rng = np.random.default_rng(0)
    for name in FOREIGN:
        for k in range(40):
            path = tmp_path / "tree" / name / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = (SHADE[name] + rng.integers(0, 20, (24, 24, 3))).astype(np.uint8)
            Image.fromarray(pixels).save(path)
    add_own("mine", tmp_path / "tree")
    return "mine"


def drawn_by(card: str, root: Path, *, classes: tuple[str, ...] = tuple("abcde")) -> Path:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    val = Split("val", images, np.arange(20) % 2, np.full((20, 4), np.nan, np.float32), np.arange(20))
    pack.write(Dataset("other", classes, {"val": val}, (0.5,) * 3, (0.25,) * 3), root / "data")
    unknown(job_of("unknown", {"name": card, "size": 32, "n": 9}, {"data": root / "data"}, root / "out"))
    return root / "out"


def job_of(stage: str, table: dict[str, Any], inputs: dict[str, Path], out: Path) -> Job:
    return Job(stage, stage, "natural", table, inputs, out, out.parent, 0, "cpu", None, lambda _: None)


def test_only_classes_of_its_own_are_drawn_and_the_same_again(card: str, tmp_path: Path) -> None:
    drawn = pack.read(drawn_by(card, tmp_path / "one"))
    assert drawn.name == card
    split = drawn.splits["test"]
    assert split.images.shape == (9, 32, 32, 3)
    assert split.images.min() >= 100  # nothing of class "A"
    assert {drawn.classes[k] for k in split.labels} == {"x", "y"}
    again = pack.read(drawn_by(card, tmp_path / "two"))
    assert again.splits["test"].digest() == split.digest()


def test_rows_follow_the_brightness_that_a_network_answers_to(card: str, tmp_path: Path) -> None:
    """It is sure of dark images, so the bright ones of "x" and "y" are rejected; a naive threshold says the same."""

    def predict(images: Images) -> Logits:
        dark = 1 - images.mean((1, 2, 3))
        return np.stack([8 * dark, np.zeros_like(dark)], axis=1).astype(np.float32)

    out = drawn_by(card, tmp_path)
    found = pack.read(tmp_path / "data")
    job = job_of("measure", {}, {"unknown": out}, tmp_path / "measured")
    who = Subject(predict, "natural", "fp32", "engine", "test")
    known = np.linspace(0.5, 1, 40)
    rows = {row.metric: row for row in unknown_evidence(job, who, found, known, split="test")}
    answers = [predict(s.as_float()) for s in (found.splits["val"], pack.read(out).splits["test"])]
    val, foreign = (1 / (1 + np.exp(-np.abs(a[:, 0].astype(float)))) for a in answers)
    threshold = np.sort(val)[1]  # of 20 images 19 are kept
    assert rows["reject_rate"].value == pytest.approx(np.mean(foreign < threshold - 1e-6))
    assert rows["reject_rate"].value == np.mean(pack.read(out).splits["test"].images.mean((1, 2, 3)) > 150)
    assert rows["known_accept_rate"].value == pytest.approx(np.mean(known >= threshold))
    assert {row.n for row in rows.values()} == {9, 40, 49}
    assert unknown_evidence(job_of("measure", {}, {}, tmp_path), who, found, known, split="test") == []


@pytest.mark.slow
def test_rows_of_the_deployed_engine(card: str, tmp_path: Path) -> None:
    folders = evidence(tmp_path, {"measure.unknown": card, "measure.unknown_n": 9})
    rows = {r.metric: r for r in rows_of(folders) if r.metric in ("reject_rate", "known_accept_rate", "unknown_auroc")}
    assert {(r.artefact, r.subject, r.arm) for r in rows.values()} == {("fp32", "engine", "natural")}
    assert {name: r.n for name, r in rows.items()} == {
        "reject_rate": 9,
        "known_accept_rate": SIZES["test"],
        "unknown_auroc": 9 + SIZES["test"],
    }
    assert {r.detail["data"] for r in rows.values()} == {card}


def test_a_card_whose_test_images_are_all_known_is_refused(card: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no test image is of a class that other lacks"):
        drawn_by(card, tmp_path, classes=read_card(card).classes)
