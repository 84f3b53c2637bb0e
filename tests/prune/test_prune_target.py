"""How much is cut and where: scopes, portions, and the three kinds of target."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from prune_nets import evidence, tiny
from torch import nn

from edgexai.errors import UserError
from edgexai.models.arch import Arch
from edgexai.models.base import Network
from edgexai.models.cost import macs, parameters
from edgexai.models.store import build
from edgexai.prune import IMPORTANCES
from edgexai.prune.channel import prune_channels
from edgexai.prune.coupling import Coupling
from edgexai.prune.stairs import stairs
from edgexai.prune.target import LatencyTarget


def net_of(widths: tuple[int, ...], name: str = "signnet") -> Network:
    return build(Arch(name, widths, 5, 32, (0.5,) * 3, (0.25,) * 3), seed=1).eval()


def uneven(net: Network, dead: dict[str, int]) -> Network:
    """Scales that tell channels apart, with the first ``dead[name]`` of a batch norm at next to nothing."""
    with torch.no_grad():
        for name, module in net.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.copy_(torch.linspace(1, 1.3, len(module.weight)))
                module.weight[: dead.get(name, 0)] = 1e-3
    return net


def test_global_scope_takes_channels_where_the_lowest_are() -> None:
    net = uneven(net_of((16,) * 8), {"body.2.1": 12})  # the second width alone has channels that do nothing
    coupling = Coupling(net)
    scores = IMPORTANCES["bn_scale"].load()(coupling, evidence=None, seed=0)
    everywhere = stairs(net.arch.widths, coupling.groups, scores, scope="global", round_to=4)
    assert everywhere[:4] == [(16,) * 8, (16, 12, *(16,) * 6), (16, 8, *(16,) * 6), (16, 4, *(16,) * 6)]
    alike = stairs(net.arch.widths, coupling.groups, scores, scope="per_layer", round_to=4)
    assert alike[len(coupling.groups)] == (12,) * 8  # one ratio for all, whatever the scores
    assert everywhere[-1] == alike[-1] == (4,) * 8
    for found in (everywhere, alike):
        for wide, narrow in pairwise(found):
            assert wide != narrow
            assert all(a >= b > 0 and b % 4 == 0 for a, b in zip(wide, narrow, strict=True))


def test_isomorphic_scope_has_one_ratio_for_each_kind() -> None:
    """Middles of residual blocks are one kind; the stages, each tied otherwise, are others."""
    net = uneven(net_of((16,) * 19, "resnet20"), {f"body.{k}.first.1": 12 for k in (1, 2, 3)})
    coupling = Coupling(net)
    middles = [g for g in coupling.groups if len(g.places) == 1]
    assert len({g.kind for g in middles}) == 1
    assert len({g.kind for g in coupling.groups}) > 1
    scores = IMPORTANCES["bn_scale"].load()(coupling, evidence=None, seed=0)
    found = stairs(net.arch.widths, coupling.groups, scores, scope="isomorphic", round_to=4)
    quarter = next(w for w in found if sum(w[1:18:2]) <= 0.75 * 9 * 16)
    assert quarter[1:6:2] == (4, 4, 4)  # the blocks with dead middles pay for all nine
    assert quarter[7:18:2] == (16,) * 6
    assert {quarter[0], quarter[8], quarter[14]} <= {16, 12}


def test_groups_without_a_score_stay() -> None:
    net = net_of((8,) * 13 + (16, 16), "vgg16")
    small, _ = prune_channels(net, importance="bn_scale", macs_ratio=0.5, round_to=4, seed=0)
    assert small.arch.widths[13:] == (16, 16)
    assert max(small.arch.widths[:13]) == 4 or min(small.arch.widths[:13]) == 4


def test_parameters_as_the_target() -> None:
    net = net_of((16,) * 8)
    small, report = prune_channels(net, importance="l2", parameter_ratio=0.4, round_to=4, seed=0)
    assert parameters(small) <= 0.4 * parameters(net)
    assert (report.parameters_before, report.parameters_after) == (parameters(net), parameters(small))
    assert report.parameter_ratio == parameters(small) / parameters(net) > 0.25
    with pytest.raises(UserError, match=r"prune\.parameter_ratio = 0.001"):
        prune_channels(net, importance="l2", parameter_ratio=0.001, round_to=4, seed=0)


@pytest.mark.parametrize("targets", [{}, {"macs_ratio": 0.5, "parameter_ratio": 0.5}])
def test_exactly_one_target(targets: dict[str, float]) -> None:
    with pytest.raises(UserError, match="exactly one"):
        prune_channels(
            net_of((8,) * 8),
            importance="l2",
            round_to=4,
            seed=0,
            macs_ratio=targets.get("macs_ratio"),
            parameter_ratio=targets.get("parameter_ratio"),
        )


def test_unknown_scope() -> None:
    with pytest.raises(UserError, match="per_layer, global, isomorphic"):
        prune_channels(net_of((8,) * 8), importance="l2", macs_ratio=0.5, round_to=4, seed=0, scope="structured")


def test_portions() -> None:
    """Three portions: two calls between them, MACs falling evenly, each scored on what the call left behind."""
    net, seen = net_of((16,) * 8), []

    def between(part: Network, step: int) -> None:
        seen.append((step, macs(part)))
        with torch.no_grad():  # "training" that turns the order of the first layer's channels round
            part.body.get_submodule("0.0").get_parameter("weight").copy_(
                torch.linspace(1, 2, part.arch.widths[0])[:, None, None, None].expand(-1, 3, 3, 3)
            )

    small, report = prune_channels(
        net, importance="l1", macs_ratio=0.25, round_to=4, seed=0, steps=3, between=between, scope="per_layer"
    )
    assert [step for step, _ in seen] == [1, 2]
    for step, left in seen:
        assert 0.25 < left / macs(net) <= 1 - 0.75 * step / 3
    assert macs(small) <= 0.25 * macs(net)
    assert report.macs_before == macs(net)
    kept = small.state_dict()["body.0.0.weight"][:, 0, 0, 0]
    assert kept[-1] == 2  # the last portion knew the new weights
    assert torch.equal(net.state_dict()["body.0.0.weight"], net_of((16,) * 8).state_dict()["body.0.0.weight"])


@pytest.mark.parametrize("wanted", [0.9, 0.6, 0.35])
@pytest.mark.parametrize("steps", [1, 2])
def test_latency_is_searched_until_it_is_met(wanted: float, steps: int) -> None:
    """A machine that takes a constant and a time per MAC."""
    net, asked = net_of((32,) * 8), []

    def measure(part: Network) -> float:
        asked.append(part.arch.widths)
        return 0.1 + macs(part) / macs(net)

    target = LatencyTarget(wanted, measure)
    small, report = prune_channels(net, importance="l2", latency=target, round_to=4, seed=0, steps=steps)
    assert abs(measure(small) / wanted - 1) <= 0.1
    assert report.latency_ms == measure(small)
    assert len(asked) <= 10 * steps + 2


def test_the_nearest_measured_stair_is_taken_not_the_first_within_the_tolerance() -> None:
    """Against every stair there is: no other is nearer by more than a quarter of the tolerance."""
    net = net_of((32,) * 8)

    def measure(part: Network) -> float:
        return 0.1 + macs(part) / macs(net)

    coupling = Coupling(net)
    scores = IMPORTANCES["l2"].load()(coupling, evidence=None, seed=0)
    everything = [
        measure(build(replace(net.arch, widths=widths), seed=0))
        for widths in stairs(net.arch.widths, coupling.groups, scores, scope="per_layer", round_to=4)
    ]
    for wanted in (0.95, 0.8, 0.7, 0.55, 0.4, 0.3):
        target = LatencyTarget(wanted, measure)
        small, _ = prune_channels(net, importance="l2", latency=target, round_to=4, seed=0)
        nearest = min(abs(took / wanted - 1) for took in everything)
        assert abs(measure(small) / wanted - 1) <= max(nearest + 1e-9, 0.025)


def test_latency_that_no_widths_have() -> None:
    net = net_of((32,) * 8)
    target = LatencyTarget(0.5, lambda part: 1.0 if macs(part) > 0.6 * macs(net) else 0.2)
    with pytest.raises(UserError, match=r"latency_ms = 0\.5") as caught:
        prune_channels(net, importance="l2", latency=target, round_to=4, seed=0)
    assert "1 ms" in str(caught.value)
    assert "0.2 ms" in str(caught.value)
    with pytest.raises(UserError, match="latency_ms = 5"):  # faster already than was asked for
        prune_channels(net, importance="l2", latency=LatencyTarget(5, lambda _: 1.0), round_to=4, seed=0)


def test_widths_that_meet_by_chance_do_not_change_the_structure() -> None:
    """64 -> 48 channels have a 1x1 shortcut; were both 32, the builder would leave it out, so that is skipped."""
    net = net_of((16, 16, 64, 16, 48, 16, 16, 16))
    wide = {n for n in net.state_dict() if ".shortcut" in n}
    assert wide
    for ratio in (0.9, 0.8, 0.7):
        small, _ = prune_channels(net, importance="l2", macs_ratio=ratio, round_to=16, seed=0)
        assert {n for n in small.state_dict() if ".shortcut" in n} == wide
        assert small.arch.widths[2] != small.arch.widths[4]


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["per_layer", "global", "isomorphic"])
@pytest.mark.parametrize("importance", IMPORTANCES)
@pytest.mark.parametrize("name", ["signnet", "resnet20", "mobilenet_v2", "densenet_small", "vgg16"])
def test_every_scope_and_importance(name: str, importance: str, scope: str) -> None:
    net = tiny(name)
    ratio = 0.7 if importance == "bn_scale" else 0.5
    small, report = prune_channels(
        net, importance=importance, macs_ratio=ratio, round_to=2, seed=0, scope=scope, evidence=evidence()
    )
    assert report.macs_ratio <= ratio
    assert all(w % 2 == 0 for w in small.arch.widths)
    assert small.arch.classes == 5
    with torch.no_grad():
        assert small(torch.zeros(2, 3, 32, 32)).shape == (2, 5)
