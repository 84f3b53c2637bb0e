"""The attack inside a training step: it stays in its ball, in pixels, and climbs; against closed forms and by hand."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from planted import lisa, signnet
from torch import Tensor

from edgexai.train.frozen_statistics import frozen_statistics
from edgexai.train.perturb import Adversary, perturb

EPS = 8 / 255
ADVERSARIES = [
    Adversary(EPS),
    Adversary(EPS, steps=4),
    Adversary(0.6, steps=7, step=0.6),
    Adversary(0.5, norm="l2"),
    Adversary(0.5, norm="l2", steps=5),
    Adversary(40.0, norm="l2", steps=3),
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int = 6) -> tuple[Tensor, Tensor]:
    images = torch.rand(n, 3, 32, 32, generator=generator(3))
    images[0], images[1] = 0.0, 1.0  # at the edge of the range
    return images, torch.arange(n) % 4


def size(change: Tensor, norm: str) -> Tensor:
    flat = change.flatten(1).double()
    return flat.abs().amax(1) if norm == "linf" else flat.square().sum(1).sqrt()


@pytest.mark.parametrize("adversary", ADVERSARIES)
def test_in_the_ball_in_the_range_and_nothing_touched(adversary: Adversary) -> None:
    net, (images, labels) = lisa().eval(), pictures()
    before, weights = images.clone(), copy.deepcopy(net.state_dict())
    seen: list[Tensor] = []

    def objective(points: Tensor) -> Tensor:
        seen.append(points.detach().clone())
        return F.cross_entropy(net(points), labels, reduction="sum")

    attacked = perturb(objective, images, adversary=adversary, generator=generator())
    assert len(seen) == adversary.steps
    for points in (*seen, attacked):
        assert float(points.min()) >= 0
        assert float(points.max()) <= 1
        assert size(points - images, adversary.norm).max() <= adversary.eps * (1 + 1e-5)
    assert torch.equal(images, before)
    assert not attacked.requires_grad
    assert all(p.grad is None for p in net.parameters())
    assert all(torch.equal(v, weights[k]) for k, v in net.state_dict().items())
    again = perturb(objective, images, adversary=adversary, generator=generator())
    assert torch.equal(attacked, again)
    assert not torch.equal(attacked, perturb(objective, images, adversary=adversary, generator=generator(1)))


@pytest.mark.parametrize("adversary", [a for a in ADVERSARIES if a.eps < 1])
def test_a_linear_objective_is_climbed_to_the_end(adversary: Adversary) -> None:
    """Grey images far from 0 and 1: linf ends in the corner sign(w) eps, l2 at eps w / |w|."""
    weights = torch.randn(1, 3, 32, 32, generator=generator(5))
    images = torch.full((3, 3, 32, 32), 0.5)
    many = replace(adversary, steps=60, step=adversary.eps / 4)
    change = perturb(lambda x: (x * weights).sum(), images, adversary=many, generator=generator()) - images
    if adversary.norm == "linf":
        wanted = weights.sign() * min(adversary.eps, 0.5)
    else:
        wanted = weights * adversary.eps / weights.norm()
    torch.testing.assert_close(change, wanted.expand_as(change), atol=2e-4, rtol=0)


def test_step_lengths() -> None:
    assert Adversary(EPS).step_length == pytest.approx(1.25 * EPS)  # FGSM with a random start
    assert [Adversary(1.0, steps=k).step_length for k in (2, 5, 10)] == pytest.approx([1.25, 0.5, 0.25])
    assert Adversary(EPS, steps=10, step=0.01).step_length == 0.01
    assert Adversary(3.0, norm="l2", steps=7, step=0.5).step_length == 0.5


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_start_fills_the_ball(norm: str) -> None:
    adversary = Adversary(0.25, norm=norm)  # type: ignore[arg-type]
    images = torch.zeros(400, 3, 2, 2)
    start = adversary.start(images, generator())
    lengths = size(start, norm) / 0.25
    assert lengths.max() <= 1 + 1e-6
    # a share r of the radius holds r ** 12 of the ball of 12 values, in either norm
    for radius in (0.85, 0.9, 0.95):
        assert float((lengths <= radius).double().mean()) == pytest.approx(radius**12, abs=0.07)
    assert abs(float(start.mean())) < 0.01


def test_one_step_by_hand() -> None:
    """FGSM from a random start, image by image, in the words of its paper."""
    net, (images, labels) = lisa().eval(), pictures()
    attacked = perturb(
        lambda x: F.cross_entropy(net(x), labels, reduction="sum"),
        images,
        adversary=Adversary(EPS),
        generator=generator(),
    )
    delta = Adversary(EPS).start(images, generator())
    for k, image in enumerate(images):
        point = (image + delta[k]).clamp(0, 1)[None].requires_grad_(True)
        F.cross_entropy(net(point), labels[k : k + 1]).backward()  # type: ignore[no-untyped-call]
        moved = point.detach()[0] + 1.25 * EPS * point.grad[0].sign()  # type: ignore[index]
        wanted = torch.maximum(torch.minimum(moved, image + EPS), image - EPS).clamp(0, 1)
        torch.testing.assert_close(attacked[k], wanted, atol=1e-6, rtol=0)


def test_eps_is_in_pixels_whatever_the_normalisation() -> None:
    """Attacking normalised tensors, as the source study does, moves pixels by eps * std: here a fifth of eps."""
    net, (images, labels) = lisa().eval(), pictures()
    grey = images * 0.5 + 0.25
    attacked = perturb(
        lambda x: F.cross_entropy(net(x), labels, reduction="sum"),
        grey,
        adversary=Adversary(EPS),
        generator=generator(),
    )
    moved = (attacked - grey).abs()
    assert float(net.std.max()) < 0.25
    assert float(moved.max()) == pytest.approx(EPS, rel=1e-4)
    assert float((moved > 0.99 * EPS).float().mean()) > 0.5  # 1.25 eps from anywhere in the ball: 5 of 8 reach its edge


def test_a_flat_objective_leaves_the_start() -> None:
    images, _ = pictures()
    for norm in ("linf", "l2"):
        adversary = Adversary(0.3, norm=norm, steps=3)  # type: ignore[arg-type]
        attacked = perturb(lambda x: (0 * x).sum(), images, adversary=adversary, generator=generator())
        wanted = (images + adversary.start(images, generator())).clamp(0, 1)
        torch.testing.assert_close(attacked, wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize("fails", [False, True])
def test_frozen_statistics_are_of_the_batch_and_not_remembered(fails: bool) -> None:
    net, images = signnet().train(), pictures()[0]
    free = copy.deepcopy(net)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    try:
        with frozen_statistics(net):
            frozen = net(images)
            if fails:
                raise KeyError
    except KeyError:
        pass
    assert torch.equal(frozen, free(images))  # what train mode computes, not what eval mode does
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    net(images)  # and outside they are remembered again
    assert all(torch.equal(v, free.state_dict()[k]) for k, v in net.state_dict().items())
    assert not all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
