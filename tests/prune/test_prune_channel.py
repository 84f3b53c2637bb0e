"""Pruning: fewer MACs than asked, widths in multiples, classes and the dense network untouched."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edgexai.errors import UserError
from edgexai.models import ARCHITECTURES
from edgexai.models.arch import Arch
from edgexai.models.base import Network
from edgexai.models.cost import macs
from edgexai.models.store import build, default_widths, load, save
from edgexai.prune.channel import prune_channels


def mobilenet(stages: tuple[int, ...]) -> tuple[int, ...]:
    """Stem, the outputs of the seven stages, hidden layers twice as wide as what they read; last as the last stage."""
    widths, channels = [stages[0], stages[1]], stages[1]
    for outputs, blocks in zip(stages[2:], (2, 3, 4, 3, 3, 1), strict=True):
        for _ in range(blocks):
            widths += [2 * channels, outputs]
            channels = outputs
    return (*widths, channels)


WIDTHS = {
    "signnet": tuple(w // 2 for w in default_widths("signnet")),
    "resnet18": (24, *(w for stage in (24, 32, 40, 48) for _ in range(2) for w in (stage - 8, stage))),
    "resnet20": (16, *(w for stage in (16, 24, 32) for _ in range(3) for w in (stage, stage))),
    "mobilenet_v2": mobilenet((16, 16, 24, 24, 32, 32, 40, 40)),
    "densenet_small": (16, 16, 8, 16, 8, 24, 16, 16, 16, 16, 24, 16, 16, 16, 16),
    "vgg16": (16, 16, 24, 24, 24, 24, 24, 32, 32, 32, 32, 32, 32, 40, 40),
    "lisa_cnn": (24, 40, 48),
}


def dense(name: str) -> Network:
    return build(Arch(name, WIDTHS[name], 5, 32, (0.5,) * 3, (0.25,) * 3), seed=1).eval()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_pruned_network(name: str, tmp_path: Path) -> None:
    net = dense(name)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    small, report = prune_channels(net, importance="group_l2", macs_ratio=0.5, round_to=8, seed=0)
    assert macs(small) <= 0.5 * macs(net)
    assert macs(small) >= 0.25 * macs(net)  # not thrown away either
    assert (report.macs_before, report.macs_after) == (macs(net), macs(small))
    assert report.macs_ratio == macs(small) / macs(net)
    assert small.arch.widths == report.widths_after != report.widths_before == net.arch.widths == WIDTHS[name]
    for have, now in zip(WIDTHS[name], small.arch.widths, strict=True):
        assert 0 < now <= have
        assert now % 8 == 0
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = small(images)
    assert logits.shape == (2, 5)
    assert small.arch.classes == 5
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    save(small, tmp_path)
    again = load(tmp_path)
    with torch.no_grad():
        assert torch.equal(again(images), logits)


def test_kept_channels_are_the_dense_networks_own() -> None:
    """Every filter of the pruned first layer is one of the dense one's, with its own batch norm."""
    net = dense("vgg16")
    net.state_dict()["body.0.1.running_var"].copy_(torch.arange(1.0, 17.0))
    small, _ = prune_channels(net, importance="group_l2", macs_ratio=0.3, round_to=8, seed=0)
    full, kept = net.state_dict()["body.0.0.weight"], small.state_dict()["body.0.0.weight"]
    assert len(kept) < len(full)
    places = [next(i for i, filt in enumerate(full) if torch.equal(filt, one)) for one in kept]
    assert len(set(places)) == len(places)
    assert torch.equal(net.state_dict()["body.0.1.running_var"][places], small.state_dict()["body.0.1.running_var"])


def test_dead_channels_go_first_and_the_function_stays() -> None:
    """Half the channels of a layer carry nothing: the function survives their removal exactly."""
    net = build(Arch("lisa_cnn", (16, 16, 16), 5, 32, (0.5,) * 3, (0.25,) * 3), seed=1).eval()
    dead = [1, 2, 4, 7, 8, 11, 13, 14]
    with torch.no_grad():
        for layer, after in ((0, 2), (2, 4)):
            net.body.get_submodule(str(layer)).get_parameter("weight")[dead] = 0
            net.body.get_submodule(str(layer)).get_parameter("bias")[dead] = 0
            net.body.get_submodule(str(after)).get_parameter("weight")[:, dead] = 0
        net.body.get_submodule("4").get_parameter("weight")[dead] = 0
        net.body.get_submodule("4").get_parameter("bias")[dead] = 0
        net.head.get_parameter("weight").view(5, 16, 4)[:, dead] = 0
    goal = macs(build(Arch("lisa_cnn", (8, 8, 8), 5, 32, (0.5,) * 3, (0.25,) * 3), seed=1)) / macs(net)
    small, _ = prune_channels(net, importance="group_l2", macs_ratio=goal, round_to=8, seed=0)
    assert small.arch.widths == (8, 8, 8)
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(small(images), net(images), atol=1e-5)
    unlucky, _ = prune_channels(net, importance="random", macs_ratio=goal, round_to=8, seed=0)
    with torch.no_grad():
        assert not torch.allclose(unlucky(images), net(images), atol=1e-5)


@pytest.mark.parametrize("have", [24, 40, 48, 80, 96, 112])
def test_widths_hit_their_multiple_exactly(have: int) -> None:
    """1 - want/have is not exact in floating point: truncation used to take one channel too many."""
    net = build(Arch("lisa_cnn", (have, have, have), 5, 32, (0.5,) * 3, (0.25,) * 3), seed=1)
    for ratio in (0.8, 0.5, 0.3):
        small, _ = prune_channels(net, importance="group_l2", macs_ratio=ratio, round_to=8, seed=0)
        assert all(width % 8 == 0 for width in small.arch.widths), small.arch.widths


def test_widths_below_the_multiple_stay() -> None:
    net = build(Arch("signnet", (6, *(32,) * 7), 5, 32, (0.5,) * 3, (0.25,) * 3), seed=1)
    small, _ = prune_channels(net, importance="group_l2", macs_ratio=0.5, round_to=16, seed=0)
    assert small.arch.widths[0] == 6
    assert all(w in (16, 32) for w in small.arch.widths[1:])


def test_frozen_parameters_are_pruned_too() -> None:
    net = dense("signnet")
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    small, report = prune_channels(net, importance="group_l2", macs_ratio=0.5, round_to=8, seed=0)
    assert report.macs_ratio <= 0.5
    assert not any(p.requires_grad for p in net.parameters())
    assert all(p.requires_grad for p in small.parameters())


def test_training_mode_of_the_dense_network_is_kept() -> None:
    net = dense("signnet").train()
    prune_channels(net, importance="group_l2", macs_ratio=0.5, round_to=8, seed=0)
    assert net.training


def test_a_ratio_of_one_removes_nothing() -> None:
    net = dense("signnet")
    small, report = prune_channels(net, importance="group_l2", macs_ratio=1.0, round_to=8, seed=0)
    assert report.macs_ratio == 1.0
    assert all(torch.equal(v, net.state_dict()[k]) for k, v in small.state_dict().items())


def test_impossible_ratio() -> None:
    with pytest.raises(UserError, match=r"prune.macs_ratio = 0.01 .* multiples of 8"):
        prune_channels(dense("signnet"), importance="group_l2", macs_ratio=0.01, round_to=8, seed=0)


def test_random_importance_is_another_choice_that_follows_its_seed() -> None:
    net = dense("signnet")
    torch.manual_seed(9)
    before = torch.random.get_rng_state()
    by_norm, first, again, other = (
        prune_channels(net, importance=importance, macs_ratio=0.5, round_to=8, seed=seed)[0]
        for importance, seed in (("group_l2", 0), ("random", 0), ("random", 0), ("random", 1))
    )
    assert torch.equal(before, torch.random.get_rng_state())
    assert first.arch == by_norm.arch == other.arch  # same budget
    weights = [net.state_dict()["body.6.first.0.weight"] for net in (by_norm, first, again, other)]
    assert torch.equal(weights[1], weights[2])
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[3])
