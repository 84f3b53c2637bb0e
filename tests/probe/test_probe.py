"""Probe sets: a fair draw, attacks inside the ball, and the same bytes back from disk."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgexai.attack.apgd import apgd
from edgexai.attack.pgd import pgd
from edgexai.engine.twin import Twin
from edgexai.errors import UserError
from edgexai.explain.cam import gradcam
from edgexai.explain.gradient import vanilla_gradient
from edgexai.explain.segment import grid
from edgexai.explain.smooth import smoothgrad
from edgexai.models.arch import Arch
from edgexai.models.store import build, default_widths
from edgexai.probe.make import make_probes, probe_index
from edgexai.probe.noisy_copies import COPIES, NOISE, noisy_copies
from edgexai.probe.probe_set import ProbeSet, read_probes, write_probes
from edgexai.types import Split

EPS = {"4/255": 4 / 255, "0.1": 0.1}


def split(n: int = 30, *, boxes: bool = True) -> Split:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    places = np.tile(np.array([4, 5, 20, 21], np.float32), (n, 1)) if boxes else np.full((n, 4), np.nan, np.float32)
    return Split("absent", images, np.arange(n, dtype=np.int64) % 5, places, np.arange(n, dtype=np.int64))


def twin(seed: int = 0) -> Twin:
    widths = (4,) * len(default_widths("signnet"))
    return Twin(build(Arch("signnet", widths, 5, 32, (0.5,) * 3, (0.25,) * 3), seed=seed))


def probes_of(net: Twin, data: Split, **changes: Any) -> ProbeSet:
    words: dict[str, Any] = {
        "device": "cpu",
        "n": 12,
        "explain_n": 7,
        "attacks": ("fgsm", "pgd", "square", "noise"),
        "eps": tuple(EPS),
        "pgd_steps": 3,
        "apgd_steps": 5,
        "apgd_n": 6,
        "apgd_eps": tuple(EPS),
        "explainers": ("vg", "gradcam", "lime"),
        "lime_samples": 64,
        "fill": (0.5, 0.5, 0.5),
        "seed": 0,
        "progress": lambda _: None,
        **changes,
    }
    return make_probes(net.net, net, data, **words)


def test_apgd_meets_its_own_radii_only() -> None:
    found = probes_of(twin(), split(), attacks=("pgd", "apgd"), explainers=(), apgd_eps=("0.1",))
    assert {name for name in found.attacked if name.startswith("apgd")} == {"apgd-ce@0.1", "apgd-dlr@0.1"}
    assert {name for name in found.attacked if name.startswith("pgd")} == {f"pgd@{radius}" for radius in EPS}


@pytest.fixture(scope="module")
def probes() -> ProbeSet:
    return probes_of(twin(), split())


# The draw


def skewed() -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.random.default_rng(1).permutation(np.repeat(np.arange(4), [400, 300, 200, 100])).astype(np.int64)


@pytest.mark.parametrize("n", [10, 50, 100, 500])
def test_the_draw_is_stratified(n: int) -> None:
    labels = skewed()
    index = probe_index(labels, n, seed=0)
    assert len(index) == len(set(index.tolist())) == n
    counts = np.bincount(labels[index], minlength=4)
    assert np.abs(counts - n * np.array([0.4, 0.3, 0.2, 0.1])).max() <= 1.5


def test_rare_classes_are_there() -> None:
    labels = np.array([0] * 500 + [1] + [2] * 2, dtype=np.int64)
    assert set(labels[probe_index(labels, 10, seed=0)]) == {0, 1, 2}
    assert len(probe_index(labels, 2, seed=0)) == 2  # fewer than classes: as many as asked for


def test_a_leading_part_is_a_fair_sample_too() -> None:
    labels = skewed()
    shares = np.zeros((40, 4))
    for seed in range(40):
        first = labels[probe_index(labels, 400, seed=seed)[:100]]
        shares[seed] = np.bincount(first, minlength=4) / 100
    assert np.abs(shares.mean(0) - [0.4, 0.3, 0.2, 0.1]).max() < 0.02
    assert shares[:, 0].std() > 0.01  # in a random order, not class by class


def test_a_larger_draw_contains_the_smaller_and_follows_its_seed() -> None:
    labels = skewed()
    small, large = (probe_index(labels, n, seed=3) for n in (50, 200))
    assert set(small.tolist()) <= set(large.tolist())
    kept = [k for k in large.tolist() if k in set(small.tolist())]
    assert kept == small.tolist()  # in the same order
    assert np.array_equal(small, probe_index(labels, 50, seed=3))
    assert not np.array_equal(small, probe_index(labels, 50, seed=4))
    everything = probe_index(labels, 10_000, seed=3)
    assert sorted(everything.tolist()) == list(range(1000))


# What is made


def test_same_images_for_every_network(probes: ProbeSet) -> None:
    other = probes_of(twin(seed=1), split())
    assert np.array_equal(probes.index, other.index)
    assert np.array_equal(probes.images, other.images)
    assert not np.array_equal(probes.logits, other.logits)
    again = probes_of(twin(), split())
    for name, images in probes.attacked.items():
        assert np.array_equal(images, again.attacked[name])
    assert all(np.array_equal(probes.maps[name], again.maps[name]) for name in probes.maps)


def test_contents(probes: ProbeSet) -> None:
    data, net = split(), twin()
    assert np.array_equal(probes.images, data.take(probes.index).as_float())
    assert np.array_equal(probes.labels, data.labels[probes.index])
    assert np.allclose(probes.logits, net(probes.images), atol=1e-5)
    assert np.array_equal(probes.targets, probes.logits[:7].argmax(1))
    assert probes.relevance is not None
    assert (probes.relevance.sum((1, 2)) == 16 * 16).all()
    assert probes.relevance[:, 5:21, 4:20].all()
    assert np.array_equal(probes.segments, grid(32, 8))
    assert probes.settings["split"] == "absent"
    assert {k: v.shape for k, v in probes.maps.items()} == dict.fromkeys(("vg", "gradcam", "lime"), (7, 32, 32))
    here, targets = torch.from_numpy(probes.images[:7]), torch.from_numpy(probes.targets)
    assert np.allclose(probes.maps["gradcam"], gradcam(net.net, here, targets).numpy(), atol=1e-6)


def test_attacks_stay_in_the_ball_and_raise_the_loss(probes: ProbeSet) -> None:
    assert set(probes.attacked) == {f"{name}@{eps}" for name in ("fgsm", "pgd") for eps in EPS}
    net, labels = twin(), torch.from_numpy(probes.labels)

    def loss(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return torch.nn.functional.cross_entropy(torch.from_numpy(net(images)), labels, reduction="none").numpy()

    for name, images in probes.attacked.items():
        radius = EPS[name.split("@")[1]]
        assert images.dtype == np.float32
        distance = np.abs(images - probes.images).max((1, 2, 3))
        assert distance.max() <= radius + 1e-6
        assert distance.min() > 0.5 * radius
        assert images.min() >= 0
        assert images.max() <= 1
        assert (loss(images) > loss(probes.images)).mean() > 0.9
    direct = pgd(net.net, torch.from_numpy(probes.images), torch.from_numpy(probes.labels), eps=0.1, steps=3, seed=0)
    assert np.allclose(probes.attacked["pgd@0.1"], direct.numpy(), atol=1e-6)


def test_apgd_is_two_attacks_on_the_first_images(probes: ProbeSet) -> None:
    found = probes_of(twin(), split(), attacks=("pgd", "apgd"), explainers=())
    assert set(found.attacked) == {f"{name}@{eps}" for name in ("pgd", "apgd-ce", "apgd-dlr") for eps in EPS}
    assert found.settings["apgd_steps"] == 5
    assert "apgd_steps" not in probes.settings  # a recipe without it has the probe set it always had
    net, images, labels = twin(), torch.from_numpy(found.images[:6]), torch.from_numpy(found.labels[:6])
    for name, radius in EPS.items():
        assert len(found.attacked[f"pgd@{name}"]) == 12
        for loss in ("ce", "dlr"):
            points = found.attacked[f"apgd-{loss}@{name}"]
            assert points.shape == (6, 3, 32, 32)
            assert points.dtype == np.float32
            assert np.abs(points - found.images[:6]).max() <= radius + 1e-6
            direct = apgd(net.net, images, labels, eps=radius, steps=5, loss=loss, seed=0)
            assert np.allclose(points, direct.images.numpy(), atol=1e-6)


def test_no_boxes_no_relevance() -> None:
    assert probes_of(twin(), split(boxes=False), attacks=(), explainers=("vg",)).relevance is None


# Noisy copies


def test_copies_are_images_with_bounded_noise() -> None:
    images = split().as_float()[:6]
    copies = noisy_copies(images, seed=0)
    assert copies.shape == (COPIES, 6, 3, 32, 32)
    assert copies.dtype == np.float32
    levels = copies * 255
    assert np.abs(levels - np.round(levels)).max() < 1e-4
    added = copies - images
    inside = copies < 1
    assert added[inside].min() >= NOISE[0] - 0.5 / 255 - 1e-6
    assert added.max() <= NOISE[1] + 0.5 / 255 + 1e-6
    assert added[inside & (images < 0.7)].mean() == pytest.approx(sum(NOISE) / 2, abs=0.002)
    assert np.array_equal(noisy_copies(images[2:4], seed=0), copies[:, 2:4])  # whatever the batch
    assert not np.array_equal(noisy_copies(images, seed=1), copies)
    assert len({copy.tobytes() for copy in copies}) == COPIES


def test_stability_data_are_the_twins_on_its_copies() -> None:
    net = twin()
    found = probes_of(net, split(), explainers=("vg", "smoothgrad", "lime"), attacks=(), stability_n=3).noisy
    assert found is not None
    images = probes_of(net, split(), explainers=(), attacks=()).images[:3]
    assert np.array_equal(found.images, noisy_copies(images, seed=0))
    assert set(found.maps) == {"vg", "smoothgrad"}  # LIME is the engine's own
    targets = net(images).argmax(1)
    for p, copy in enumerate(found.images):
        given = torch.from_numpy(copy), torch.from_numpy(targets)
        assert np.allclose(found.maps["vg"][p], vanilla_gradient(net.net, *given).numpy(), atol=1e-6)
        assert np.allclose(found.maps["smoothgrad"][p], smoothgrad(net.net, *given, seed=0).numpy(), atol=1e-6)
        assert found.same_class[p].tolist() == (net(copy).argmax(1) == targets).tolist()


def test_without_stability_the_files_are_as_before(tmp_path: Path) -> None:
    for n, folder in ((0, tmp_path / "off"), (100, tmp_path / "on")):
        found = probes_of(twin(), split(), stability_n=n, attacks=("fgsm",))
        write_probes(found, folder)
        again = read_probes(folder)
        if n == 0:
            assert found.noisy is again.noisy is None
            continue
        assert again.noisy is not None
        assert found.noisy is not None
        assert np.array_equal(again.noisy.images, found.noisy.images)
        assert again.noisy.images.shape[1] == 7  # of the explained images, never more
        assert np.array_equal(again.noisy.same_class, found.noisy.same_class)
        assert {k: v.tobytes() for k, v in again.noisy.maps.items()} == {
            k: v.tobytes() for k, v in found.noisy.maps.items()
        }
    off = {path.name for path in (tmp_path / "off").iterdir()}
    on = {path.name for path in (tmp_path / "on").iterdir()}
    assert on - off == {"noisy_images.npy", "noisy_same_class.npy", "noisy_maps_0.npy", "noisy_maps_1.npy"}
    assert set(json.loads((tmp_path / "off" / "probes.json").read_text())["names"]) == {"attacked", "maps"}
    for name in off - {"probes.json"}:
        assert (tmp_path / "off" / name).read_bytes() == (tmp_path / "on" / name).read_bytes()


# On disk


@pytest.mark.parametrize("relevant", [True, False])
def test_round_trip(probes: ProbeSet, tmp_path: Path, relevant: bool) -> None:
    given = probes if relevant else replace(probes, relevance=None)
    write_probes(given, tmp_path / "probes")
    again = read_probes(tmp_path / "probes")
    for field in fields(ProbeSet):
        one, other = getattr(given, field.name), getattr(again, field.name)
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype
            assert np.array_equal(one, other), field.name
        elif field.name in ("attacked", "maps"):
            assert list(one) == list(other)
            assert all(np.array_equal(one[k], other[k]) for k in one)
        else:
            assert one == other


@pytest.mark.parametrize("damage", ["absent", "json", "names", "array", "short"])
def test_damaged_folder(probes: ProbeSet, tmp_path: Path, damage: str) -> None:
    write_probes(probes, tmp_path)
    head, array = tmp_path / "probes.json", tmp_path / "images.npy"
    if damage == "absent":
        head.unlink()
    elif damage == "json":
        head.write_text("{")
    elif damage == "names":
        head.write_text("{}")
    elif damage == "array":
        array.unlink()
    else:
        array.write_bytes(array.read_bytes()[:40])
    with pytest.raises(UserError, match="not a probe set"):
        read_probes(tmp_path)
