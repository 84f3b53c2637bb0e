"""Cascading randomisation: which layers, in which order, nothing else touched; and maps that do change."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from edgexai.errors import UserError
from edgexai.explain import EXPLAINERS, KINDS
from edgexai.explain.cascade import cascade, layers_top_down
from edgexai.explain.sanity import map_correlation, randomised
from edgexai.models.arch import Arch
from edgexai.models.base import Network
from edgexai.models.store import build, default_widths

IMAGES = np.random.default_rng(0).random((6, 3, 32, 32), dtype=np.float32)


@pytest.fixture(scope="module")
def net() -> Network:
    widths = (8,) * len(default_widths("signnet"))
    return build(Arch("signnet", widths, 5, 32, (0.5,) * 3, (0.25,) * 3), seed=0).eval()


def changed(a: Network, b: torch.nn.Module) -> set[str]:
    """Layers of which a parameter differs."""
    mine, other = dict(a.named_parameters()), dict(b.named_parameters())
    return {name.rpartition(".")[0] for name in mine if not torch.equal(mine[name], other[name])}


def test_layers_come_from_the_output_down_and_each_once(net: Network) -> None:
    layers = layers_top_down(net, IMAGES[:2])
    own = {name for name, m in net.named_modules() if next(m.parameters(recurse=False), None) is not None}
    assert layers[0] == "head"
    assert set(layers) == own
    assert len(layers) == len(own)

    class Swapped(torch.nn.Module):
        """Uses its layers in another order than it names them."""

        def __init__(self) -> None:
            super().__init__()
            self.last, self.first = torch.nn.Linear(4, 2), torch.nn.Conv2d(3, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.last(self.first(x).mean((2, 3)))
            return out

    assert layers_top_down(Swapped(), IMAGES[:2]) == ["last", "first"]


def test_every_step_randomises_more_and_nothing_below(net: Network) -> None:
    before = copy.deepcopy(net.state_dict())
    layers = layers_top_down(net, IMAGES[:2])
    steps = list(cascade(net, IMAGES, seed=0, steps=4))
    names = [name for name, _ in steps]
    assert (names[0], names[-1]) == ("head", layers[-1])
    reached: set[str] = set()
    for name, other in steps:
        allowed = set(layers[: layers.index(name) + 1])
        now = changed(net, other)
        assert reached <= now <= allowed
        assert not other.training
        reached = now
    assert len(reached) > len(layers) / 2  # a batch norm of ones and zeros is the same when shuffled
    # A tensor is shuffled alike whenever it is reached, and the last network is that of the sanity check.
    whole = randomised(net, IMAGES, seed=0)
    for (key, a), b in zip(steps[-1][1].state_dict().items(), whole.state_dict().values(), strict=True):
        assert torch.equal(a, b), key
    assert torch.equal(dict(steps[0][1].named_parameters())["head.weight"], whole.head.weight)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), net.state_dict().values(), strict=True))
    assert len(list(cascade(net, IMAGES, seed=0, steps=1))) == 1
    assert len(list(cascade(net, IMAGES, seed=0, steps=999))) == len(layers)
    with pytest.raises(UserError, match="steps"):
        list(cascade(net, IMAGES, seed=0, steps=0))


@pytest.mark.parametrize("name", ["vg", "ig", "gradcam", "smoothgrad"])
def test_shuffled_weights_change_every_map(net: Network, name: str) -> None:
    assert KINDS[name] == "gradient"
    explain = EXPLAINERS[name].load()
    pictures, labels = torch.from_numpy(IMAGES), torch.zeros(len(IMAGES), dtype=torch.int64)
    own = explain(net, pictures, labels, seed=0).numpy()
    again = explain(copy.deepcopy(net), pictures, labels, seed=0).numpy()
    np.testing.assert_allclose(own, again, rtol=1e-5, atol=1e-7)
    for _, other in cascade(net, IMAGES, seed=0, steps=3):
        moved = explain(other, pictures, labels, seed=0).numpy()
        assert not np.isclose(moved, own).all(axis=(1, 2)).any()
    assert np.median(map_correlation(own, moved)) < 0.9
