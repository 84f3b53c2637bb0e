"""What is coupled: every width in one group, sums and depthwise convolutions tied, the classifier in none."""

from __future__ import annotations

import copy

import pytest
import torch
from prune_nets import TINY, mobilenet_widths, silence, split, tiny
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgexai.errors import UserError
from edgexai.models import ARCHITECTURES
from edgexai.models.arch import Arch
from edgexai.models.cost import macs
from edgexai.models.store import build
from edgexai.prune.coupling import Coupling, widths_of


def test_every_architecture_has_a_tiny_one() -> None:
    assert set(TINY) == set(ARCHITECTURES)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_width_is_in_one_group_and_the_classifier_in_none(name: str) -> None:
    net = tiny(name)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    coupling = Coupling(net)
    places = [place for group in coupling.groups for place in group.places]
    assert sorted(places) == list(range(len(net.arch.widths)))
    assert [g.places[0] for g in coupling.groups] == sorted(g.places[0] for g in coupling.groups)
    assert widths_of(net) == net.arch.widths
    last = [m for m in coupling.net.head.modules() if isinstance(m, nn.Linear)][-1]
    assert len(last.weight) == 5
    for group in coupling.groups:
        assert last not in group.producers
        assert all(len(m.get_parameter("weight")) == group.width for m in (*group.producers, *group.norms))
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_groups_of_known_networks() -> None:
    resnet = [g.places for g in Coupling(tiny("resnet20")).groups]
    stages = [(0, 2, 4, 6), (8, 10, 12), (14, 16, 18)]  # stem and outputs of the first stage, and so on
    assert sorted(resnet) == sorted([*stages, *((k,) for k in range(1, 18, 2))])
    assert [g.places for g in Coupling(tiny("densenet_small")).groups] == [(k,) for k in range(15)]
    mobile = Coupling(tiny("mobilenet_v2"))
    tied = [g for g in mobile.groups if len(g.places) > 1]
    assert [len(g.places) for g in tied] == [2, 3, 4, 3, 3]  # outputs of the stages that have sums
    depthwise = [g for g in mobile.groups if any(getattr(m, "groups", 1) > 1 for m in g.producers)]
    assert [g.places for g in depthwise] == [(0,), *((k,) for k in range(2, 34, 2))]
    for group in depthwise:  # after the depthwise convolution's own batch norm the channel is what it is
        assert len(group.gates) == 1
        assert len(group.norms) == 2
        assert group.gates[0] is group.norms[-1]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_removing_channels_that_are_zero_changes_nothing(name: str) -> None:
    coupling = Coupling(tiny(name))
    silence(coupling, [1, 2, 6])
    images = torch.from_numpy(split().as_float())
    with torch.no_grad():
        expected = copy.deepcopy(coupling.net)(images)
        assert expected.std(0).min() > 1e-7  # still a function of the image
        for group in coupling.groups:
            coupling.remove(group, [1, 2, 6])
        got = coupling.net(images)
    assert all(now < have for now, have in zip(widths_of(coupling.net), TINY[name], strict=True))
    assert got.shape == (12, 5)
    assert torch.allclose(got, expected, atol=1e-5 * float(expected.abs().max()), rtol=1e-4)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_removing_channels_that_speak_changes_something(name: str) -> None:
    """The control of the test above."""
    coupling = Coupling(tiny(name))
    silence(coupling, [1, 2, 6])
    images = torch.from_numpy(split().as_float())
    with torch.no_grad():
        expected = copy.deepcopy(coupling.net)(images)
        for group in coupling.groups:
            coupling.remove(group, [0, 2, 6])
        assert not torch.allclose(coupling.net(images), expected, atol=1e-3 * float(expected.abs().max()))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_macs_by_another_counter(name: str) -> None:
    """torch's own counter, which counts a multiply-add as two; it knows nothing of our hooks."""
    net = tiny(name)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(1, 3, 32, 32))
    assert 2 * macs(net) == counter.get_total_flops()


def test_macs_of_a_depthwise_block_by_hand() -> None:
    wide, narrow = (
        macs(build(Arch("mobilenet_v2", mobilenet_widths((8,) * 7 + (last,)), 5, 32, (0.5,) * 3, (0.25,) * 3), seed=0))
        for last in (24, 8)
    )
    # the last block's 1x1 from 16 hidden channels at 4x4, the 1x1 behind it, and the head
    assert wide - narrow == 16 * 16 * (24 - 8) + 16 * (24 * 24 - 8 * 8) + 5 * (24 - 8)


def test_sums_of_unequal_widths_are_refused() -> None:
    widths = list(TINY["mobilenet_v2"])
    widths[5] += 8  # the second block of a stage
    with pytest.raises(UserError, match="sums 8 and 16"):
        build(Arch("mobilenet_v2", tuple(widths), 5, 32, (0.5,) * 3, (0.25,) * 3), seed=0)
