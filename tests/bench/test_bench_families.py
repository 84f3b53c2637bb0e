"""Every family runs on tiny settings, and what it times is what it says it times. No speed is asserted."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from edgexai.bench import FAMILIES, lime_speed
from edgexai.bench.data_path import our_batches, torchvision_loader, write_folder
from edgexai.bench.epoch import natural_batches, pure_steps, ready_batches
from edgexai.bench.line import Line
from edgexai.bench.run import run_bench
from edgexai.bench.settings import BenchSettings
from edgexai.bench.startup import imports
from edgexai.bench.workshop import Workshop
from edgexai.cli.main import main
from edgexai.errors import UserError
from edgexai.explain.lime import lime
from edgexai.explain.segment import grid
from edgexai.train.augment import augment_sign
from edgexai.train.feed import Feed
from edgexai.train.loop import LoopSettings
from edgexai.train.natural import fit_natural
from edgexai.train.optimiser import sgd

TINY = BenchSettings(
    rounds=2,
    batch_size=16,
    segment_batches=2,
    signs_per_class=6,
    data_images=64,
    lime_images=1,
    lime_samples=64,
    lime_cells=4,
    networks=("signnet",),
    single_repeats=3,
    batch_repeats=2,
    batches=(2, 4),
    large_batch=4,
    calibration_images=32,
    startup_runs=1,
    attack_batches=2,
    attack_steps=2,
    detect_images=4,
    detect_samples=64,
    coverage_studies=30,
    measure_images=2,
    gradient_images=2,
    trained_per_class=2,
    trained_epochs=1,
    stability_images=2,
    stability_seeds=2,
    stability_reference=200,
    stability_samples=(32, 64),
)
AIMS = {
    "epoch": 1,
    "data": 1,
    "lime": 4,
    "pruned": 2,
    "int8": 2,
    "startup": 1,
    "adversarial": 3,
    "detect": 1,
    "explain": 8,
    "measurement": 1,
    "saliency": 2,
}
BY_THEMSELVES = ("coverage", "lime", "memory", "metrics", "stability", "target")
"""Families with tests of their own."""
SECONDS_EACH = ("epoch", "explain", "saliency", "adversarial", "pruned")


@pytest.fixture(scope="module", autouse=True)
def _rendered_signs_only() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("EDGEXAI_DATA", raising=False)
        patch.setenv("EDGEXAI_HOME", "/nonexistent/edgexai-home")
        yield


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(TINY, folder=tmp_path_factory.mktemp("bench"))


def sound(lines: list[Line]) -> None:
    assert lines
    for line in lines:
        assert line.value is not None
        assert line.low is not None
        assert line.high is not None
        assert 0 < line.low <= line.value <= line.high < math.inf
        assert line.method
        assert line.n >= 1


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in SECONDS_EACH else name
        for name in FAMILIES
        if name not in BY_THEMSELVES
    ],
)
def test_every_family_gives_finite_ratios(family: str, workshop: Workshop) -> None:
    lines = FAMILIES[family].load()(workshop)
    sound(lines)
    assert {line.family for line in lines} == {family}
    assert sum(bool(line.aim) for line in lines) == AIMS[family]


def test_coverage_is_a_share_with_an_aim_for_every_kind(workshop: Workshop) -> None:
    lines = FAMILIES["coverage"].load()(workshop)
    sound(lines)
    assert {line.unit for line in lines} == {"share"}
    assert all(line.aim in (">= 0.93", ">= 0.95") for line in lines)
    assert {line.aim for line in lines if line.what.startswith("exact")} == {">= 0.95"}


def test_lime_runs_with_the_package(workshop: Workshop) -> None:
    pytest.importorskip("lime.lime_image", exc_type=ImportError)
    lines = lime_speed.lime_over_package(workshop)
    sound(lines)
    assert sum(bool(line.aim) for line in lines) == AIMS["lime"]


def test_lime_without_the_package_says_what_to_install(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lime.lime_image", None)  # importing it now fails
    lines = lime_speed.lime_over_package(workshop)
    skipped = [line for line in lines if line.verdict == "skipped"]
    assert len(skipped) == 4
    assert all("edgexai[reference]" in line.reason and "package" in line.what for line in skipped)
    sound([line for line in lines if line.verdict != "skipped"])


def test_the_timed_loop_is_the_training_loop(workshop: Workshop, tmp_path: Path) -> None:
    train = workshop.dataset.splits["train"].take(np.arange(80))
    settings = LoopSettings(epochs=2, batch_size=16, lr=0.05, weight_decay=5e-4)
    real, timed = (workshop.net("signnet").to(memory_format=torch.channels_last) for _ in range(2))
    fit_natural(real, train, train, settings=settings, seed=3, work=tmp_path, progress=lambda event: None)
    feed = Feed(train, batch_size=16, augment="sign", strength=1.0, seed=3, device="cpu")
    optimiser = sgd(timed, weight_decay=5e-4)
    for epoch in range(2):
        natural_batches(timed.train(), optimiser, feed, epoch=epoch, epochs=2, batches=len(feed), lr=0.05)
    for (name, a), b in zip(real.state_dict().items(), timed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_pure_steps_train_on_every_batch(workshop: Workshop) -> None:
    feed = Feed(workshop.dataset.splits["train"], batch_size=16, augment="sign", strength=1.0, seed=0, device="cpu")
    ready = ready_batches(feed, 3)
    assert [tuple(images.shape) for images, _ in ready] == [(16, 3, 32, 32)] * 3
    assert not torch.equal(ready[0][0], ready[1][0])
    net = workshop.net("signnet").train()
    pure_steps(net, sgd(net, weight_decay=0.0), ready)
    steps = [value for name, value in net.state_dict().items() if name.endswith("num_batches_tracked")]
    assert steps
    assert all(int(value) == 3 for value in steps)


def test_both_data_paths_give_the_same_images(workshop: Workshop, tmp_path: Path) -> None:
    """Without augmentation the peer's tensors are ours: the same pixels, labels and scale."""
    split = workshop.dataset.splits["train"].take(np.arange(48))
    write_folder(split, tmp_path)
    loader = torchvision_loader(tmp_path, size=32, batch_size=16, augment=False)
    peers: list[tuple[int, bytes]] = []
    for images, labels in loader:
        peers += [(int(k), image.numpy().tobytes()) for image, k in zip(images, labels, strict=True)]
    feed = Feed(split, batch_size=16, augment="none", strength=1.0, seed=0, device="cpu")
    own: list[tuple[int, bytes]] = []
    for raw, labels, _, generator in feed.epoch(0):
        images = feed.augmented(raw, generator).contiguous()
        own += [(int(k), image.numpy().tobytes()) for image, k in zip(images, labels, strict=True)]
    place = {label: index for index, label in enumerate(sorted(set(split.labels.tolist())))}
    assert sorted(peers) == sorted((place[label], pixels) for label, pixels in own)
    assert our_batches(feed, epoch=1) == len(peers) == 48


def test_the_package_and_ours_explain_alike(workshop: Workshop) -> None:
    """The two sides of the LIME line do the same work: their explanations correlate, an unrelated one does not."""
    pytest.importorskip("lime.lime_image", exc_type=ImportError)
    net, images = workshop.net("signnet"), workshop.dataset.splits["train"].take(np.arange(2)).as_float()
    targets, segments = np.array([1, 2]), grid(32, 4)
    peer = lime_speed.package_lime(net, images, targets, segments=segments, n_samples=500)
    engine = workshop.engine("signnet", flavour="fp32", threads=1)
    ours = lime(engine, images, targets, segments=segments, n_samples=500, seed=1).coefficients
    for index in range(2):
        assert np.corrcoef(peer[index], ours[index])[0, 1] > 0.9
    assert abs(np.corrcoef(peer[0], np.roll(ours[0], 5))[0, 1]) < 0.9


def test_pruned_really_has_half_the_macs(workshop: Workshop) -> None:
    lines = FAMILIES["pruned"].load()(workshop)
    for line in lines:
        ratio = line.detail["macs_ratio"]
        assert isinstance(ratio, float)
        assert 0.25 < ratio <= 0.5
        # With few rounds the interval ends at the extremes, and between those of over / under lies median over median.
        of_medians = float(line.detail["over_ms"]) / float(line.detail["under_ms"]) / ratio
        assert line.low is not None
        assert line.high is not None
        assert line.low * (1 - 1e-9) <= of_medians <= line.high * (1 + 1e-9)


def test_importtime_tells_what_was_loaded() -> None:
    assert "json" in imports(("-c", "import json"))
    assert "json" not in imports(("-c", "pass"))


def test_augmentation_is_the_naive_formula() -> None:
    """One gain and one offset equal contrast about the mean, brightness and tint one after the other."""
    images = torch.rand(5, 3, 32, 24, generator=torch.Generator().manual_seed(1))
    before = images.clone()
    out, moved = augment_sign(images, torch.Generator().manual_seed(2), marked=(images[:, :1] > 0.5).float())
    assert torch.equal(images, before)
    draws = torch.rand(5, 13, generator=torch.Generator().manual_seed(2)) * 2 - 1
    angle, scale, aspect = draws[:, 0] * 0.26, 1 + draws[:, 1] * 0.15, 1 + draws[:, 2] * 0.08
    cos, sin, shear = angle.cos() * scale, angle.sin() * scale, draws[:, 5] * 0.10
    shift = draws[:, 3:5] * 0.16
    affine = torch.stack([cos * aspect, shear - sin, shift[:, 0], sin, cos / aspect, shift[:, 1]], 1).view(5, 2, 3)
    places = torch.nn.functional.affine_grid(affine, [5, 3, 32, 24], align_corners=False)
    places = places + (places[..., 0] * places[..., 1])[..., None] * (draws[:, 6:8] * 0.06).view(5, 1, 1, 2)
    warped = torch.nn.functional.grid_sample(images, places, padding_mode="reflection", align_corners=False)
    for i in range(5):
        middle = warped[i].mean()
        lit = (warped[i] - middle) * torch.exp(draws[i, 8] * 0.5) + middle + draws[i, 9] * 0.2
        expected = (lit * (1 + draws[i, 10:13] * 0.1).view(3, 1, 1)).clamp(0, 1)
        assert torch.allclose(out[i], expected, atol=1e-5)
    assert moved is not None
    assert set(moved.unique().tolist()) == {0.0, 1.0}


def test_only_known_families(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match='did you mean "startup"'):
        run_bench(["startupp"], TINY)
    assert main(["bench", "inte8"]) == 2
    assert "int8" in capsys.readouterr().err


def test_command_prints_json_and_writes_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgexai.bench.settings.QUICK", TINY)
    out = tmp_path / "bench.json"
    assert main(["bench", "startup", "--quick", "--json", "--out", str(out)]) == 0
    shown = capsys.readouterr()
    data = json.loads(shown.out)
    assert data == json.loads(out.read_text())
    assert [line["family"] for line in data["lines"]] == ["startup", "startup"]
    assert {"torch", "onnxruntime", "lime", "machine"} <= set(data["versions"])
    assert "bench 1/1: startup" in shown.err
    assert main(["bench", "startup", "--out", str(tmp_path / "no" / "such.txt")]) == 2
    assert main(["bench", "startup", "--out", str(tmp_path)]) == 2
