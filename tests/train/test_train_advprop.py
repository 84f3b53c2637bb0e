"""AdvProp: clean and attacked images never share a batch norm, and the network keeps its structure."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from loops import EASY, FGSM, PGD, PLAIN, SETTINGS, StopError, faint, fit, nothing, same, stop_after, wide_signnet
from planted import bars, lisa, signnet, vgg
from safetensors import safe_open
from torch import Tensor, nn

from edgexai.errors import UserError
from edgexai.models import store
from edgexai.train import advprop
from edgexai.train.adversarial import AdversarialSettings
from edgexai.train.advprop import AdvPropSettings
from edgexai.train.auxiliary_norms import AuxiliaryNorms
from edgexai.train.natural import fit_natural
from edgexai.train.perturb import perturb
from edgexai.train.validate import twin_accuracy

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
STILL = replace(PLAIN, lr=0.0, weight_average=0.0, augment="none")


def norms(net: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]


@pytest.mark.parametrize("adversary", [FGSM, PGD])
@pytest.mark.parametrize("make", [signnet, pytest.param(vgg, marks=pytest.mark.slow)])
def test_main_statistics_are_those_of_clean_images_alone(tmp_path: Path, make: Any, adversary: Any) -> None:
    """With weights that stand still, natural training sees the same batches: equal to the last bit."""
    clean, mixed, hard, start = make(3), make(3), make(3), make(3)
    data = (bars(26, 1), bars(8, 2))
    if make is vgg:  # dropout draws differ between the two trainings, but come after the last batch norm
        assert not [m for m in clean.body.modules() if isinstance(m, nn.Dropout)]
    fit_natural(clean, *data, settings=STILL, seed=0, work=tmp_path / "clean", progress=nothing)
    fit(mixed, AdvPropSettings(STILL, adversary), tmp_path / "mixed")
    fit(hard, AdversarialSettings(STILL, adversary), tmp_path / "hard")
    compared = 0
    for key, value in clean.state_dict().items():
        assert torch.equal(value, mixed.state_dict()[key]), key
        if key.endswith("running_mean"):
            compared += 1
            assert not torch.equal(value, start.state_dict()[key])
            assert not torch.equal(value, hard.state_dict()[key])  # the control: one set of norms for both
    assert compared == len(norms(clean))


def test_state_dict_and_modules_are_what_they_were(tmp_path: Path) -> None:
    net = signnet(3)
    keys, modules, parameters = list(net.state_dict()), dict(net.named_modules()), dict(net.named_parameters())
    arch = net.arch
    fit(net, SETTINGS["advprop_pgd"], tmp_path)
    assert list(net.state_dict()) == keys
    assert {k: id(v) for k, v in net.named_modules()} == {k: id(v) for k, v in modules.items()}
    assert {k: id(v) for k, v in net.named_parameters()} == {k: id(v) for k, v in parameters.items()}
    assert net.arch == arch
    assert not net.training
    store.save(net, tmp_path / "saved")
    again, images = store.load(tmp_path / "saved"), torch.rand(5, 3, 32, 32)
    torch.testing.assert_close(again(images), net(images))


def test_the_swap_is_undone_after_an_error_too() -> None:
    net = signnet()
    before, auxiliary = norms(net), AuxiliaryNorms(net)
    during: list[nn.BatchNorm2d] = []

    def fail() -> None:
        with auxiliary.in_place():
            during.extend(norms(net))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [id(n) for n in during] == [id(n) for n in auxiliary.norms]
    assert len(during) == len(before) > 5
    assert [id(n) for n in norms(net)] == [id(n) for n in before]


def test_auxiliary_norms_start_as_copies_and_share_nothing() -> None:
    net, images = signnet().train(), torch.rand(6, 3, 32, 32)
    auxiliary = AuxiliaryNorms(net)
    plain = copy.deepcopy(net)(images)
    with auxiliary.in_place():
        assert torch.equal(net(images), plain)
    theirs = {id(p) for p in net.parameters()}
    assert len(list(auxiliary.parameters())) == 2 * len(norms(net))
    assert theirs.isdisjoint(id(p) for p in auxiliary.parameters())
    assert not list(auxiliary.buffers())


def test_each_kind_of_image_meets_its_own_norms(tmp_path: Path) -> None:
    """The main norms run once a step, on the clean batch; making the attack does not touch them either."""
    net, main, all_passes = signnet(), [], []
    norms(net)[0].register_forward_hook(lambda module, given, _: main.append((module.training, given[0].shape[0])))
    net.register_forward_pre_hook(lambda module, given: all_passes.append(len(given[0])) if module.training else None)
    fit(net, AdvPropSettings(PLAIN, PGD), tmp_path)
    assert [size for training, size in main if training] == [8] * 9
    assert all_passes == [8] * (9 * (PGD.steps + 2))


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_loss_against_two_networks_of_shared_weights(alpha: float) -> None:
    """Auxiliary norms are at first copies, so a second whole network does what they do."""
    images = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    labels = torch.tensor([0, 1, 2, 3, 1, 0])
    net = signnet().train()
    twin, other = copy.deepcopy(net), copy.deepcopy(net)
    auxiliary, settings = AuxiliaryNorms(net), AdvPropSettings(PLAIN, PGD, adversarial_weight=alpha)
    loss = advprop._loss(net, auxiliary, images, labels, torch.Generator().manual_seed(4), settings)
    attacked = perturb(
        lambda x: F.cross_entropy(other(x), labels, reduction="sum"),
        images,
        adversary=PGD,
        generator=torch.Generator().manual_seed(4),
    )
    clean, hard = (F.cross_entropy(n(x), labels, label_smoothing=0.1) for n, x in ((twin, images), (other, attacked)))
    assert float(loss) == pytest.approx(float((clean + alpha * hard) / (1 + alpha)), rel=1e-5)
    loss.backward()  # type: ignore[no-untyped-call]
    ((clean + alpha * hard) / (1 + alpha)).backward()  # type: ignore[no-untyped-call]
    for (name, mine), one, two in zip(net.named_parameters(), twin.parameters(), other.parameters(), strict=True):
        assert mine.grad is not None
        owned = ".1." in name and mine.ndim == 1  # of a batch norm: gradient of the clean images alone
        wanted = one.grad if owned else one.grad + two.grad  # type: ignore[operator]
        torch.testing.assert_close(mine.grad, wanted, rtol=1e-3, atol=1e-6)


def test_both_sets_are_trained(tmp_path: Path) -> None:
    net = signnet(3)
    fit(net, replace(SETTINGS["advprop"], plain=replace(PLAIN, weight_average=0.0)), tmp_path)
    start, main = norms(signnet(3)), norms(net)
    with safe_open(tmp_path / "checkpoint.safetensors", framework="pt") as file:
        for k, (one, two) in enumerate(zip(start, main, strict=True)):
            kept: Tensor = file.get_tensor(f"extra.auxiliary.norms.{k}.weight")
            assert not torch.equal(kept, one.weight)
            assert not torch.equal(kept, two.weight)


@pytest.mark.parametrize(
    ("name", "make", "stop"),
    [
        ("advprop", signnet, 1),
        ("advprop", signnet, 2),
        ("advprop_pgd", signnet, 3),
        pytest.param("advprop", vgg, 1, marks=pytest.mark.slow),
    ],
)
def test_stopped_and_started_again_ends_in_the_same_bits(tmp_path: Path, name: str, make: Any, stop: int) -> None:
    torch.manual_seed(1)
    calm = make(5)
    expected = fit(calm, SETTINGS[name], tmp_path / "calm")
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    with pytest.raises(StopError):
        fit(make(5), SETTINGS[name], tmp_path / "broken", progress=stop_after(stop))
    again, done = make(6), []
    assert fit(again, SETTINGS[name], tmp_path / "broken", progress=done.append) == expected
    assert [e["done"] for e in done] == list(range(stop + 1, 4))
    assert same(calm, again)
    assert torch.equal(before, torch.random.get_rng_state())


def test_it_learns(tmp_path: Path) -> None:
    net, events = wide_signnet(), []
    scores = fit(
        net, AdvPropSettings(EASY, FGSM), tmp_path, train=faint(96, 1), val=faint(80, 2), progress=events.append
    )
    assert scores["val_acc"] == events[-1]["scalars"]["val_acc"] == twin_accuracy(net, faint(80, 2))
    assert twin_accuracy(net, faint(80, 3)) > 0.9  # chance is 0.25
    assert events[-1]["scalars"]["loss"] < events[0]["scalars"]["loss"]


def test_a_network_without_batch_norm_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="lisa_cnn has no batch norm") as caught:
        fit(lisa(), SETTINGS["advprop"], tmp_path)
    assert "adversarial" in str(caught.value)


def test_divergence_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"diverged(.|\n)*train\.lr"):
        fit(signnet(), replace(SETTINGS["advprop"], plain=replace(PLAIN, lr=1e30)), tmp_path)
