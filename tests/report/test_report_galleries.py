"""Right, wrong, fooled and drifted signs: sorted by what the arrays say, with the maps in their places."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import synthetic_run
from PIL import Image

from edgexai.errors import ShapeError
from edgexai.report.folder import read_run
from edgexai.report.galleries import drift_gallery, galleries
from edgexai.report.html import render
from edgexai.report.pictures import overlay, strip_uri


def _pixels(uri: str) -> np.ndarray:
    data = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))


def _run(tmp_path: Path, **changed: np.ndarray) -> Path:
    folder = synthetic_run.make(tmp_path / "run", signs=4)
    path = folder / "pictures" / "pruned.npz"
    with np.load(path) as data:
        arrays = dict(data)
    labels = np.array([0, 1, 2, 3])
    arrays |= {
        "labels": labels, "pred_twin": labels, "pred_engine": np.array([0, 9, 2, 3]),
        "pred_attacked": np.array([5, 9, 2, 7]), "attack": np.array("pgd@8/255"),
        "attacked": 255 - arrays["images"],
    }  # fmt: skip
    np.savez(path, **(arrays | changed))
    return folder


def test_signs_are_sorted_by_what_was_decided(tmp_path: Path) -> None:
    run = read_run(_run(tmp_path))
    found = {g.kind: g for g in galleries(run, ["pruned"])}
    assert {kind: [s.name for s in g.signs] for kind, g in found.items()} == {
        "wrong": [run.class_name(1)],  # wrong already when clean: not called fooled
        "fooled": [run.class_name(0), run.class_name(3)],
        "right": [run.class_name(2)],
    }
    assert found["fooled"].title == "Fooled by PGD, eps 8/255"
    first = found["fooled"].signs[0]
    assert f"attacked: engine says {run.class_name(5)}" in first.said
    clean, attacked = (_pixels(tile.uri)[..., :3] for tile in first.tiles)
    assert np.array_equal(attacked, 255 - clean)
    assert all(len(s.tiles) == 1 for kind in ("wrong", "right") for s in found[kind].signs)
    page = render(run)
    assert "Fooled by PGD, eps 8/255 – 2 signs" in page
    assert "Decided wrongly – 1 sign<" in page


def test_without_attacked_pictures_no_sign_is_fooled(tmp_path: Path) -> None:
    run = read_run(synthetic_run.make(tmp_path / "run"))
    assert {g.kind for g in galleries(run, list(run.pictures))} == {"wrong", "right"}


def test_a_strip_holds_every_map_in_its_place() -> None:
    g = np.random.default_rng(0)
    image = g.integers(0, 255, (16, 16, 3)).astype(np.uint8)
    maps = [overlay(image, g.normal(0, 1, (16, 16)).astype(np.float32)) for _ in range(2)]
    shown = _pixels(strip_uri([maps[0], None, maps[1]]))
    assert shown.shape == (16, 48, 4)
    assert (shown[:, 16:32, 3] == 0).all()
    for at, tile in ((0, maps[0]), (32, maps[1])):
        assert (shown[:, at : at + 16, 3] == 255).all()
        error = np.abs(shown[:, at : at + 16, :3].astype(int) - tile)
        assert error.mean() < 8  # 128 colours
        other = np.abs(shown[:, at : at + 16, :3].astype(int) - maps[0 if at else 1])
        assert other.mean() > 3 * error.mean()
    with pytest.raises(ShapeError):
        strip_uri([None])
    with pytest.raises(ShapeError):
        strip_uri([maps[0], maps[0][:8]])


def test_the_most_drifted_come_first(tmp_path: Path) -> None:
    folder = _run(tmp_path)
    g = np.random.default_rng(1)
    with np.load(folder / "pictures" / "pruned.npz") as data:
        images = data["images"]
    np.savez(
        folder / "pictures" / "drift_pruned.npz", images=images, labels=np.arange(4), pred_before=np.arange(4),
        pred_after=np.array([0, 1, 2, 8]), map_before=g.normal(0, 1, (4, 32, 32)).astype(np.float32),
        map_after=g.normal(0, 1, (4, 32, 32)).astype(np.float32), drift=np.array([0.1, np.nan, 0.9, 0.5]),
        step=np.array(["fp32 to int8"] * 4), explainer=np.array(["lime"] * 4),
    )  # fmt: skip
    run = read_run(folder)
    assert set(run.pictures) == {"natural", "refined", "control", "pruned"}
    found = drift_gallery(run, run.drifts["pruned"], arm="pruned", most=3)
    assert [s.name for s in found.signs] == [run.class_name(k) for k in (2, 3, 0)]
    assert found.left_out == 1
    assert found.signs[1].said == [
        "fp32 to int8", "LIME", f"before: {run.class_name(3)}", f"after: {run.class_name(8)}", "drift 0.50",
    ]  # fmt: skip
    before = _pixels(found.signs[0].strips[0].uri)[:, :32, :3].astype(int)
    wanted = overlay(images[2], run.drifts["pruned"]["map_before"][2])
    assert np.abs(before - wanted).mean() < 8
    assert "Why did it change its mind?" in render(run)
