"""Attribution matching: the distance in closed form, and a fine-tuning that differs from the plain one by it alone."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from prune_nets import split, tiny
from torch import Tensor

from edgexai.errors import UserError
from edgexai.models.base import Network
from edgexai.prune.attribution_match import map_mismatch
from edgexai.prune.channel import prune_channels
from edgexai.prune.matched import fit_matched
from edgexai.train.loop import LoopSettings
from edgexai.train.natural import fit_natural

SETTINGS = LoopSettings(epochs=15, batch_size=5, lr=0.02, weight_decay=5e-4, weight_average=0.5, augment="none")
GIVEN = split(20, seed=3)
IMAGES, LABELS = torch.from_numpy(GIVEN.as_float()), torch.from_numpy(GIVEN.labels)


def distance(net: Network, features: Tensor, teacher: Network, images: Tensor, labels: Tensor) -> float:
    return float(map_mismatch(net, features, teacher, images, labels).detach())


def apart(net: Network, teacher: Network) -> float:
    return distance(net, net.features(IMAGES), teacher, IMAGES, LABELS)


def pruned(teacher: Network) -> Network:
    return prune_channels(teacher, importance="l2", macs_ratio=0.5, round_to=2, seed=0)[0]


def tune(net: Network, teacher: Network, weight: float, work: Path) -> Network:
    fit_matched(
        net,
        teacher,
        GIVEN,
        GIVEN,
        settings=SETTINGS,
        attribution_weight=weight,
        seed=4,
        work=work,
        progress=lambda _: None,
    )
    return net


def test_distance_in_closed_form() -> None:
    teacher, net = tiny("signnet"), tiny("signnet")
    features = teacher.features(IMAGES)
    assert distance(net, features, teacher, IMAGES, LABELS) == pytest.approx(0, abs=1e-6)
    louder = distance(net, 7 * features, teacher, IMAGES, LABELS)  # only where, not how much
    assert louder == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        net.head.get_parameter("weight").fill_(1.0)
        teacher.head.get_parameter("weight").fill_(1.0)
    left, both = torch.zeros(2, 8, 2, 2), torch.zeros(2, 8, 2, 2)
    left[:, :, 0, 0], both[:, :, 0, 0], both[:, :, 1, 1] = 1, 1, 1
    images, labels = IMAGES[:2], LABELS[:2]
    teacher.features = lambda _: left  # type: ignore[method-assign, assignment]
    # unit maps (1,0,0,0) and (1,0,0,1)/sqrt 2: squared distance 2 - sqrt 2
    assert distance(net, both, teacher, images, labels) == pytest.approx(2 - 2**0.5)
    assert distance(net, left.flip(2, 3), teacher, images, labels) == pytest.approx(2)
    assert distance(net, 0 * left, teacher, images, labels) == pytest.approx(1)


def test_the_gradient_reaches_the_pruned_network_only() -> None:
    teacher = tiny("densenet_small")
    net = pruned(teacher)
    map_mismatch(net, net.features(IMAGES), teacher, IMAGES, LABELS).backward()
    assert all(p.grad is None for p in teacher.parameters())
    reached = [p.grad for p in net.parameters() if p.grad is not None]
    assert reached
    assert all(bool(torch.isfinite(g).all()) for g in reached)
    assert any(float(g.abs().max()) > 0 for g in reached)


def test_without_weight_it_is_natural_training_bit_by_bit(tmp_path: Path) -> None:
    teacher = tiny("signnet")
    net = pruned(teacher)
    plain = copy.deepcopy(net)
    fit_natural(plain, GIVEN, GIVEN, settings=SETTINGS, seed=4, work=tmp_path / "a", progress=lambda _: None)
    tune(net, teacher, 0.0, tmp_path / "b")
    assert all(torch.equal(v, plain.state_dict()[k]) for k, v in net.state_dict().items())
    assert not net.training


def test_the_maps_stay_nearer(tmp_path: Path) -> None:
    teacher = tiny("signnet")
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    net = pruned(teacher)
    plain, held = (tune(copy.deepcopy(net), teacher, w, tmp_path / f"{w}") for w in (0.0, 4.0))
    assert apart(held, teacher) < 0.75 * apart(plain, teacher)
    assert all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items())


def test_networks_without_a_linear_head_are_refused() -> None:
    net = tiny("lisa_cnn")
    with pytest.raises(UserError, match="attribution_weight"):
        map_mismatch(net, net.features(IMAGES), net, IMAGES, LABELS)
