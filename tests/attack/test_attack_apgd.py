"""APGD and its losses: closed forms, a naive second implementation of the step rule, the ball, batches, counting."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from small_network import falls, linear, quadrants, radius_for
from torch import Tensor

from edgexai.attack.apgd import apgd, checkpoints
from edgexai.attack.fgsm import fgsm
from edgexai.attack.loss import image_losses
from edgexai.attack.pgd import pgd
from edgexai.attack.start import sphere_start
from edgexai.errors import ShapeError, UserError

RADII = {"linf": (0.004, 0.01, 0.02), "l2": (0.05, 0.12, 0.25)}


def distance(points: Tensor, x: Tensor, norm: str) -> Tensor:
    shift = (points - x).flatten(1)
    return shift.abs().amax(1) if norm == "linf" else shift.norm(dim=1)


def fooled_by(net: torch.nn.Module, points: Tensor, y: Tensor) -> Tensor:
    return net(points).argmax(1) != y


# The step rule


def naive_apgd(model, x: Tensor, y: int, target: int | None, start: Tensor, *, eps: float, norm: str, steps: int):
    """Algorithm 1 of the paper, one image, plain numbers. Returns every point at which the model was evaluated."""

    def loss(point: Tensor) -> tuple[float, Tensor]:
        pixels = point.clone().requires_grad_(True)
        logits = model(pixels[None])[0]
        if target is None:
            value = -torch.log_softmax(logits, 0)[y]
        else:
            top = sorted(logits, key=float, reverse=True)
            value = (logits[target] - logits[y]) / (top[0] - (top[2] + top[3]) / 2)
        (gradient,) = torch.autograd.grad(value, pixels)
        return float(value), gradient

    def inside(point: Tensor) -> Tensor:
        shift = point - x
        if norm == "linf":
            shift = shift.clamp(-eps, eps)
        elif shift.norm() > eps:
            shift = shift * eps / shift.norm()
        return (x + shift).clamp(0, 1)

    shares = [0, 22, 41, 57, 70, 80, 87, 93, 99]
    checks = [math.ceil(share * steps / 100) for share in shares]
    values, points = [], [start]
    value, gradient = loss(start)
    values.append(value)
    best, best_point, best_gradient = value, start, gradient
    eta, best_then, eta_then, point, before = 2 * eps, value, 2 * eps, start, start
    seen = [start]
    for k in range(steps):
        direction = gradient.sign() if norm == "linf" else gradient / gradient.norm()
        z = inside(point + eta * direction)
        alpha = 0.75 if k else 1.0
        new = inside(point + alpha * (z - point) + (1 - alpha) * (point - before))
        before, point = point, new
        value, gradient = loss(point)
        values.append(value)
        points.append(point)
        seen.append(point)
        if value > best:
            best, best_point, best_gradient = value, point, gradient
        if k + 1 in checks:
            last = checks[checks.index(k + 1) - 1]
            rises = sum(values[i + 1] > values[i] for i in range(last, k + 1))
            first = rises < 0.75 * (k + 1 - last)
            second = eta == eta_then and best == best_then
            eta_then, best_then = eta, best
            if first or second:
                eta, point, gradient = eta / 2, best_point, best_gradient
    return seen, best_point


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("loss", ["ce", "dlr"])
def test_equals_a_naive_implementation_of_the_paper(norm: str, loss: str) -> None:
    """In double precision, where a sign of a gradient is no matter of rounding, every evaluated point agrees."""
    net, x, y = quadrants()
    double = torch.nn.Sequential(*net).double()
    try:
        x = x[:3].double()
        eps, steps = RADII[norm][2], 30
        batches: list[Tensor] = []

        def recorded(batch: Tensor) -> Tensor:
            batches.append(batch.detach().clone())
            return double(batch)

        result = apgd(recorded, x, y[:3], eps=eps, norm=norm, loss=loss, steps=steps, seed=3, n_targets=1)
        start = sphere_start(x, eps=eps, norm=norm, seed=3, purpose=f"apgd-{loss}-0-0")
        clean = double(x)
        for k in range(3):
            others = [(float(clean[k, c]), c) for c in range(4) if c != y[k]]
            target = None if loss == "ce" else max(others)[1]
            seen, best = naive_apgd(double, x[k], int(y[k]), target, start[k], eps=eps, norm=norm, steps=steps)
            ours = torch.stack([batch[k] for batch in batches[1:]])
            assert len(ours) == steps + 1
            torch.testing.assert_close(ours, torch.stack(seen), rtol=0, atol=1e-7)
            wrong = double(torch.stack(seen)).argmax(1) != y[k]
            assert bool(result.fooled[k]) == bool(wrong.any())
            if not wrong.any():
                torch.testing.assert_close(result.images[k], best, rtol=0, atol=1e-7)
        assert len({round(float((ours[i + 1] - ours[i]).abs().max()), 9) for i in range(steps)}) > 3  # steps did halve
    finally:
        net.float()


def test_checkpoints_are_the_papers() -> None:
    assert checkpoints(100) == (22, 41, 57, 70, 80, 87, 93, 99)
    assert checkpoints(1000) == (220, 410, 570, 700, 800, 870, 930, 990)
    assert checkpoints(10) == (3, 5, 6, 7, 8, 9, 10)
    assert checkpoints(1) == (1,)
    assert all(max(checkpoints(n)) <= n for n in range(1, 60))


# What is known in closed form


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(("classes", "loss"), [(2, "ce"), (3, "dlr"), (5, "dlr"), (5, "margin")])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_verdicts_on_a_linear_model_are_the_closed_form(norm: str, classes: int, loss: str, share: float) -> None:
    """With one run per other class APGD must find a wrong point exactly where there is one."""
    model, weight = linear(classes)
    x = torch.rand((40, 3, 8, 8), generator=torch.Generator().manual_seed(4)) * 0.4 + 0.3
    y = model(x).argmax(1)
    eps = radius_for(weight, x, y, norm=norm, share=share)
    expected, clear = falls(weight, x, y, eps=eps, norm=norm)
    assert clear.min() > 1e-4
    assert abs(expected.mean() - share) < 0.1
    result = apgd(model, x, y, eps=eps, norm=norm, loss=loss, seed=0, n_targets=classes - 1, stop_when_fooled=True)
    assert np.array_equal(result.fooled.numpy(), expected)
    assert np.array_equal((model(result.images).argmax(1) != y).numpy(), expected)


def test_the_pixel_range_cuts_the_cube_in_closed_form() -> None:
    model, weight = linear(2)
    x = torch.rand((80, 3, 8, 8), generator=torch.Generator().manual_seed(5)).round() * 0.94 + 0.03
    y = model(x).argmax(1)
    eps = radius_for(weight, x, y, norm="linf", share=0.5)
    assert eps > 0.03  # so that every pixel is cut
    free, _ = falls(weight, x / 4 + 0.4, y, eps=eps, norm="linf")
    expected, clear = falls(weight, x, y, eps=eps, norm="linf")
    assert clear.min() > 1e-4
    assert free.mean() > expected.mean() + 0.2
    for loss in ("ce", "dlr"):
        result = apgd(model, x, y, eps=eps, loss=loss, seed=0)
        assert np.array_equal(result.fooled.numpy(), expected)


# On a trained network


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("loss", ["ce", "dlr", "margin"])
def test_stays_in_the_ball_and_in_the_range_and_touches_nothing(norm: str, loss: str) -> None:
    net, x, y = quadrants()
    x = x[:24].clone().contiguous(memory_format=torch.channels_last)
    x[0], x[1], x[2, :, ::2] = 0.0, 1.0, 1.0
    before, state = x.clone(), torch.random.get_rng_state()
    eps = RADII[norm][2] * 4
    result = apgd(net, x, y[:24], eps=eps, norm=norm, loss=loss, steps=20, restarts=2, seed=0)
    assert torch.equal(x, before)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in net.parameters())
    assert distance(result.images, x, norm).max() <= eps * (1 + 1e-5)
    assert result.images.min() >= 0
    assert result.images.max() <= 1
    assert not result.images.requires_grad
    assert result.images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(fooled_by(net, result.images, y[:24]), result.fooled)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_stronger_than_fgsm_and_pgd_and_monotone_in_eps(norm: str) -> None:
    net, x, y = quadrants()
    before = fooled_by(net, x, y)
    for eps in RADII[norm]:
        result = apgd(net, x, y, eps=eps, norm=norm, loss="dlr", steps=20, seed=0)
        one = fooled_by(net, fgsm(net, x, y, eps=eps, seed=0, norm=norm), y)
        many = fooled_by(net, pgd(net, x, y, eps=eps, steps=20, seed=0, norm=norm), y)
        # one image may tip by the random start; beyond that APGD-T is never the weaker
        assert result.fooled.sum() >= max(one.sum(), many.sum()) - 1
        assert result.fooled.sum() >= before.sum()
        before = result.fooled
    assert float(before.float().mean()) > 0.1


def test_finds_a_higher_loss_than_pgd_with_as_many_steps() -> None:
    net, x, y = quadrants()

    def loss(points: Tensor) -> Tensor:
        return image_losses(net(points), y, loss="ce")

    eps = RADII["linf"][1]
    ours = apgd(net, x, y, eps=eps, steps=30, seed=0)
    other = pgd(net, x, y, eps=eps, steps=30, seed=0)
    assert loss(ours.images).mean() >= loss(other).mean() - 1e-4
    assert (loss(ours.images) >= loss(other) - 1e-3).float().mean() > 0.9


def test_batch_equals_singles() -> None:
    model, _ = linear(5, one_by_one=True)
    x = torch.rand((7, 3, 8, 8), generator=torch.Generator().manual_seed(8))
    y = model(x).argmax(1)
    for loss in ("ce", "dlr"):
        whole = apgd(model, x, y, eps=0.01, loss=loss, steps=15, restarts=2, seed=2)
        for k in range(7):
            one = apgd(model, x[k : k + 1], y[k : k + 1], eps=0.01, loss=loss, steps=15, restarts=2, seed=2)
            assert torch.equal(one.images[0], whole.images[k])
            assert one.fooled[0] == whole.fooled[k]
            assert one.passes[0] == whole.passes[k]
    other = apgd(model, x, y, eps=0.01, steps=15, seed=3)
    assert not torch.equal(other.images, apgd(model, x, y, eps=0.01, steps=15, seed=2).images)


@pytest.mark.parametrize("stop", [False, True])
@pytest.mark.parametrize("loss", ["ce", "dlr"])
def test_counts_every_pass(loss: str, stop: bool) -> None:
    net, x, y = quadrants()
    seen = 0

    def counting(batch: Tensor) -> Tensor:
        nonlocal seen
        seen += len(batch)
        return net(batch)

    result = apgd(counting, x, y, eps=0.01, loss=loss, steps=12, restarts=2, seed=0, stop_when_fooled=stop)
    assert seen == len(x) + int(result.passes.sum())
    runs = 2 * (1 if loss == "ce" else 3)
    assert (result.passes[~result.fooled] == 13 * runs).all()
    assert int(result.passes.max()) <= 13 * runs


def test_stopping_early_changes_cost_and_not_verdicts() -> None:
    net, x, y = quadrants()
    for loss in ("ce", "dlr"):
        full = apgd(net, x, y, eps=0.02, loss=loss, steps=20, seed=0)
        early = apgd(net, x, y, eps=0.02, loss=loss, steps=20, seed=0, stop_when_fooled=True)
        assert torch.equal(full.fooled, early.fooled)
        assert 0 < full.fooled.sum() < len(x)
        assert early.passes.sum() < 0.9 * full.passes.sum()
        # what another network is to see should be clearly wrong, not just wrong
        margin = [image_losses(net(r.images[r.fooled]), y[r.fooled], loss="margin").mean() for r in (full, early)]
        assert margin[0] > margin[1] > 0


def test_images_wrong_from_the_start() -> None:
    net, x, _ = quadrants()
    x = x[:6]
    wrong = (net(x).argmax(1) + 1) % 4
    early = apgd(net, x, wrong, eps=0.01, steps=5, seed=0, stop_when_fooled=True)
    assert early.fooled.all()
    assert torch.equal(early.images, x)
    assert int(early.passes.sum()) == 0
    full = apgd(net, x, wrong, eps=0.01, steps=5, seed=0)
    assert full.fooled.all()
    assert fooled_by(net, full.images, wrong).all()
    assert image_losses(net(full.images), wrong, loss="ce").mean() > image_losses(net(x), wrong, loss="ce").mean()


def test_more_targets_and_restarts_only_add() -> None:
    net, x, y = quadrants()
    few = apgd(net, x, y, eps=0.008, loss="dlr", steps=10, seed=0, n_targets=1)
    more = apgd(net, x, y, eps=0.008, loss="dlr", steps=10, seed=0, n_targets=3)
    again = apgd(net, x, y, eps=0.008, loss="dlr", steps=10, seed=0, n_targets=3, restarts=3)
    assert (few.fooled <= more.fooled).all()
    assert (more.fooled <= again.fooled).all()
    assert torch.equal(
        more.images, apgd(net, x, y, eps=0.008, loss="dlr", steps=10, seed=0, n_targets=9).images
    )  # there are only three others


def test_no_images_and_bad_input() -> None:
    net, x, y = quadrants()
    none = apgd(net, x[:0], y[:0], eps=0.01, seed=0)
    assert none.images.shape == (0, 3, 8, 8)
    assert len(none.fooled) == len(none.passes) == 0
    for words in ({"steps": 0}, {"restarts": 0}, {"n_targets": 0}):
        with pytest.raises(UserError, match="at least 1"):
            apgd(net, x, y, eps=0.01, seed=0, **words)
    with pytest.raises(UserError, match="norm"):
        apgd(net, x, y, eps=0.01, seed=0, norm="l1")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="loss"):
        apgd(net, x, y, eps=0.01, seed=0, loss="hinge")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="positive"):
        apgd(net, x, y, eps=-1.0, seed=0, norm="l2")
    with pytest.raises(UserError, match="single class"):
        apgd(lambda batch: batch.flatten(1)[:, :1], x, y * 0, eps=0.01, seed=0)
    with pytest.raises(UserError, match="finite"):
        apgd(lambda batch: net(batch) * float("nan"), x, y, eps=0.01, seed=0)
    for labels in (y[:3], y + 1, y - 1):
        with pytest.raises(ShapeError, match="labels"):
            apgd(net, x, labels, eps=0.01, seed=0)


# The losses


def test_losses_against_plain_python() -> None:
    logits = torch.randn((50, 6), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.arange(50) % 6
    targets = (labels + 1 + torch.arange(50) % 5) % 6
    assert (targets != labels).all()
    found = {name: image_losses(logits, labels, loss=name) for name in ("ce", "margin", "dlr")}
    aimed = {name: image_losses(logits, labels, loss=name, targets=targets) for name in ("margin", "dlr")}
    for k, row in enumerate(logits.tolist()):
        own, ordered = row[labels[k]], sorted(row, reverse=True)
        best = max(v for c, v in enumerate(row) if c != labels[k])
        assert float(found["ce"][k]) == pytest.approx(math.log(sum(map(math.exp, row))) - own)
        assert float(found["margin"][k]) == pytest.approx(best - own)
        assert float(found["dlr"][k]) == pytest.approx((best - own) / (ordered[0] - ordered[2]))
        towards = row[targets[k]] - own
        assert float(aimed["margin"][k]) == pytest.approx(towards)
        assert float(aimed["dlr"][k]) == pytest.approx(towards / (ordered[0] - (ordered[2] + ordered[3]) / 2))
    wrong = logits.argmax(1) != labels
    assert torch.equal(found["margin"] > 0, wrong)
    assert torch.equal(found["dlr"] > 0, wrong)
    for t in (None, targets):
        torch.testing.assert_close(
            image_losses(100 * logits - 7, labels, loss="dlr", targets=t),
            image_losses(logits, labels, loss="dlr", targets=t),
        )


def test_losses_refuse_what_they_cannot_say() -> None:
    logits, labels = torch.zeros((2, 3)), torch.zeros(2, dtype=torch.long)
    with pytest.raises(UserError, match="targeted"):
        image_losses(logits, labels, loss="ce", targets=labels + 1)
    with pytest.raises(UserError, match="4 classes"):
        image_losses(logits, labels, loss="dlr", targets=labels + 1)
    with pytest.raises(UserError, match="3 classes"):
        image_losses(logits[:, :2], labels, loss="dlr")
    with pytest.raises(UserError, match="there are"):
        image_losses(logits, labels, loss="cw")  # type: ignore[arg-type]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_starts_lie_on_the_sphere_and_belong_to_the_image(norm: str) -> None:
    x = torch.rand((20, 3, 8, 8), generator=torch.Generator().manual_seed(0)) * 0.2 + 0.4
    eps = RADII[norm][1]
    start = sphere_start(x, eps=eps, norm=norm, seed=0, purpose="a")
    torch.testing.assert_close(distance(start, x, norm), torch.full((20,), eps), rtol=1e-4, atol=0)
    assert torch.equal(start[4:6], sphere_start(x[4:6], eps=eps, norm=norm, seed=0, purpose="a"))
    channels_last = x.contiguous(memory_format=torch.channels_last)
    assert torch.equal(start, sphere_start(channels_last, eps=eps, norm=norm, seed=0, purpose="a"))
    for words in ({"seed": 1, "purpose": "a"}, {"seed": 0, "purpose": "b"}):
        assert not torch.equal(start, sphere_start(x, eps=eps, norm=norm, **words))
    assert abs(float((start - x).mean())) < 0.05 * eps
