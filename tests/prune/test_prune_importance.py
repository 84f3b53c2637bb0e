"""What matters: closed forms on a linear network, finite differences on the real ones, properties of all."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from prune_nets import evidence, silence, split, tiny
from torch import Tensor, nn

from edgexai.errors import UserError
from edgexai.models import ARCHITECTURES
from edgexai.models.arch import Arch
from edgexai.models.base import Network
from edgexai.prune import IMPORTANCES, LOOK_AT_IMAGES
from edgexai.prune.coupling import Coupling
from edgexai.prune.evidence import Evidence
from edgexai.prune.gates import gate_signals

CHANNELS, CLASSES = 6, 3


class Line(Network):
    """1x1 convolution, average, linear layer: no non-linearity anywhere."""

    def __init__(self) -> None:
        arch = Arch("line", (CHANNELS,), CLASSES, 8, (0.5, 0.4, 0.3), (0.25, 0.3, 0.2))
        super().__init__(arch, nn.Sequential(nn.Conv2d(3, CHANNELS, 1)))
        self.head = nn.Linear(CHANNELS, CLASSES)


def line() -> Line:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return Line().eval()


def small(n: int = 7) -> Evidence:
    given = split(n)
    boxes = given.boxes / 4
    labels = np.arange(n, dtype=np.int64) % CLASSES
    part = type(given)("train", given.images[:, :8, :8].copy(), labels, boxes, labels)
    return Evidence(part, eps=0.05, batch_size=3)


def by_hand(net: Network, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Channel maps (N,C,h,w), their averages (N,C), and probabilities (N,K)."""
    normalised = (images - net.mean) / net.std
    conv, head = net.body.get_submodule("0"), net.head
    maps = torch.einsum("nihw,ci->nchw", normalised, conv.get_parameter("weight")[:, :, 0, 0])
    maps = maps + conv.get_parameter("bias")[:, None, None]
    averages = maps.mean((2, 3))
    logits = averages @ head.get_parameter("weight").T + head.get_parameter("bias")
    return maps.detach(), averages.detach(), logits.softmax(1).detach()


def loss_change(net: Network, images: Tensor, labels: Tensor) -> Tensor:
    """(N,C): the derivative of each image's loss by a channel's factor, from the softmax's own formula."""
    _, averages, p = by_hand(net, images)
    wrong = p - F.one_hot(labels, CLASSES)
    return averages * (wrong @ net.head.get_parameter("weight").detach())


def scores(name: str, net: Network, given: Evidence | None, seed: int = 0) -> list[Tensor | None]:
    found: list[Tensor | None] = IMPORTANCES[name].load()(Coupling(net), evidence=given, seed=seed)
    return found


def only(found: list[Tensor | None]) -> Tensor:
    assert len(found) == 1
    assert found[0] is not None
    return found[0]


def test_taylor_of_a_linear_network() -> None:
    net, given = line(), small()
    images, labels = torch.from_numpy(given.split.as_float()), torch.from_numpy(given.split.labels)
    expected = loss_change(net, images, labels).abs().mean(0)
    assert torch.allclose(only(scores("taylor", net, given)), expected, rtol=1e-4, atol=1e-7)


def test_robust_is_taylor_on_one_signed_step() -> None:
    net, given = line(), small()
    images, labels = torch.from_numpy(given.split.as_float()), torch.from_numpy(given.split.labels)
    _, _, p = by_hand(net, images)
    # d loss / d pixel, places all alike: sum over classes and channels, divided by std and by the number of places
    upstream = (p - F.one_hot(labels, CLASSES)) @ net.head.get_parameter("weight").detach()
    pixel = upstream @ net.body.get_submodule("0").get_parameter("weight").detach()[:, :, 0, 0]
    attacked = (images + 0.05 * pixel[:, :, None, None].sign()).clamp(0, 1)
    expected = loss_change(net, attacked, labels).abs().mean(0)
    assert torch.allclose(only(scores("robust", net, given)), expected, rtol=1e-4, atol=1e-7)
    assert not torch.allclose(expected, only(scores("taylor", net, given)), rtol=1e-2)


def test_fisher_of_a_linear_network() -> None:
    """Half the variance, under the network's own softmax, of what a channel adds to the logits."""
    net = line()
    one = small(1).split
    many = Evidence(one.take(np.zeros(4000, dtype=np.int64)), batch_size=1000)
    _, averages, p = by_hand(net, torch.from_numpy(one.as_float()))
    added = net.head.get_parameter("weight").detach() * averages  # (K,C)
    variance = (p.T * added.square()).sum(0) - (p.T * added).sum(0).square()
    assert torch.allclose(only(scores("fisher", net, many)), variance / 2, rtol=0.08)
    # the labels are drawn, not read
    other = Evidence(
        type(one)("train", many.split.images, many.split.labels * 0 + 2, many.split.boxes, many.split.tracks),
        batch_size=1000,
    )
    assert torch.equal(only(scores("fisher", net, many)), only(scores("fisher", net, other)))


def test_attribution_of_a_linear_network() -> None:
    net, given = line(), small()
    images, labels = torch.from_numpy(given.split.as_float()), given.split.labels
    maps, _, _ = by_hand(net, images)
    regions = given.split.relevance()
    assert regions is not None
    assert 0 < regions.mean() < 1
    weight = net.head.get_parameter("weight").detach()
    inside, whole = np.zeros(CHANNELS), np.zeros(CHANNELS)
    for image in range(len(labels)):
        parts = np.abs(maps[image].numpy() * weight[labels[image]].numpy()[:, None, None] / 64)
        for channel in range(CHANNELS):
            for y in range(8):
                for x in range(8):
                    share = parts[channel, y, x] / parts.sum()
                    whole[channel] += share
                    inside[channel] += share * regions[image, y, x]
    expected = inside**2 / whole
    got = only(scores("attribution", net, given)).numpy()
    assert np.allclose(got, expected / expected.mean(), rtol=1e-3)


def test_attribution_ranks_what_lies_on_the_sign_first() -> None:
    """Two channels see the same image through masks: one the sign, the other the background."""
    net, given = line(), small()
    regions = torch.from_numpy(given.split.relevance())[:, None].float()
    coupling = Coupling(net)
    maps = regions * torch.tensor([1.0, 0, 0.5, 0.1, 0, 0])[:, None, None] + (1 - regions) * torch.tensor(
        [0.0, 1.0, 0.5, 0.9, 0, 0]
    ).view(-1, 1, 1)
    conv = coupling.net.body.get_submodule("0")
    calls = iter(maps.split(given.batch_size))
    conv.register_forward_hook(lambda _m, _i, output: next(calls) + 0 * output, prepend=True)
    with torch.no_grad():
        coupling.net.head.get_parameter("weight").fill_(1.0)
    found = only(IMPORTANCES["attribution"].load()(coupling, evidence=given, seed=0))
    assert found.argsort(descending=True)[:2].tolist() == [0, 2]
    assert found[1] == found[4] == found[5] == 0


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_gate_is_the_derivative_by_the_channels_factor(name: str) -> None:
    """Finite differences: scale the channel's last batch norms (or layer) by 1 +- h and look at the loss."""
    given = split(1)
    images, label = torch.from_numpy(given.as_float()).double(), torch.from_numpy(given.labels)
    coupling = Coupling(tiny(name))
    coupling.net.double()

    def loss(logits: Tensor, _: slice) -> Tensor:
        return F.cross_entropy(logits, label, reduction="sum")

    ((_, signals),) = gate_signals(coupling, images, objective=loss, batch_size=4)
    h, biggest = 1e-5, 0.0
    picked = sorted({0, len(coupling.groups) // 3, len(coupling.groups) // 2, len(coupling.groups) - 1})
    for index in picked:
        group = coupling.groups[index]
        got = signals[index].sum((2, 3))[0]
        channel = int(got.abs().argmax())
        found = []
        for factor in (1 + h, 1 - h):
            scaled = copy.deepcopy((coupling.net, group.gates))
            with torch.no_grad():
                for gate in scaled[1]:
                    gate.get_parameter("weight")[channel] *= factor
                    gate.get_parameter("bias")[channel] *= factor
                found.append(float(loss(scaled[0](images), slice(0, 1))))
        difference = (found[0] - found[1]) / (2 * h)
        biggest = max(biggest, abs(difference))
        assert float(got[channel]) == pytest.approx(difference, rel=1e-3, abs=1e-7), index
    assert biggest > 1e-3


@pytest.mark.parametrize("importance", IMPORTANCES)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_importance_on_every_architecture(name: str, importance: str) -> None:
    net = tiny(name)
    if (name, importance) == ("lisa_cnn", "bn_scale"):
        with pytest.raises(UserError, match="no batch norm"):
            scores(importance, net, None)
        return
    coupling = Coupling(net)
    before = {k: v.clone() for k, v in coupling.net.state_dict().items()}
    silence(coupling, [2, 5])
    state = torch.random.get_rng_state()
    given = evidence() if importance in LOOK_AT_IMAGES else None
    find = IMPORTANCES[importance].load()
    found, again = (find(coupling, evidence=given, seed=3) for _ in range(2))
    assert torch.equal(state, torch.random.get_rng_state())
    assert not any(m._forward_hooks for m in coupling.net.modules())
    assert all(p.grad is None for p in coupling.net.parameters())
    assert {k: v.shape for k, v in coupling.net.state_dict().items()} == {k: v.shape for k, v in before.items()}
    assert not coupling.net.training
    for group, score, same in zip(coupling.groups, found, again, strict=True):
        if score is None:
            assert importance == "bn_scale"
            assert not group.norms
            continue
        assert score.shape == (group.width,)
        assert bool(torch.isfinite(score).all())
        assert bool((score >= 0).all())
        assert torch.equal(score, same)
        if importance in (*LOOK_AT_IMAGES, "bn_scale"):  # what does nothing is worth nothing
            assert score[[2, 5]].tolist() == [0, 0]
            assert score.max() > 0
    assert any(score is not None for score in found)


def test_norms_by_hand() -> None:
    net = tiny("signnet")
    state = net.state_dict()
    produced = [state["body.0.0.weight"], state["body.2.0.weight"]]  # stem and second: one layer each
    for name, p in (("l1", 1), ("l2", 2)):
        found = scores(name, net, None)
        for score, weight in zip(found, produced, strict=False):
            norms = [float((filt.abs() ** p).sum() ** (1 / p)) for filt in weight]
            assert score is not None
            assert np.allclose(score.numpy(), np.array(norms) / np.mean(norms), rtol=1e-5)
    scales = [state["body.0.1.weight"].abs(), state["body.2.1.weight"].abs()]
    for score, scale in zip(scores("bn_scale", net, None), scales, strict=False):
        assert score is not None
        assert torch.equal(score, scale)
    # group_l2: the filter, the batch norm's scale, the next layer's weights that read the channel; mean of all three
    group = (
        state["body.0.0.weight"].square().sum((1, 2, 3))
        + state["body.0.1.weight"].square()
        + state["body.2.0.weight"].square().sum((0, 2, 3))
    ) / 3
    first = scores("group_l2", net, None)[0]
    assert first is not None
    assert torch.allclose(first, group / group.mean(), rtol=1e-5)


def test_a_group_of_a_residual_stage_sums_its_filters() -> None:
    net = tiny("resnet20")
    weights = [m.weight for n, m in net.named_modules() if isinstance(m, nn.Conv2d) and n in ("body.0.0",)]
    weights += [net.get_submodule(f"body.{k}.second.0").get_parameter("weight") for k in (1, 2, 3)]
    norms = sum(w.detach().flatten(1).norm(2, 1) for w in weights)
    found = scores("l2", net, None)[0]
    assert found is not None
    assert isinstance(norms, Tensor)
    assert torch.allclose(found, norms / norms.mean(), rtol=1e-5)


@pytest.mark.parametrize("importance", LOOK_AT_IMAGES)
def test_images_are_needed(importance: str) -> None:
    with pytest.raises(UserError, match=importance):
        scores(importance, line(), None)


def test_attribution_needs_places() -> None:
    with pytest.raises(UserError, match="masks or boxes"):
        scores("attribution", tiny("lisa_cnn"), Evidence(split(4, boxes=False)))


def test_random_follows_its_seed() -> None:
    net = tiny("signnet")
    first, again, other = (scores("random", net, None, seed=seed) for seed in (0, 0, 1))
    same = [torch.equal(a, b) for a, b in zip(first, again, strict=True) if a is not None and b is not None]
    assert all(same)
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True) if a is not None and b is not None)
