"""Sanity by labels: a network of shuffled labels as the other side; and maps that are constant decide nothing."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from test_explain_foreign import CLASSES
from test_explain_run import photos as photos
from test_explain_run import run as run

from edgexai.cli.main import main
from edgexai.explain.apply import ExplainSettings, explain
from edgexai.explain.sanity import map_correlation, sanity_check
from edgexai.models import store
from edgexai.models.arch import Arch


def without(small, *classes):
    """The same network, blind for some classes: their gradient is 0 everywhere."""
    other = copy.deepcopy(small)
    with torch.no_grad():
        other.head.weight[list(classes)] = 0
    return other


@pytest.mark.parametrize("blind", ["own", "other"])
def test_constant_maps_never_pass(blind, small, other_small, images, targets):
    """A map of zeros correlates with nothing: once that was a correlation of 0, hence a pass."""
    pictures, labels = images.numpy(), targets.numpy()
    own, other = (without(small, 0, 1, 2, 3, 4), other_small) if blind == "own" else (small, without(small, *range(5)))
    verdict = sanity_check("vg", pictures, labels, model=own, against=[other])
    assert verdict.status == "undecided"
    assert not verdict.passed
    assert verdict.constant == len(pictures)
    assert np.isnan(verdict.median)
    assert np.isnan(verdict.correlation).all()


def test_a_few_constant_maps_are_left_out_and_counted(small, other_small, images, targets, as_predict):
    pictures, labels = images.numpy(), targets.numpy()  # class 0 once, class 1 twice
    verdict = sanity_check("vg", pictures, labels, model=small, against=[without(other_small, 0)])
    assert verdict.constant == 1
    assert np.isnan(verdict.correlation).tolist() == [True, False, False, False, False, False]
    maps = [explain("vg", pictures, labels, predict=as_predict(m), model=m).maps for m in (small, other_small)]
    expected = map_correlation(*maps)[1:]
    np.testing.assert_allclose(verdict.correlation[1:], expected, rtol=1e-6)
    assert verdict.median == pytest.approx(float(np.median(expected)))
    assert verdict.passed == (verdict.median < verdict.threshold)
    # half may be constant, one more may not
    half = sanity_check("vg", pictures, labels, model=small, against=[without(other_small, 0, 1)])
    assert (half.constant, half.status != "undecided") == (3, True)
    more = sanity_check("vg", pictures, labels, model=small, against=[without(other_small, 0, 1, 2)])
    assert (more.constant, more.status) == (4, "undecided")


def test_one_draw_that_can_be_compared_is_enough(small, other_small, images, targets):
    pictures, labels = images.numpy(), targets.numpy()
    blind = without(small, *range(5))
    alone = sanity_check("vg", pictures, labels, model=small, against=[other_small])
    both = sanity_check("vg", pictures, labels, model=small, against=[blind, other_small])
    assert both.constant == 0
    np.testing.assert_allclose(both.correlation, alone.correlation)


def test_the_same_network_fails_and_a_method_without_network_too(small, images, targets):
    settings = ExplainSettings(rise_masks=100)
    for name in ("vg", "gradcam", "edges"):
        verdict = sanity_check(name, images.numpy(), targets.numpy(), model=small, against=[small], settings=settings)
        assert verdict.status == "failed", name


@pytest.fixture
def learnt_by_heart(run: Path) -> Path:
    """A run whose network has the same shape and learnt shuffled labels; only its weights and its summary are read."""
    home = run.parents[2]
    save(home, "k9", widths=(8, 8, 8), summary={"shuffled_train_acc": 0.75})
    return home


def save(home: Path, key: str, *, widths: tuple[int, ...], summary: dict[str, float]) -> None:
    net = store.build(Arch("lisa_cnn", widths, CLASSES, 28, (0.5,) * 3, (0.25,) * 3), seed=9)
    folder = home / "store" / "train" / key
    store.save(net, folder)
    (folder / "summary.json").write_text(json.dumps(summary))
    lock = home / "runs" / f"run_{key}" / "0123456789ab"
    lock.mkdir(parents=True)
    nodes = [{"name": "train", "stage": "train", "arm": "natural", "key": key, "inputs": {}}]
    (lock / "recipe.lock.json").write_text(json.dumps({"nodes": nodes}))


def test_the_verdicts_are_told_beside_those_of_shuffled_weights(
    learnt_by_heart: Path, photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["explain", "mine", *map(str, photos), "--method", "vg,edges", "--against", "run_k9", "--out", str(out)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "labels FAILED (1.00)" in next(line for line in said.splitlines() if line.startswith("edges"))
    assert "learnt 75% of its shuffled labels by heart" in said
    told = json.loads((out / "explanations.json").read_text())
    assert told["against"] == {"run": "run_k9", "shuffled_train_acc": 0.75, "chance": 1 / CLASSES}
    assert told["methods"]["edges"]["sanity"] is None  # not asked for
    found = {name: method["label_sanity"] for name, method in told["methods"].items()}
    assert (found["edges"]["status"], found["edges"]["passed"]) == ("failed", False)
    assert found["vg"]["median_correlation"] < 0.9
    # what is told is what the check gives for these two networks
    own, other = (store.load(learnt_by_heart / "store" / "train" / key).eval() for key in ("k1", "k9"))
    arrays = np.load(out / "maps.npz")
    pictures = arrays["images"].transpose(0, 3, 1, 2).astype(np.float32) / 255
    verdict = sanity_check("vg", pictures, arrays["targets"], model=own, against=[other])
    assert found["vg"]["median_correlation"] == pytest.approx(verdict.median, abs=1e-6)
    assert found["vg"]["passed"] == verdict.passed


def test_other_runs_are_refused(
    learnt_by_heart: Path, photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], run: Path
) -> None:
    save(learnt_by_heart, "true", widths=(8, 8, 8), summary={"val_acc": 0.9})
    save(learnt_by_heart, "wide", widths=(8, 8, 16), summary={"shuffled_train_acc": 0.9})
    out, files = tmp_path / "out", [str(photo) for photo in photos]
    onnx = str(run / "engine" / "fp16.onnx")
    for model, other, given, code, why in (
        ("mine", "mine", files, 2, "not trained on shuffled labels"),
        ("mine", "run_true", files, 2, "not trained on shuffled labels"),
        ("mine", "run_wide", files, 2, "another architecture: widths"),
        ("mine", "nowhere", files, 2, "nowhere"),
        ("run_k9", "run_k9", files, 2, "the very network of run_k9"),
        ("mine", "run_k9", files[:1], 2, "one picture"),
        (onnx, "run_k9", files, 3, "--against"),
    ):
        assert main(["explain", model, *given, "--method", "occlusion", "--against", other, "--out", str(out)]) == code
        assert why in capsys.readouterr().err
    assert not out.exists()
