"""FGSM and PGD: closed form on a linear model, the ball, strength, and what must stay untouched."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_network import quadrants

from edgexai.attack import ATTACKS
from edgexai.attack.fgsm import fgsm
from edgexai.attack.pgd import pgd
from edgexai.errors import ShapeError, UserError

EPS = 8 / 255


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand((24, 3, 8, 8), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def trained() -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    return quadrants()


def attack(name: str, net: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, eps: float = EPS) -> torch.Tensor:
    if name == "pgd":
        return pgd(net, x, y, eps=eps, steps=10, seed=0)
    return fgsm(net, x, y, eps=eps, seed=0, random_start=name == "fgsm-random")


def test_fgsm_is_the_closed_form_and_optimal_on_a_linear_model(images: torch.Tensor) -> None:
    weight = torch.randn((2, 192), generator=torch.Generator().manual_seed(2))
    labels = torch.arange(24) % 2
    x = images * 0.5 + 0.25  # so that the pixel range does not cut the ball

    def model(batch: torch.Tensor) -> torch.Tensor:
        return batch.flatten(1) @ weight.T

    # Two classes: the loss rises along the other class's weights minus the own one's.
    direction = (weight[1 - labels] - weight[labels]).sign().reshape(x.shape)
    best = x + EPS * direction
    torch.testing.assert_close(fgsm(model, x, labels, eps=EPS, seed=0), best)
    # On a linear model PGD has nothing to add and must arrive at the same corner.
    torch.testing.assert_close(pgd(model, x, labels, eps=EPS, steps=10, seed=3), best)


@pytest.mark.parametrize("name", ["fgsm", "fgsm-random", "pgd"])
def test_stays_in_the_ball_and_in_the_pixel_range(name: str, images: torch.Tensor, trained: tuple) -> None:
    net = trained[0]
    x = images.clone()
    x[0], x[1] = 0.0, 1.0
    before = x.clone()
    out = attack(name, net, x, torch.arange(24) % 4)
    assert torch.equal(x, before)
    assert (out - x).abs().max() <= EPS + 1e-6
    assert out.min() >= 0
    assert out.max() <= 1
    assert not out.requires_grad


@pytest.mark.parametrize("name", ["fgsm", "fgsm-random", "pgd"])
def test_keeps_memory_format_mode_and_parameter_gradients(name: str, trained: tuple) -> None:
    net, x, y = trained
    x = x[:8].to(memory_format=torch.channels_last)
    net.train()
    out = attack(name, net, x, y[:8])
    assert net.training
    net.eval()
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert all(parameter.grad is None for parameter in net.parameters())
    torch.testing.assert_close(out, attack(name, net, x.contiguous(), y[:8]))


def test_works_with_frozen_parameters_and_under_no_grad(trained: tuple) -> None:
    net, x, y = trained
    free = attack("pgd", net, x[:8], y[:8])
    net.requires_grad_(False)
    with torch.no_grad():
        frozen = attack("pgd", net, x[:8], y[:8])
    net.requires_grad_(True)
    torch.testing.assert_close(free, frozen)


def test_repeats_by_seed_and_leaves_the_global_generator_alone(trained: tuple) -> None:
    net, x, y = trained
    state = torch.random.get_rng_state()
    a = pgd(net, x, y, eps=EPS, steps=2, seed=5)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(a, pgd(net, x, y, eps=EPS, steps=2, seed=5))
    assert not torch.equal(a, pgd(net, x, y, eps=EPS, steps=2, seed=6))


def test_pgd_beats_fgsm_and_both_beat_the_clean_loss(trained: tuple) -> None:
    net, x, y = trained

    def loss(batch: torch.Tensor) -> float:
        return float(torch.nn.functional.cross_entropy(net(batch), y))

    for eps in (2 / 255, EPS, 16 / 255):
        assert loss(attack("pgd", net, x, y, eps)) > loss(attack("fgsm", net, x, y, eps)) > loss(x)


def test_accuracy_falls_with_eps(trained: tuple) -> None:
    net, x, y = trained
    accuracy = [
        float((net(attack("pgd", net, x, y, eps)).argmax(1) == y).float().mean()) for eps in (1 / 255, 3 / 255, 8 / 255)
    ]
    assert accuracy[0] > accuracy[1] > accuracy[2]


def test_batch_equals_singles_without_a_random_start(trained: tuple) -> None:
    net, x, y = trained
    batch = fgsm(net, x[:6], y[:6], eps=EPS, seed=0)
    singles = torch.cat([fgsm(net, x[k : k + 1], y[k : k + 1], eps=EPS, seed=0) for k in range(6)])
    assert (batch != singles).float().mean() < 0.01  # a gradient of exactly rounding size may flip its sign


def test_default_step_is_two_and_a_half_eps_over_steps(trained: tuple) -> None:
    net, x, y = trained
    assert torch.equal(
        pgd(net, x, y, eps=EPS, steps=5, seed=0), pgd(net, x, y, eps=EPS, steps=5, step_size=2.5 * EPS / 5, seed=0)
    )


def test_refuses_bad_input(images: torch.Tensor, trained: tuple) -> None:
    net, labels = trained[0], torch.zeros(24, dtype=torch.long)
    with pytest.raises(UserError, match=r"\[0,1\]"):
        fgsm(net, images * 255, labels, eps=EPS, seed=0)
    with pytest.raises(UserError, match=r"\[0,1\]"):
        fgsm(net, images * float("nan"), labels, eps=EPS, seed=0)
    with pytest.raises(UserError, match="eps"):
        fgsm(net, images, labels, eps=8, seed=0)
    with pytest.raises(UserError, match="steps"):
        pgd(net, images, labels, eps=EPS, steps=0, seed=0)
    with pytest.raises(UserError, match="step_size"):
        pgd(net, images, labels, eps=EPS, steps=1, step_size=0.0, seed=0)
    with pytest.raises(ShapeError):
        fgsm(net, images.permute(0, 2, 3, 1), labels, eps=EPS, seed=0)
    with pytest.raises(ShapeError):
        fgsm(net, images, labels[:3], eps=EPS, seed=0)


def test_registry_resolves() -> None:
    assert sorted(ATTACKS) == ["apgd", "ensemble", "fgsm", "noise", "patch", "pgd", "square", "sticker"]
    assert all(callable(entry.load()) for entry in ATTACKS.values())
    assert np.all([entry.version >= 1 for entry in ATTACKS.values()])
