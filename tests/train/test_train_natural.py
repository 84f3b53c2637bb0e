"""Natural training learns, and an interrupted one ends in the same bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from planted import bars, lisa, signnet, vgg
from safetensors import safe_open

from edgexai.errors import UserError
from edgexai.models.base import Network
from edgexai.train.loop import LoopSettings
from edgexai.train.natural import fit_natural
from edgexai.train.validate import robust_accuracy, twin_accuracy

SHORT = LoopSettings(epochs=3, batch_size=8, lr=0.05, weight_decay=5e-4)


class StopError(Exception):
    """Stands for Ctrl-C or a crash."""


def stop_after(epochs: int) -> Callable[[Mapping[str, Any]], None]:
    def progress(event: Mapping[str, Any]) -> None:
        if event["done"] == epochs:
            raise StopError

    return progress


def nothing(_: Mapping[str, Any]) -> None:
    pass


def same(one: Network, other: Network) -> bool:
    return all(torch.equal(v, other.state_dict()[k]) for k, v in one.state_dict().items())


def test_it_learns(tmp_path: Path) -> None:
    net, events = lisa(), []
    settings = LoopSettings(epochs=6, batch_size=16, lr=0.05, weight_decay=5e-4)
    scores = fit_natural(
        net, bars(160, 1), bars(80, 2), settings=settings, seed=0, work=tmp_path, progress=events.append
    )
    assert twin_accuracy(net, bars(80, 3)) > 0.7  # chance is 0.25
    assert scores["val_acc"] == twin_accuracy(net, bars(80, 2)) == events[-1]["scalars"]["val_acc"]
    assert not net.training
    assert [e["done"] for e in events] == [1, 2, 3, 4, 5, 6]
    assert events[-1]["scalars"]["loss"] < events[0]["scalars"]["loss"]


@pytest.mark.parametrize(("make", "stop"), [(lisa, 1), (lisa, 2), (lisa, 3), (signnet, 1), (signnet, 2), (vgg, 1)])
def test_stopped_and_started_again_ends_in_the_same_bits(
    tmp_path: Path, make: Callable[[int], Network], stop: int
) -> None:
    train, val = bars(26, 1), bars(8, 2)
    torch.manual_seed(1)
    calm = make(5)
    fit_natural(calm, train, val, settings=SHORT, seed=0, work=tmp_path / "calm", progress=nothing)
    torch.manual_seed(2)  # the global generator decides nothing
    before = torch.random.get_rng_state()
    broken = make(5)
    with pytest.raises(StopError):
        fit_natural(broken, train, val, settings=SHORT, seed=0, work=tmp_path / "broken", progress=stop_after(stop))
    again, done = make(6), []
    fit_natural(again, train, val, settings=SHORT, seed=0, work=tmp_path / "broken", progress=done.append)
    assert [e["done"] for e in done] == list(range(stop + 1, 4))
    assert same(calm, again)
    assert torch.equal(before, torch.random.get_rng_state())
    other = make(5)
    fit_natural(other, train, val, settings=SHORT, seed=1, work=tmp_path / "other", progress=nothing)
    assert not same(calm, other)


def test_the_averaged_weights_are_validated_and_returned(tmp_path: Path) -> None:
    """With a decay of 0 the network itself; else neither that nor its start, and what the events report."""
    ends = {}
    for decay in (0.0, 0.9):
        net, events = signnet(5), []
        settings = replace(SHORT, weight_average=decay)
        work = tmp_path / str(decay)
        fit_natural(net, bars(26, 1), bars(40, 2), settings=settings, seed=0, work=work, progress=events.append)
        restored = signnet(6)
        with safe_open(work / "checkpoint.safetensors", framework="pt") as file:
            restored.load_state_dict({k[4:]: file.get_tensor(k) for k in file.keys() if k.startswith("net.")})  # noqa: SIM118
        assert same(net, restored) == (decay == 0.0)
        assert events[-1]["scalars"]["val_acc"] == twin_accuracy(net, bars(40, 2))
        ends[decay] = net
    assert not same(ends[0.0], ends[0.9])
    assert not same(ends[0.9], signnet(5))


def test_train_mode_in_every_epoch(tmp_path: Path) -> None:
    net, modes = signnet(), []
    net.register_forward_hook(lambda module, *_: modes.append((module.training, torch.is_grad_enabled())))
    fit_natural(net, bars(24, 1), bars(8, 2), settings=SHORT, seed=0, work=tmp_path, progress=nothing)
    one_epoch = [(True, True)] * 3 + [(False, False)]
    assert modes[:12] == one_epoch * 3


def test_divergence_is_said(tmp_path: Path) -> None:
    settings = LoopSettings(epochs=2, batch_size=8, lr=1e30, weight_decay=0.0)
    with pytest.raises(UserError, match="diverged") as caught:
        fit_natural(lisa(), bars(24, 1), bars(8, 2), settings=settings, seed=0, work=tmp_path, progress=nothing)
    assert "train.lr" in str(caught.value)
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_robust_accuracy_is_below_clean_and_keeps_the_mode(tmp_path: Path) -> None:
    net, val = lisa(), bars(40, 2)
    settings = LoopSettings(epochs=4, batch_size=16, lr=0.05, weight_decay=5e-4)
    fit_natural(net, bars(160, 1), val, settings=settings, seed=0, work=tmp_path, progress=nothing)
    net.train()
    weights = {k: v.clone() for k, v in net.state_dict().items()}
    clean = twin_accuracy(net, val, batch_size=7)
    assert clean == twin_accuracy(net, val)
    robust = [robust_accuracy(net, val, eps=eps, steps=5, seed=0) for eps in (1e-6, 0.02, 0.3)]
    assert net.training
    assert clean == robust[0] >= robust[1] >= robust[2]
    assert robust[2] < 0.3
    assert all(torch.equal(v, weights[k]) for k, v in net.state_dict().items())
