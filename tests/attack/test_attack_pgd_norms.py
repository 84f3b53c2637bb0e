"""PGD and FGSM beyond the default: l2, other losses, restarts; and that the default is what it was."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from small_network import falls, linear, quadrants, radius_for
from torch import Tensor

from edgexai.attack.ball import ascent, length, project
from edgexai.attack.fgsm import fgsm, uniform_start
from edgexai.attack.loss import image_losses
from edgexai.attack.pgd import pgd
from edgexai.errors import UserError

EPS = 8 / 255


def plain_pgd(net: torch.nn.Module, x: Tensor, y: Tensor, *, eps: float, steps: int, seed: int) -> Tensor:
    """PGD-n as it is written in the books, l-infinity and cross-entropy only."""
    draw = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed))
    points = (x + (2 * draw - 1) * eps).clip(x - eps, x + eps).clip(0, 1)
    for _ in range(steps):
        pixels = points.clone().requires_grad_(True)
        loss = torch.nn.functional.cross_entropy(net(pixels), y, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, pixels)
        points = (points + 2.5 * eps / steps * gradient.sign()).clip(x - eps, x + eps).clip(0, 1)
    return points


def test_the_default_is_pgd_as_it_was_to_the_bit() -> None:
    net, x, y = quadrants()
    for eps, steps, seed in ((EPS, 10, 0), (0.1, 7, 3)):
        expected = plain_pgd(net, x, y, eps=eps, steps=steps, seed=seed)
        assert torch.equal(pgd(net, x, y, eps=eps, steps=steps, seed=seed), expected)
        words = {"norm": "linf", "loss": "ce", "restarts": 1}
        assert torch.equal(pgd(net, x, y, eps=eps, steps=steps, seed=seed, **words), expected)


@pytest.mark.parametrize("loss", ["ce", "margin"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_verdicts_on_a_linear_model_are_the_closed_form(norm: str, loss: str) -> None:
    model, weight = linear(2)
    x = torch.rand((60, 3, 8, 8), generator=torch.Generator().manual_seed(4)) * 0.4 + 0.3
    y = model(x).argmax(1)
    eps = radius_for(weight, x, y, norm=norm, share=0.5)
    expected, _ = falls(weight, x, y, eps=eps, norm=norm)
    assert 0.4 < expected.mean() < 0.6
    points = pgd(model, x, y, eps=eps, steps=60, seed=0, norm=norm, loss=loss)
    assert np.array_equal((model(points).argmax(1) != y).numpy(), expected)
    # One step from the image itself is the optimum of a linear model in either norm.
    one = fgsm(model, x, y, eps=eps, seed=0, norm=norm)
    assert np.array_equal((model(one).argmax(1) != y).numpy(), expected)
    direction = weight[1 - y] - weight[y]
    unit = direction.sign() if norm == "linf" else direction / direction.norm(dim=1, keepdim=True)
    torch.testing.assert_close(one, x + eps * unit.reshape(x.shape), rtol=0, atol=1e-4)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("loss", ["ce", "margin", "dlr"])
@pytest.mark.parametrize("restarts", [1, 3])
def test_stays_in_the_ball_and_in_the_range(norm: str, loss: str, restarts: int) -> None:
    net, x, y = quadrants()
    x = x[:20].clone()
    x[0], x[1], x[2, :, ::2] = 0.0, 1.0, 1.0
    before, eps = x.clone(), EPS if norm == "linf" else 1.5
    out = pgd(net, x, y[:20], eps=eps, steps=6, seed=0, norm=norm, loss=loss, restarts=restarts)
    shift = (out - x).flatten(1)
    assert (shift.abs().amax(1) if norm == "linf" else shift.norm(dim=1)).max() <= eps * (1 + 1e-5)
    assert out.min() >= 0
    assert out.max() <= 1
    assert torch.equal(x, before)
    assert not out.requires_grad
    if norm == "l2":  # an l2 radius may exceed what one pixel may move
        assert shift.abs().max() > EPS


@pytest.mark.parametrize("loss", ["ce", "margin", "dlr"])
def test_climbs_the_loss_it_was_given(loss: str) -> None:
    net, x, y = quadrants()

    def height(points: Tensor) -> float:
        return float(image_losses(net(points), y, loss=loss).mean())

    found = {name: pgd(net, x, y, eps=EPS / 2, steps=15, seed=0, loss=name) for name in ("ce", "margin", "dlr")}
    assert height(found[loss]) > height(x) + 0.05
    assert height(found[loss]) >= max(map(height, found.values())) - 0.01


def test_restarts_take_the_worst_case_per_image() -> None:
    net, x, y = quadrants()
    eps = 0.02

    def fell(points: Tensor) -> Tensor:
        return net(points).argmax(1) != y

    first = pgd(net, x, y, eps=eps, steps=3, step_size=eps / 2, seed=0)
    several = [pgd(net, x, y, eps=eps, steps=3, step_size=eps / 2, seed=0, restarts=n) for n in (1, 2, 8)]
    assert torch.equal(several[0], first)
    assert (fell(first) <= fell(several[1])).all()
    assert (fell(several[1]) <= fell(several[2])).all()
    assert fell(several[2]).sum() > fell(first).sum()
    assert torch.equal(several[2][fell(first)], first[fell(first)])  # what fell is not run again
    standing = ~fell(several[2])
    before, after = (image_losses(net(p), y, loss="ce")[standing] for p in (first, several[2]))
    assert (after >= before).all()
    assert (after > before).any()


def test_projection_and_lengths() -> None:
    x = torch.rand((6, 3, 4, 4), generator=torch.Generator().manual_seed(0)) * 0.2 + 0.4
    far = x + torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    near = project(far, x, eps=0.3, norm="l2")
    torch.testing.assert_close((near - x).flatten(1).norm(dim=1), torch.full((6,), 0.3))
    torch.testing.assert_close(near - x, 0.3 * (far - x) / (far - x).flatten(1).norm(dim=1)[:, None, None, None])
    inside = x + 0.001
    torch.testing.assert_close(project(inside, x, eps=0.3, norm="l2"), inside)
    assert torch.equal(project(x, x, eps=0.3, norm="l2"), x)
    # A gradient too small to be squared in float32 still has a direction; none has none.
    tiny = torch.full((2, 3, 4, 4), 1e-25)
    tiny[1] = 0
    torch.testing.assert_close(
        length(tiny)[:, 0, 0, 0], torch.tensor([1e-25 * math.sqrt(48), 0.0]), atol=1e-30, rtol=1e-4
    )
    unit = ascent(tiny / 1e-15, norm="l2")
    torch.testing.assert_close(unit.flatten(1).norm(dim=1), torch.tensor([1.0, 0.0]), atol=1e-2, rtol=0)


def test_the_l2_start_is_uniform_in_the_ball() -> None:
    x = torch.full((3000, 3, 1, 1), 0.5)
    start = uniform_start(x, eps=0.4, seed=0, norm="l2")
    radius = (start - x).flatten(1).norm(dim=1) / 0.4
    assert float(radius.max()) <= 1 + 1e-5
    for share in (0.25, 0.5, 0.75):  # in three dimensions a share r of the radius holds r cubed of the volume
        assert abs(float((radius < share).float().mean()) - share**3) < 0.03
    assert float((start - x).mean(0).abs().max()) < 0.02
    assert torch.equal(start, uniform_start(x, eps=0.4, seed=0, norm="l2"))
    assert len(uniform_start(x[:0], eps=0.4, seed=0, norm="l2")) == 0


def test_refuses_bad_input() -> None:
    net, x, y = quadrants()
    for words, said in (
        ({"restarts": 0}, "restarts"),
        ({"loss": "hinge"}, "loss"),
        ({"norm": "l1"}, "norm"),
        ({"eps": 3.0}, "eps"),
        ({"eps": 0.0, "norm": "l2"}, "eps"),
    ):
        with pytest.raises(UserError, match=said):
            pgd(net, x, y, **{"eps": EPS, "steps": 2, "seed": 0, **words})
    with pytest.raises(UserError, match="classes"):
        pgd(linear(2)[0], x, y % 2, eps=EPS, steps=2, seed=0, loss="dlr")
