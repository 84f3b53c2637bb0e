"""Adversarial training: its losses against a second form of them, and what the source studies' code got wrong."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from loops import (
    EASY,
    EPS,
    FGSM,
    PGD,
    PLAIN,
    SETTINGS,
    StopError,
    faint,
    fit,
    nothing,
    same,
    stop_after,
    wide_signnet,
)
from planted import bars, lisa, signnet, vgg
from safetensors import safe_open
from torch import Tensor

from edgexai.errors import MissingCapability, UserError
from edgexai.models.base import Network
from edgexai.train import adversarial, watch
from edgexai.train.adversarial import AdversarialSettings
from edgexai.train.loop import LoopSettings
from edgexai.train.natural import fit_natural
from edgexai.train.perturb import Adversary
from edgexai.train.validate import robust_accuracy, twin_accuracy

# The loss of one batch


def batch() -> tuple[Tensor, Tensor]:
    return torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(3)), torch.tensor([0, 1, 2, 3, 1, 0])


def loss_and_inputs(net: Network, settings: AdversarialSettings) -> tuple[Tensor, list[Tensor]]:
    """The loss, and what entered the network pass by pass."""
    seen: list[Tensor] = []
    handle = net.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach().clone()))
    images, labels = batch()
    loss = adversarial._loss(net, images, labels, torch.Generator().manual_seed(4), settings)
    handle.remove()
    return loss, seen


def gradients(net: Network, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(net.parameters())))


def agree(net: Network, got: Tensor, wanted: Tensor) -> None:
    assert float(got) == pytest.approx(float(wanted), rel=1e-5)
    for one, other in zip(gradients(net, got), gradients(net, wanted), strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("adversary", [FGSM, PGD])
@pytest.mark.parametrize(("clean", "hard"), [(1.0, 2.0), (0.5, 1.0), (0.0, 3.0)])
def test_cross_entropy_against_the_formula(adversary: Adversary, clean: float, hard: float) -> None:
    net, (images, labels) = lisa().train(), batch()
    settings = AdversarialSettings(PLAIN, adversary, clean_weight=clean, adversarial_weight=hard)
    loss, seen = loss_and_inputs(net, settings)
    sizes = [len(points) for points in seen]
    assert sizes == [6] * adversary.steps + [12 if clean else 6]  # clean images pass only where they weigh
    attacked = seen[-1][-6:]
    assert not clean or torch.equal(seen[-1][:6], images)
    of_clean, of_hard = (F.cross_entropy(net(x), labels, label_smoothing=0.1) for x in (images, attacked))
    assert float(of_hard) > float(of_clean)
    agree(net, loss, (clean * of_clean + hard * of_hard) / (clean + hard))


def naive_divergence(p_logits: Tensor, q_logits: Tensor) -> Tensor:
    """Mean over images of sum_k p_k (log p_k - log q_k), class by class."""
    p, q = p_logits.softmax(1), q_logits.softmax(1)
    per_image = [sum(a[k] * (a[k].log() - b[k].log()) for k in range(len(a))) for a, b in zip(p, q, strict=True)]
    return torch.stack(per_image).mean()  # type: ignore[arg-type]


@pytest.mark.parametrize("beta", [1.0, 6.0])
def test_trades_against_a_naive_form(beta: float) -> None:
    net, (images, labels) = lisa().train(), batch()
    with torch.no_grad():
        net.head.get_parameter("weight").mul_(8)  # decided logits
    settings = AdversarialSettings(PLAIN, PGD, trades=True, adversarial_weight=beta)
    loss, seen = loss_and_inputs(net, settings)
    assert [len(points) for points in seen] == [6, 6, 6, 6, 12]
    assert torch.equal(seen[0], images)
    start, attacked = seen[1], seen[-1][6:]
    with torch.no_grad():
        before, after = (naive_divergence(net(images), net(points)) for points in (start, attacked))
    assert float(after) > 2 * float(before) > 0  # the attack climbs the divergence, from beside the image
    # the gradient flows through both sides, as in the authors' loss
    wanted = F.cross_entropy(net(images), labels, label_smoothing=0.1)
    agree(net, loss, wanted + beta * naive_divergence(net(images), net(attacked)))


def test_trades_of_two_logits_in_closed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits (s, 0): with p = sigmoid(s), KL = p log(p/q) + (1-p) log((1-p)/(1-q)), for s = 2 and s' = -1."""
    net, images = lisa().train(), torch.full((1, 3, 32, 32), 0.25)
    logits = {0.25: 2.0, 0.5: -1.0}
    net.forward = lambda x: torch.stack(  # type: ignore[method-assign]
        [torch.tensor([logits[round(float(image.mean()), 3)], 0.0]) for image in x]
    )
    monkeypatch.setattr(adversarial, "perturb", lambda *_, **__: torch.full((1, 3, 32, 32), 0.5))
    settings = AdversarialSettings(replace(PLAIN, label_smoothing=0.0), PGD, trades=True, adversarial_weight=5.0)
    loss = adversarial._loss(net, images, torch.tensor([0]), torch.Generator(), settings)
    # p = 0.8807971, q = 0.2689414: CE = 0.1269280, KL = 0.8807971 * 1.1863337 + 0.1192029 * -1.8136663 = 0.8287270
    assert float(loss) == pytest.approx(0.1269280 + 5 * 0.8287270, rel=1e-5)


def test_trades_without_a_ball_is_plain_training() -> None:
    net, (images, labels) = lisa().train(), batch()
    settings = AdversarialSettings(PLAIN, Adversary(1e-9, steps=2), trades=True, adversarial_weight=6.0)
    wanted = F.cross_entropy(net(images), labels, label_smoothing=0.1)
    assert float(loss_and_inputs(net, settings)[0]) == pytest.approx(float(wanted), rel=1e-5)


# The whole loop


@pytest.fixture(scope="module")
def natural(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """A network that takes the faint tint, which an attack overpaints. To be copied, not trained on."""
    net = wide_signnet()
    data = (faint(96, 1), faint(40, 2))
    fit_natural(net, *data, settings=EASY, seed=0, work=tmp_path_factory.mktemp("natural"), progress=nothing)
    return net


@pytest.mark.parametrize("name", ["fgsm", pytest.param("trades", marks=pytest.mark.slow)])
def test_it_learns_what_withstands(tmp_path: Path, natural: Network, name: str) -> None:
    eps, val, test = 16 / 255, faint(40, 2), faint(80, 3)
    assert twin_accuracy(natural, test) > 0.9
    assert robust_accuracy(natural, test, eps=eps, steps=10, seed=1) < 0.3
    settings, train = AdversarialSettings(EASY, Adversary(eps), adversarial_weight=2.0), faint(96, 1)
    if name == "trades":
        plain, train = replace(EASY, batch_size=16), faint(160, 1)
        settings = AdversarialSettings(plain, Adversary(eps, steps=2), trades=True, adversarial_weight=6.0)
    net, events = wide_signnet(), []
    scores = fit(net, settings, tmp_path, progress=events.append, train=train, val=val)
    assert not net.training
    assert twin_accuracy(net, test) > 0.9
    assert robust_accuracy(net, test, eps=eps, steps=10, seed=1) > 0.8
    last = events[-1]["scalars"]
    assert scores["val_acc"] == last["val_acc"] == twin_accuracy(net, val)
    assert scores["best_val_robust_acc"] == max(e["scalars"]["val_robust_acc"] for e in events)
    assert last["val_robust_acc"] == robust_accuracy(net, val, eps=eps, steps=10, seed=0)
    assert [e["done"] for e in events] == list(range(1, EASY.epochs + 1))
    assert scores["epoch"] == EASY.epochs


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_watch_measures_in_the_norm_of_the_training(tmp_path: Path, natural: Network, norm: str) -> None:
    net, val, events = copy.deepcopy(natural), faint(40, 2), []
    still = replace(EASY, epochs=1, lr=0.0)
    fit(net, AdversarialSettings(still, Adversary(0.1, norm=norm)), tmp_path, val=val, progress=events.append)  # type: ignore[arg-type]
    got = {n: robust_accuracy(net, val, eps=0.1, norm=n, steps=10, seed=0) for n in ("linf", "l2")}  # type: ignore[arg-type]
    assert events[-1]["scalars"]["val_robust_acc"] == got[norm]
    assert got["linf"] < got["l2"]  # 0.1 of every value is 5.5 of a whole image


@pytest.mark.parametrize(
    ("name", "make", "stop"),
    [(name, lisa, 2) for name in SETTINGS if "advprop" not in name]
    + [("fgsm", signnet, 1), ("trades", signnet, 2), ("l2", signnet, 1), ("fgsm", lisa, 3)]
    + [pytest.param("pgd", vgg, 1, marks=pytest.mark.slow)],
)
def test_stopped_and_started_again_ends_in_the_same_bits(tmp_path: Path, name: str, make: Any, stop: int) -> None:
    torch.manual_seed(1)
    calm = make(5)
    expected = fit(calm, SETTINGS[name], tmp_path / "calm")
    torch.manual_seed(2)  # the global generator decides nothing
    before = torch.random.get_rng_state()
    with pytest.raises(StopError):
        fit(make(5), SETTINGS[name], tmp_path / "broken", progress=stop_after(stop))
    again, done = make(6), []
    scores = fit(again, SETTINGS[name], tmp_path / "broken", progress=done.append)
    assert [e["done"] for e in done] == list(range(stop + 1, 4))
    assert same(calm, again)
    assert scores == expected
    assert torch.equal(before, torch.random.get_rng_state())
    other = make(5)
    fit(other, SETTINGS[name], tmp_path / "other", seed=1)
    assert not same(calm, other)


@pytest.mark.parametrize("name", ["fgsm", "pgd", "l2", "trades"])
def test_train_mode_throughout_and_statistics_of_training_batches_only(tmp_path: Path, name: str) -> None:
    """Code of a source study went to eval mode in its first evaluation and never came back."""
    net, settings = signnet(), replace(SETTINGS[name], patience=0)
    modes: list[tuple[bool, int]] = []

    class Recorder(torch.nn.Module):
        """A module inside the network that writes down the mode it runs in."""

        def forward(self, features: Tensor) -> Tensor:
            modes.append((self.training, len(features)))
            return features

    net.body.add_module("recorder", Recorder())
    fit(net, settings, tmp_path)
    made = 1 if name == "trades" else 0  # the clean logits that the attack moves away from
    last = 8 if name == "pgd" else 16  # clean_weight = 0: the attacked images alone
    one_step = [8] * (made + settings.adversary.steps) + [last]
    assert [size for is_training, size in modes if is_training] == one_step * 3 * 3
    tracked = [int(v) for k, v in net.state_dict().items() if k.endswith("num_batches_tracked")]
    assert tracked
    assert set(tracked) == {9}  # 3 epochs of 3 batches: passes that make an attack leave no trace


def test_every_pass_is_in_pixels(tmp_path: Path) -> None:
    """No pass sees values outside [0,1], and each attacked batch lies within eps of an image of the data set."""
    net, data, seen = lisa(), bars(8, 1), []
    net.register_forward_pre_hook(lambda module, given: seen.append(given[0].clone()) if module.training else None)
    settings = AdversarialSettings(replace(PLAIN, augment="none"), PGD)
    fit(net, settings, tmp_path, train=data)
    images = torch.from_numpy(data.as_float())
    farthest = []
    for points in seen:
        assert float(points.min()) >= 0
        assert float(points.max()) <= 1
        distance = torch.stack([(images - point).abs().amax((1, 2, 3)).min() for point in points])
        assert distance.max() <= EPS + 1e-6
        farthest.append(float(distance.max()))
    assert max(farthest) == pytest.approx(EPS, rel=1e-3)


def test_validation_images_decide_nothing_without_patience(tmp_path: Path) -> None:
    nets = [lisa(5), lisa(5)]
    for k, net in enumerate(nets):
        fit(net, SETTINGS["fgsm"], tmp_path / str(k), val=bars(12 + 4 * k, 7 + k))
    assert same(*nets)


def test_a_collapse_is_found_and_the_weights_before_it_come_back(tmp_path: Path) -> None:
    """A real one: between two epochs the network is made constant, which no small learning rate mends."""
    train, val = bars(96, 1), bars(40, 2)
    plain = LoopSettings(epochs=9, batch_size=16, lr=0.05, weight_decay=5e-4)
    net, events, saved = lisa(), [], []

    def progress(event: Mapping[str, Any]) -> None:
        events.append(event)
        saved.append({k: v.clone() for k, v in net.state_dict().items()})
        if event["done"] == 7:
            with torch.no_grad():
                for weights in net.parameters():
                    weights.zero_()

    settings = AdversarialSettings(plain, Adversary(2 / 255))
    scores = fit(net, settings, tmp_path, train=train, val=val, progress=progress)
    assert [bool(e.get("collapsed")) for e in events] == [False] * 7 + [True]
    robust = [e["scalars"]["val_robust_acc"] for e in events]
    assert robust[7] < 0.5 * max(robust) <= 0.5 * scores["best_val_robust_acc"]
    assert all(torch.equal(v, saved[6][k]) for k, v in net.state_dict().items())
    assert scores["epoch"] == 7
    again = lisa(9)  # a restart does not train on
    assert fit(again, settings, tmp_path, train=train, val=val, progress=stop_after(9)) == scores
    assert same(net, again)


def test_no_collapse_no_alarm(tmp_path: Path) -> None:
    events: list[Mapping[str, Any]] = []
    fit(lisa(), SETTINGS["fgsm"], tmp_path, progress=events.append)
    assert len(events) == 3
    assert not any(e.get("collapsed") for e in events)


@pytest.mark.parametrize("stop", [0, 1, 2, 3])
def test_patience_keeps_the_best_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int) -> None:
    """Robust accuracies are given, so that the best epoch is known; a restart anywhere changes nothing."""
    given = {1: 0.4, 2: 0.6, 3: 0.6, 4: 0.5, 5: 0.9}
    told = iter(given.values())
    monkeypatch.setattr(watch, "robust_accuracy", lambda *_, **__: next(told))
    plain = replace(PLAIN, epochs=5, weight_average=0.0)
    settings = AdversarialSettings(plain, FGSM, patience=2)
    net, done, saved = lisa(5), [], {}

    def progress(event: Mapping[str, Any]) -> None:
        done.append(event["done"])
        saved[event["done"]] = {k: v.clone() for k, v in net.state_dict().items()}
        if event["done"] == stop:
            raise StopError

    if stop:
        with pytest.raises(StopError):
            fit(net, settings, tmp_path, progress=progress)
        net = lisa(6)
    scores = fit(net, settings, tmp_path, progress=progress)
    assert done == [1, 2, 3, 4]  # epoch 2 is the best, an equal one is not better, epoch 4 is the second in vain
    assert all(torch.equal(v, saved[2][k]) for k, v in net.state_dict().items())
    assert (scores["epoch"], scores["best_val_robust_acc"]) == (2, 0.6)


def test_patience_zero_keeps_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter([0.9, 0.8, 0.7])
    monkeypatch.setattr(watch, "robust_accuracy", lambda *_, **__: next(told))
    net = lisa(5)
    scores = fit(net, AdversarialSettings(replace(PLAIN, weight_average=0.0), FGSM), tmp_path)
    with safe_open(tmp_path / "checkpoint.safetensors", framework="pt") as file:
        last = {k[4:]: file.get_tensor(k) for k in file.keys() if k.startswith("net.")}  # noqa: SIM118
        assert not [k for k in file.keys() if k.startswith("extra.best.")]  # noqa: SIM118
    assert all(torch.equal(v, last[k]) for k, v in net.state_dict().items())
    assert scores["epoch"] == 3


def test_divergence_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="diverged") as caught:
        fit(lisa(), AdversarialSettings(replace(PLAIN, lr=1e30), FGSM), tmp_path)
    assert "train.lr" in str(caught.value)
    assert not (tmp_path / "checkpoint.safetensors").exists()


@pytest.mark.parametrize("name", ["natural", "fgsm", "advprop"])
def test_mixed_precision_is_refused_on_the_cpu(tmp_path: Path, name: str) -> None:
    net = signnet()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    amp = replace(PLAIN, precision="amp")
    settings = amp if name == "natural" else replace(SETTINGS[name], plain=amp)
    with pytest.raises(MissingCapability, match="CUDA only") as caught:
        fit(net, settings, tmp_path)
    assert "--device cuda" in str(caught.value)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("name", ["fgsm", "trades", "advprop"])
def test_mixed_precision_trains_on_cuda(tmp_path: Path, name: str) -> None:
    ends = {}
    for precision in ("fp32", "amp"):
        net = signnet().to("cuda")
        settings = replace(SETTINGS[name], plain=replace(PLAIN, epochs=8, precision=precision))
        ends[precision] = fit(net, settings, tmp_path / precision, train=bars(96, 1), val=bars(40, 2))["val_acc"]
        assert all(v.dtype in (torch.float32, torch.int64) for v in net.state_dict().values())
    assert abs(ends["amp"] - ends["fp32"]) < 0.2
