"""Masks: the reference library's choice of weights, exactly zero through any training, no MACs saved."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from prune_nets import split, tiny
from torch import nn
from torch.nn.utils import prune as reference

from edgexai.errors import UserError
from edgexai.models import ARCHITECTURES
from edgexai.models.base import Network
from edgexai.models.cost import macs
from edgexai.prune.masked import SCOPES, held, mask_weights, masked_sparsity
from edgexai.train.loop import LoopSettings
from edgexai.train.natural import fit_natural

SETTINGS = LoopSettings(epochs=2, batch_size=5, lr=0.1, weight_decay=5e-2, weight_average=0.9, augment="none")


def layers(net: Network) -> dict[str, nn.Module]:
    return {f"{n}.weight": m for n, m in net.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))}


def fit(net: Network, work: Path) -> None:
    given = split(15)
    fit_natural(net, given, given, settings=SETTINGS, seed=0, work=work, progress=lambda _: None)


@pytest.mark.parametrize("name", ["signnet", "lisa_cnn"])
def test_the_same_weights_as_torchs_own_pruning(name: str) -> None:
    net = tiny(name)
    other = copy.deepcopy(net)
    for layer in layers(other).values():
        share = 0.2 if isinstance(layer, nn.Conv2d) else 0.1
        reference.l1_unstructured(layer, "weight", share)
    _, keep = mask_weights(net, scope="per_layer", amount=0.2, amount_linear=0.1)
    for key, layer in layers(other).items():
        assert torch.equal(keep[key], layer.get_buffer("weight_mask").bool()), key

    other = copy.deepcopy(net)
    together = [(layer, "weight") for layer in layers(other).values()]
    reference.global_unstructured(together, pruning_method=reference.L1Unstructured, amount=0.2)
    _, keep = mask_weights(net, scope="global", amount=0.2)
    for key, layer in layers(other).items():
        assert torch.equal(keep[key], layer.get_buffer("weight_mask").bool()), key

    other = copy.deepcopy(net)
    *hidden, classifier = layers(other)
    for key in hidden:
        reference.ln_structured(layers(other)[key], "weight", 0.25, n=2, dim=0)
    _, keep = mask_weights(net, scope="structured", amount=0.25)
    assert classifier not in keep
    for key in hidden:
        assert torch.equal(keep[key], layers(other)[key].get_buffer("weight_mask").bool()), key


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_shares_macs_and_classes(name: str, scope: str) -> None:
    net = tiny(name)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    masked, keep = mask_weights(net, scope=scope, amount=0.5)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    weights = {key: m.get_parameter("weight").detach() for key, m in layers(masked).items()}
    zeros = sum(int((w == 0).sum()) for w in weights.values())
    total = sum(w.numel() for w in weights.values())
    assert masked_sparsity(masked, keep) == zeros / total
    classifier = next(reversed(weights))
    expected = 0.5 * (total - (weights[classifier].numel() if scope == "structured" else 0)) / total
    assert zeros / total == pytest.approx(expected, abs=0.01)
    assert macs(masked) == macs(net)
    assert bool(weights[classifier].abs().sum(1).gt(0).all())  # every class can still be told
    for key, weight in weights.items():
        kept = keep.get(key, torch.ones_like(weight, dtype=torch.bool))
        assert torch.equal(weight[kept], before[key][kept])
        if scope == "structured" and key != classifier:
            dead = weight.flatten(1).abs().sum(1) == 0
            assert int(dead.sum()) == round(0.5 * len(weight))


@pytest.mark.parametrize("name", ["signnet", "mobilenet_v2", "vgg16"])
def test_masked_weights_are_exactly_zero_after_training(name: str, tmp_path: Path) -> None:
    masked, keep = mask_weights(tiny(name), scope="global", amount=0.4)
    start = {k: v.clone() for k, v in masked.state_dict().items()}
    free = copy.deepcopy(masked)
    with held(masked, keep):
        fit(masked, tmp_path / "held")
    for key, kept in keep.items():
        weight = masked.get_parameter(key).detach()
        assert not weight[~kept].any()
        assert not torch.equal(weight[kept], start[key][kept])  # the others have learnt
        assert not masked.get_parameter(key)._backward_hooks
    fit(free, tmp_path / "free")  # the control: without masks they move
    assert all(free.get_parameter(key).detach()[~kept].any() for key, kept in keep.items())


def test_a_training_that_was_interrupted_keeps_its_masks(tmp_path: Path) -> None:
    whole, keep = mask_weights(tiny("signnet"), scope="per_layer", amount=0.3)
    broken, fresh = copy.deepcopy(whole), copy.deepcopy(whole)
    with held(whole, keep):
        fit(whole, tmp_path / "whole")

    class Stopped(Exception):
        pass

    def stop(_: object) -> None:
        raise Stopped

    given = split(15)
    with pytest.raises(Stopped), held(broken, keep):
        fit_natural(broken, given, given, settings=SETTINGS, seed=0, work=tmp_path / "cut", progress=stop)
    with held(fresh, keep):
        fit(fresh, tmp_path / "cut")
    assert all(torch.equal(v, fresh.state_dict()[k]) for k, v in whole.state_dict().items())


def test_a_loop_that_replaces_parameters_is_caught() -> None:
    masked, keep = mask_weights(tiny("signnet"), scope="per_layer", amount=0.3)

    def replaced() -> None:
        with held(masked, keep):
            for layer in layers(masked).values():
                layer.register_parameter("weight", nn.Parameter(torch.ones_like(layer.get_parameter("weight"))))

    with pytest.raises(RuntimeError, match="moved in"):
        replaced()


@pytest.mark.parametrize(("scope", "amount"), [("isomorphic", 0.2), ("per_layer", 1.0), ("global", -0.1)])
def test_what_is_refused(scope: str, amount: float) -> None:
    with pytest.raises(UserError):
        mask_weights(tiny("lisa_cnn"), scope=scope, amount=amount)
