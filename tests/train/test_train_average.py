"""The moving average of weights, against its closed form."""

from __future__ import annotations

import pytest
import torch

from edgexai.models.arch import Arch
from edgexai.models.base import Network
from edgexai.models.store import build
from edgexai.train.average import WeightAverage


def network() -> Network:
    return build(Arch("lisa_cnn", (4, 4, 4), 3, 32, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)), seed=0)


def test_the_average_of_weights_that_jump_once_follows_the_decay() -> None:
    net = network()
    start = net.head.bias.detach().clone()  # type: ignore[union-attr]
    average = WeightAverage(net, decay=0.9)
    with torch.no_grad():
        net.head.bias += 1.0  # type: ignore[union-attr,operator]
    kept = 1.0
    for step in range(200):
        average.update(net, step)
        kept *= min(0.9, (1 + step) / (10 + step))
    torch.testing.assert_close(average.network(net).head.bias, start + 1.0 - kept)  # type: ignore[union-attr]


def test_no_decay_is_the_network_itself() -> None:
    net = network()
    average = WeightAverage(net, decay=0.0)
    with torch.no_grad():
        net.head.bias += 1.0  # type: ignore[union-attr,operator]
    average.update(net, 0)
    assert all(torch.equal(value, average.state[key]) for key, value in net.state_dict().items())


@pytest.mark.parametrize("decay", [0.0, 0.99])
def test_the_network_is_left_alone(decay: float) -> None:
    net = network()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    average = WeightAverage(net, decay=decay)
    average.update(net, 0)
    average.network(net)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert net.training
