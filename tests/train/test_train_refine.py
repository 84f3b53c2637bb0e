"""Refinement: the loss against a naive one, terms that switch off, and resumption to the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from planted import CLASSES, GRID, bars, lisa, signnet, vgg
from torch import Tensor

from edgexai.errors import UserError
from edgexai.models.base import Network
from edgexai.train import lime_refined, watch
from edgexai.train.detect import DetectSettings, Flags
from edgexai.train.lime_refined import RefineSettings, control_flags, refine
from edgexai.train.loop import LoopSettings
from edgexai.train.natural import fit_natural

SETTINGS = RefineSettings(
    rounds=2,
    epochs=1,
    batch_size=8,
    lr=0.02,
    weight_decay=5e-4,
    mask_probability=0.7,
    replace="swap",
    sensitivity_weight=0.1,
    adversarial_weight=1.0,
    eps=8 / 255,
)
DETECTION = DetectSettings(
    grid=GRID,
    n_images=8,
    n_samples=64,
    repeats=2,
    relevance="roi",
    importance_quantile=0.7,
    sensitivity_quantile=0.8,
    instability=0.5,
    max_flagged=0.25,
    class_frequency=0.3,
)


class StopError(Exception):
    """Stands for Ctrl-C or a crash."""


def nothing(_: Mapping[str, Any]) -> None:
    pass


def same(one: Network, other: Network) -> bool:
    return all(torch.equal(v, other.state_dict()[k]) for k, v in one.state_dict().items())


def run(net: Network, work: Path, *, settings: RefineSettings = SETTINGS, **more: Any) -> list[Flags]:
    words: dict[str, Any] = {"detection": DETECTION, "progress": nothing, "seed": 0, **more}
    return refine(net, bars(24, 1), bars(8, 2), settings=settings, work=work, **words)


# The loss of one batch


def batch() -> tuple[Tensor, Tensor, Tensor]:
    draws = torch.Generator().manual_seed(3)
    images = torch.rand(5, 3, 32, 32, generator=draws)
    marked = (torch.rand(5, 1, 32, 32, generator=draws) < 0.2).float()
    marked[2] = 0  # an image with nothing flagged does not dilute the mean
    return images, torch.tensor([0, 1, 2, 3, 1]), marked


def loss_of(net: Network, settings: RefineSettings, notes: dict[str, float]) -> Tensor:
    images, labels, marked = batch()
    mine = marked if settings.sensitivity_weight else None  # as the epoch does on its penalised batches
    return lime_refined._loss(net, images, labels, mine, torch.Generator().manual_seed(4), settings, notes)


def gradients(net: Network, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(net.parameters())))


EVERY = 4  # the penalty is taken on every fourth batch, with four times its weight


def naive_penalty(net: Network, images: Tensor) -> Tensor:
    """One image at a time: mean over its flagged pixels and channels of the squared derivative of its own loss."""
    _, labels, marked = batch()
    parts = []
    for k in range(len(images)):
        count = float(marked[k].sum())
        if not count:
            continue
        image = images[k : k + 1].detach().clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(F.cross_entropy(net(image), labels[k : k + 1]), image, create_graph=True)
        parts.append((gradient[0].square() * marked[k]).sum() / count)
    return torch.stack(parts).mean()


def test_sensitivity_penalty_against_double_backward_image_by_image() -> None:
    net, (images, labels, _) = lisa().train(), batch()
    settings = replace(SETTINGS, adversarial_weight=0.0, sensitivity_weight=0.3)
    loss = loss_of(net, settings, {"lambda": 7.0})
    task, penalty = F.cross_entropy(net(images), labels), naive_penalty(net, images)
    assert float(penalty) > 0
    assert float(loss) == pytest.approx(float(task + EVERY * 7.0 * penalty), rel=1e-5)
    for got, wanted in zip(gradients(net, loss), gradients(net, task + EVERY * 7.0 * penalty), strict=True):
        assert torch.allclose(got, wanted, rtol=1e-3, atol=1e-6)


def test_lambda_is_set_once_from_the_first_batch() -> None:
    net, (images, labels, _) = lisa().train(), batch()
    settings = replace(SETTINGS, adversarial_weight=0.0, sensitivity_weight=0.3)
    notes = {"lambda": -1.0}
    loss = loss_of(net, settings, notes)
    task, penalty = F.cross_entropy(net(images), labels), naive_penalty(net, images)
    assert notes["lambda"] == pytest.approx(float(0.3 * task / penalty), rel=1e-4)
    assert float(loss) == pytest.approx((1 + EVERY * 0.3) * float(task), rel=1e-4)
    kept = notes["lambda"]
    with torch.no_grad():
        net.head.get_parameter("weight").mul_(2)
    loss_of(net, settings, notes)
    assert notes["lambda"] == kept


@pytest.mark.parametrize("alpha", [0.5, 1.0])
@pytest.mark.parametrize("sensitivity", [0.0, 0.2])
def test_whole_loss_against_the_formula(alpha: float, sensitivity: float) -> None:
    net, (images, labels, _) = lisa().train(), batch()
    eps = 8 / 255
    settings = replace(SETTINGS, adversarial_weight=alpha, sensitivity_weight=sensitivity, label_smoothing=0.1)
    seen: list[Tensor] = []
    handle = net.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach().clone()))
    loss = loss_of(net, settings, {"lambda": 5.0})
    handle.remove()
    start, both = seen
    clean, attacked = both.chunk(2)
    assert torch.equal(clean, images)
    for points in (start, attacked):  # in the ball and in [0,1]
        assert (points - images).abs().max() <= eps + 1e-6
        assert float(points.min()) >= 0
        assert float(points.max()) <= 1
    assert not torch.equal(start, images)
    probe = start.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(F.cross_entropy(net(probe), labels, reduction="sum"), probe)
    inside = (start - images + 1.25 * eps * gradient.sign()).clamp(-eps, eps)
    assert torch.allclose(attacked, (images + inside).clamp(0, 1), atol=1e-6)
    task, hard = (F.cross_entropy(net(x), labels, label_smoothing=0.1) for x in (images, attacked))
    assert float(hard) > float(task)
    wanted = (task + alpha * hard) / (1 + alpha)
    if sensitivity:
        wanted = wanted + EVERY * 5.0 * naive_penalty(net, start)
    assert float(loss) == pytest.approx(float(wanted), rel=1e-5)
    for got, expected in zip(gradients(net, loss), gradients(net, wanted), strict=True):
        assert torch.allclose(got, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("sensitivity", [0.0, 1e-12])
def test_smoothing_is_the_same_with_and_without_the_other_terms(sensitivity: float) -> None:
    net, (images, labels, _) = lisa().train(), batch()
    settings = replace(SETTINGS, adversarial_weight=0.0, sensitivity_weight=sensitivity, label_smoothing=0.2)
    wanted = F.cross_entropy(net(images), labels, label_smoothing=0.2)
    assert float(loss_of(net, settings, {"lambda": -1.0})) == pytest.approx(float(wanted), rel=1e-6)


def test_nothing_flagged_costs_nothing() -> None:
    net, (images, labels, marked) = lisa().train(), batch()
    settings = replace(SETTINGS, adversarial_weight=0.0)
    notes = {"lambda": -1.0}
    draws = torch.Generator().manual_seed(4)
    loss = lime_refined._loss(net, images, labels, torch.zeros_like(marked), draws, settings, notes)
    assert float(loss) == pytest.approx(float(F.cross_entropy(net(images), labels)), rel=1e-6)
    assert notes["lambda"] == -1.0  # waits for a batch that has flags


# The whole loop


@pytest.mark.parametrize("make", [lisa, signnet])
def test_all_weights_zero_is_plain_training(tmp_path: Path, make: Any) -> None:
    plain, refined = make(3), make(3)
    off = replace(SETTINGS, mask_probability=0.0, sensitivity_weight=0.0, adversarial_weight=0.0)
    run(refined, tmp_path / "refined", settings=off)
    settings = LoopSettings(epochs=2, batch_size=8, lr=0.02, weight_decay=5e-4)
    fit_natural(plain, bars(24, 1), bars(8, 2), settings=settings, seed=0, work=tmp_path / "plain", progress=nothing)
    for key, value in plain.state_dict().items():
        assert torch.allclose(value.float(), refined.state_dict()[key].float(), atol=1e-6), key


@pytest.mark.parametrize("term", ["mask_probability", "sensitivity_weight", "adversarial_weight"])
def test_every_term_changes_the_result(tmp_path: Path, term: str) -> None:
    off = replace(SETTINGS, mask_probability=0.0, sensitivity_weight=0.0, adversarial_weight=0.0)
    nets = [lisa(3), lisa(3)]
    run(nets[0], tmp_path / "off", settings=off)
    run(nets[1], tmp_path / "on", settings=replace(off, **{term: getattr(SETTINGS, term)}))
    assert not same(*nets)


ARMS = {  # mask_probability, sensitivity_weight, adversarial_weight
    "all": (0.7, 0.1, 1.0),
    "masks only": (0.7, 0.0, 0.0),
    "regulariser only": (0.0, 0.1, 0.0),
    "adversarial only": (0.0, 0.0, 1.0),
    "none": (0.0, 0.0, 0.0),
}


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("detected", [True, False])
def test_a_weight_of_zero_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arm: str, detected: bool
) -> None:
    """Counts the passes: every arm pays for its own terms alone, and LIME is asked only where its cells are read."""
    mask, sensitivity, alpha = ARMS[arm]
    given = run(lisa(3), tmp_path / "flags") if not detected and mask + sensitivity else []
    net, forward, explained, replaced = lisa(3), [], [], []
    backward = {"inner": 0, "double": 0, "outer": 0}
    grad, back, cut = torch.autograd.grad, Tensor.backward, lime_refined.replace_cells

    def counted_grad(*words: Any, create_graph: bool = False) -> Any:
        backward["double" if create_graph else "inner"] += 1
        return grad(*words, create_graph=create_graph)

    def counted_back(loss: Tensor) -> None:
        backward["outer"] += 1
        back(loss)

    def counted_cut(*words: Any, **named: Any) -> Tensor:
        replaced.append(1)
        return cut(*words, **named)

    net.register_forward_hook(lambda module, given, _: forward.append(len(given[0])) if module.training else None)
    monkeypatch.setattr(lime_refined.torch.autograd, "grad", counted_grad)
    monkeypatch.setattr(Tensor, "backward", counted_back)
    monkeypatch.setattr(lime_refined, "replace_cells", counted_cut)
    monkeypatch.setattr(lime_refined, "twin_accuracy", lambda *_: 0.5)
    monkeypatch.setattr(watch, "robust_accuracy", lambda *_, **__: explained.append("pgd") or 0.5)
    if detected:
        whole = lime_refined.detect
        monkeypatch.setattr(
            lime_refined,
            "detect",
            lambda *a, **b: explained.append("lime") or _uncounted(monkeypatch, grad, whole, a, b),
        )
    arms = replace(SETTINGS, mask_probability=mask, sensitivity_weight=sensitivity, adversarial_weight=alpha, rounds=1)
    flags = run(net, tmp_path / "run", settings=arms, detection=DETECTION if detected else None, given=given)
    steps, penalised = 3, 1  # the first of every four batches
    uses_cells = bool(mask or sensitivity)
    first, doubled = (steps if alpha else 0), (penalised if sensitivity else 0)
    assert forward == ([8, 16] * steps if alpha else [8] * steps)
    assert backward == {"inner": first - doubled if alpha else 0, "double": doubled, "outer": steps}
    assert len(replaced) == (steps if mask else 0)
    assert explained == ["lime"] * (detected and uses_cells) + ["pgd"] * bool(alpha)
    assert len(flags) == (1 if uses_cells else 0)


def _uncounted(monkeypatch: pytest.MonkeyPatch, grad: Any, whole: Any, words: Any, named: Any) -> Flags:
    """Detection with its own gradients left out of the count."""
    with monkeypatch.context() as patched:
        patched.setattr(torch.autograd, "grad", grad)
        found: Flags = whole(*words, **named)
    return found


@pytest.mark.parametrize(
    ("make", "stop"),
    [
        (lisa, ("explain", 0)),
        (lisa, ("epoch", 1)),
        (lisa, ("explain", 1)),
        (lisa, ("epoch", 2)),
        (lisa, ("flags", 1)),
        (signnet, ("epoch", 1)),
        (signnet, ("flags", 1)),
        (vgg, ("epoch", 1)),
    ],
)
def test_stopped_and_started_again_ends_in_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Any, stop: tuple[str, int]
) -> None:
    torch.manual_seed(1)
    calm = make(5)
    expected = run(calm, tmp_path / "calm")
    torch.manual_seed(2)
    what, when = stop
    explained = 0

    def progress(event: Mapping[str, Any]) -> None:
        nonlocal explained
        if event["what"] == "epoch" and what == "epoch" and event["done"] == when:
            raise StopError
        if event["what"] == "explain":
            if what == "explain" and explained == when:
                raise StopError
            explained += 1

    broken = make(5)
    with monkeypatch.context() as patched:
        if what == "flags":  # between detection and the first step of the second round
            whole, calls = lime_refined._epoch, []

            def interrupted(*given: Any) -> float:
                calls.append(1)
                if len(calls) == 2:
                    raise StopError
                return whole(*given)

            patched.setattr(lime_refined, "_epoch", interrupted)
        with pytest.raises(StopError):
            run(broken, tmp_path / "broken", progress=progress)
    again, events = make(6) if what == "epoch" else make(5), []
    found = run(again, tmp_path / "broken", progress=events.append)
    assert same(calm, again)
    assert not again.training
    for one, other in zip(expected, found, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(vars(one).values(), vars(other).values(), strict=True))
    if what == "flags":
        assert [e["what"] for e in events] == ["epoch"]  # what was detected is not detected again


def test_train_mode_in_every_epoch_and_eval_in_detection(tmp_path: Path) -> None:
    net = signnet()
    modes: list[tuple[bool, int]] = []

    class Recorder(torch.nn.Module):
        """A module inside the network that writes down the mode it runs in."""

        def forward(self, features: Tensor) -> Tensor:
            modes.append((self.training, len(features)))
            return features

    net.body.add_module("recorder", Recorder())
    run(net, tmp_path, settings=replace(SETTINGS, rounds=2, epochs=2))
    training = [size for is_training, size in modes if is_training]
    # 4 epochs x 3 batches x (one pass at the start, one over clean and attacked together)
    assert training == [8, 16] * 12


def test_collapse_is_found_and_the_weights_before_it_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.8, 0.9, 0.44, 0.9])
    monkeypatch.setattr(watch, "robust_accuracy", lambda *_, **__: next(scores))
    saved: list[dict[str, Tensor]] = []
    net, events = lisa(3), []

    def progress(event: Mapping[str, Any]) -> None:
        if event["what"] == "epoch":
            events.append(event)
            saved.append({k: v.clone() for k, v in net.state_dict().items()})

    flags = run(net, tmp_path, settings=replace(SETTINGS, rounds=4), progress=progress)
    assert len(events) == 3
    assert [bool(e.get("collapsed")) for e in events] == [False, False, True]
    assert all(torch.equal(v, saved[1][k]) for k, v in net.state_dict().items())
    assert len(flags) == 3
    # the control of a collapsed run has fewer given rounds than it runs
    monkeypatch.setattr(watch, "robust_accuracy", lambda *_, **__: 0.9)
    control = run(lisa(3), tmp_path / "control", settings=replace(SETTINGS, rounds=4), detection=None, given=flags)
    assert len(control) == 4


def test_control_runs_on_given_cells_of_equal_number(tmp_path: Path) -> None:
    flags = run(lisa(3), tmp_path / "refined")
    given = control_flags(flags, seed=0)
    events: list[Mapping[str, Any]] = []
    used = run(lisa(3), tmp_path / "control", detection=None, given=given, progress=events.append)
    assert {e["what"] for e in events} == {"epoch"}  # nothing is explained for the control
    for one, other, random in zip(used, given, flags, strict=True):
        assert one is other
        assert np.array_equal(one.cells.sum(1), random.cells.sum(1))
    assert not np.array_equal(given[0].cells, given[1].cells) or not flags[0].cells.any()


def test_the_explained_class_is_the_true_one_and_rounds_differ(tmp_path: Path) -> None:
    flags = run(lisa(3), tmp_path, settings=replace(SETTINGS, lr=0.1))
    assert [f.class_frequency.shape for f in flags] == [(CLASSES, GRID**2)] * 2
    assert not np.array_equal(flags[0].importance, flags[1].importance)


def test_divergence_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="diverged") as caught:
        run(lisa(3), tmp_path, settings=replace(SETTINGS, lr=1e30))
    assert "refine.lr" in str(caught.value)
