"""Gradient kind: closed forms, naive second implementations, invariants over the registry, negative controls."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from edgexai.errors import ShapeError, UserError
from edgexai.explain import EXPLAINERS, KINDS
from edgexai.explain.cam import cam, gradcam
from edgexai.explain.gradient import vanilla_gradient
from edgexai.explain.gradient_shap import expected_gradients, gradient_shap
from edgexai.explain.input_gradient import input_x_gradient
from edgexai.explain.integrated import completeness_gap, integrated_gradients
from edgexai.explain.smooth import smoothgrad
from edgexai.explain.vargrad import vargrad

GRADIENT = [name for name, kind in KINDS.items() if kind == "gradient"]


def input_gradient(model, image, target):
    """One image, one backward: (3,H,W)."""
    x = image.detach().clone()[None].requires_grad_(True)
    return torch.autograd.grad(model(x)[0, target], x)[0][0]


def test_every_entry_loads_and_has_a_kind():
    assert set(EXPLAINERS) == set(KINDS)
    assert set(KINDS.values()) == {"gradient", "optimised", "black_box", "baseline"}
    assert all(callable(entry.load()) for entry in EXPLAINERS.values())


def test_linear_model_gradient_is_its_weights(linear, images):
    x, t = images[:4, :, :12, :12], torch.tensor([3, 0, 1, 2])
    expected = linear.weight.detach()[t].abs().sum(1)
    torch.testing.assert_close(vanilla_gradient(linear, x, t), expected)
    torch.testing.assert_close(smoothgrad(linear, x, t, n_samples=3), expected)


@pytest.mark.parametrize("baseline", ["black", "mean", (0.2, 0.5, 0.9)])
def test_linear_model_integrated_gradients_are_exact_in_one_step(linear, images, baseline):
    x, t = images[:4, :, :12, :12], torch.tensor([3, 0, 1, 2])
    if baseline == "black":
        start = torch.zeros_like(x)
    elif baseline == "mean":
        start = x.mean((2, 3), keepdim=True)
    else:
        start = torch.tensor(baseline).view(1, 3, 1, 1)
    maps = integrated_gradients(linear, x, t, steps=1, baseline=baseline)
    torch.testing.assert_close(maps, (linear.weight.detach()[t] * (x - start)).sum(1), rtol=1e-4, atol=1e-5)
    assert completeness_gap(linear, x, t, maps=maps, baseline=baseline).max() < 1e-3


def test_gradient_against_one_backward_per_image(small, images, targets):
    naive = torch.stack([input_gradient(small, x, t).abs().sum(0) for x, t in zip(images, targets, strict=True)])
    torch.testing.assert_close(vanilla_gradient(small, images, targets, batch_size=4), naive)


def test_integrated_gradients_against_a_midpoint_sum(small, images, targets):
    maps = integrated_gradients(small, images, targets, steps=64)
    naive = []
    for x, t in zip(images, targets, strict=True):
        steps = (torch.arange(512) + 0.5) / 512
        total = sum(input_gradient(small, float(a) * x, t) for a in steps) / 512
        naive.append((total * x).sum(0))
    naive = torch.stack(naive)
    assert (maps - naive).abs().max() < 0.02 * naive.abs().max()
    gap = completeness_gap(small, images, targets, maps=maps)
    change = (small(images) - small(torch.zeros_like(images))).gather(1, targets[:, None])[:, 0].abs()
    assert (gap < 0.02 * change.max()).all()
    # A wrong map is noticed.
    assert (completeness_gap(small, images, targets, maps=maps + 1.0) > 200).all()


def test_smoothgrad_against_a_loop(small, images, targets):
    maps = smoothgrad(small, images, targets, seed=7, n_samples=5, noise_std=0.1)
    for i, (x, t) in enumerate(zip(images, targets, strict=True)):
        noise = torch.randn((5, *x.shape), generator=torch.Generator().manual_seed(7 + i))
        naive = torch.stack([input_gradient(small, x + 0.1 * e, t).abs().sum(0) for e in noise]).mean(0)
        torch.testing.assert_close(maps[i], naive, rtol=1e-4, atol=1e-6)


def test_smoothgrad_without_noise_is_the_gradient_and_seeds_matter(small, images, targets):
    torch.testing.assert_close(
        smoothgrad(small, images, targets, n_samples=3, noise_std=0.0), vanilla_gradient(small, images, targets)
    )
    state = torch.random.get_rng_state()
    a, b = (smoothgrad(small, images, targets, seed=s, n_samples=3) for s in (0, 100))
    assert not torch.allclose(a, b)
    assert torch.equal(a, smoothgrad(small, images, targets, seed=0, n_samples=3))
    assert torch.equal(state, torch.random.get_rng_state())


def test_cam_against_a_loop_and_gradcam_up_to_scale(small, images, targets):
    features, weight = small.features(images).detach(), small.head.weight.detach()
    naive = torch.stack(
        [sum(w * m for w, m in zip(weight[t], f, strict=True)) for t, f in zip(targets, features, strict=True)]
    )
    naive = interpolate(naive.clamp(min=0)[:, None], (16, 16), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(cam(small, images, targets), naive, rtol=1e-4, atol=1e-5)
    assert naive.amax((1, 2)).min() > 0
    torch.testing.assert_close(64 * gradcam(small, images, targets), naive, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(64 * gradcam(small, images, targets, layer=small.body), naive, rtol=1e-4, atol=1e-5)


def test_gradcam_at_an_earlier_layer_against_autograd(small, images, targets):
    maps = gradcam(small, images, targets, layer=small.body[3])
    x = images.detach().clone()
    activation = small.body[:4]((x - 0.5) / 0.25)
    logits = small.head(small.body[4:](activation.clone()).mean((2, 3)))
    gradient = torch.autograd.grad(logits.gather(1, targets[:, None]).sum(), activation)[0]
    naive = (gradient.mean((2, 3), keepdim=True) * activation).sum(1, keepdim=True).relu()
    naive = interpolate(naive, (16, 16), mode="bilinear", align_corners=False)[:, 0].detach()
    torch.testing.assert_close(maps, naive, rtol=1e-4, atol=1e-6)


def test_input_x_gradient_against_one_backward_per_image(small, linear, images, targets):
    naive = torch.stack([(input_gradient(small, x, t) * x).sum(0) for x, t in zip(images, targets, strict=True)])
    torch.testing.assert_close(input_x_gradient(small, images, targets, batch_size=4), naive, rtol=1e-4, atol=1e-5)
    x, t = images[:4, :, :12, :12], torch.tensor([3, 0, 1, 2])
    total = input_x_gradient(linear, x, t).sum((1, 2)) + linear.bias.detach()[t]
    torch.testing.assert_close(total, linear(x).detach().gather(1, t[:, None])[:, 0], rtol=1e-4, atol=1e-3)


def test_vargrad_against_a_loop_and_none_on_a_linear_model(small, linear, images, targets):
    maps = vargrad(small, images, targets, seed=7, n_samples=5, noise_std=0.1)
    for i, (x, t) in enumerate(zip(images, targets, strict=True)):
        noise = torch.randn((5, *x.shape), generator=torch.Generator().manual_seed(7 + i))
        naive = torch.stack([input_gradient(small, x + 0.1 * e, t) for e in noise]).var(0, correction=0).sum(0)
        torch.testing.assert_close(maps[i], naive, rtol=1e-3, atol=1e-6)
    assert vargrad(linear, images[:4, :, :12, :12], torch.tensor([3, 0, 1, 2])).max() < 1e-9
    with pytest.raises(UserError, match="n_samples"):
        vargrad(small, images, targets, n_samples=1)


def test_gradient_shap_is_exact_on_a_linear_model_and_complete(linear, small, images, targets):
    x, t = images[:4, :, :12, :12], torch.tensor([3, 0, 1, 2])
    grey = torch.full((1, 3, 12, 12), 0.25)
    found = expected_gradients(linear, x, t, n_samples=4, baselines=grey)
    torch.testing.assert_close(found.maps, (linear.weight.detach()[t] * (x - grey)).sum(1), rtol=1e-4, atol=1e-5)
    assert found.standard_error.max() < 1e-5
    assert found.completeness_gap.max() < 1e-3
    # From black alone it is integrated gradients; more draws come nearer, by what the standard error says.
    exact = integrated_gradients(small, images, targets, steps=200)
    black = torch.zeros_like(images[:1])
    few, many = (
        expected_gradients(small, images, targets, n_samples=n, baselines=black, batch_size=1000) for n in (8, 400)
    )
    off = [(found.maps - exact).abs().mean((1, 2)) for found in (few, many)]
    assert (off[1] < 0.3 * off[0]).all()
    assert (many.standard_error < 0.3 * few.standard_error).all()
    assert (many.completeness_gap < 0.05 * exact.sum((1, 2)).abs().clamp(min=1)).all()


def test_gradient_shap_agrees_with_captum(small, images, targets):
    from captum.attr import GradientShap

    baselines = torch.rand((3, 3, 16, 16), generator=torch.Generator().manual_seed(5))
    ours = gradient_shap(small, images, targets, n_samples=600, baselines=baselines, batch_size=3600)
    np.random.seed(0)
    torch.manual_seed(0)
    theirs = GradientShap(small).attribute(images, baselines, n_samples=600, stdevs=0.0, target=targets).sum(1)
    for a, b in zip(ours, theirs, strict=True):
        assert np.corrcoef(a.ravel(), b.detach().ravel())[0, 1] > 0.99
    assert float((ours - theirs).abs().mean()) < 0.1 * float(ours.abs().mean())
    with pytest.raises(ShapeError, match="baselines"):
        gradient_shap(small, images, targets, baselines=baselines[:, :, :8])


@pytest.mark.parametrize("name", GRADIENT)
def test_batch_equals_singles_for_any_batch_size(name, small, images, targets):
    explain = EXPLAINERS[name].load()
    whole = explain(small, images, targets, seed=5)
    assert whole.shape == (6, 16, 16)
    assert not whole.requires_grad
    assert torch.isfinite(whole).all()
    singles = [explain(small, images[i : i + 1], targets[i : i + 1], seed=5 + i) for i in range(6)]
    torch.testing.assert_close(whole, torch.cat(singles), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(whole, explain(small, images, targets, seed=5, batch_size=4), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind in ("gradient", "optimised")])
def test_large_images_pass_few_at_a_time(name, small):
    # 256 points of 224 pixels with what autograd keeps of them are more than a workstation has
    seen = []
    small.register_forward_pre_hook(lambda _module, args: seen.append(len(args[0])))
    large = torch.rand((7, 3, 300, 300), generator=torch.Generator().manual_seed(0))
    few = {"gradshap": "n_samples", "smoothgrad": "n_samples", "vargrad": "n_samples", "ig": "steps"}
    few |= dict.fromkeys((k for k, kind in KINDS.items() if kind == "optimised"), "steps")
    given = {few[name]: 2 if KINDS[name] == "optimised" else 5} if name in few else {}
    if name == "cam":
        features = small.features
        small.features = lambda x: (seen.append(len(x)), features(x))[1]
    maps = EXPLAINERS[name].load()(small, large, torch.zeros(7, dtype=torch.int64), **given)
    assert maps.shape == (7, 300, 300)
    assert max(seen) == (4 if name == "extremal" else 5)
    assert sum(seen) >= 7


@pytest.mark.parametrize("name", GRADIENT)
@pytest.mark.parametrize("inside_no_grad", [False, True])
def test_nothing_is_left_behind(name, inside_no_grad, small, images, targets):
    small.body[0].weight.requires_grad_(False)
    small.head.weight.grad = torch.full_like(small.head.weight, 3.0)
    before, x = copy.deepcopy(small.state_dict()), images.clone()
    wanted = [p.requires_grad for p in small.parameters()]
    with torch.set_grad_enabled(not inside_no_grad):
        EXPLAINERS[name].load()(small, images, targets, seed=0)
    assert torch.equal(images, x)
    assert not images.requires_grad
    assert images.grad is None
    assert [p.requires_grad for p in small.parameters()] == wanted
    assert all(p.grad is None for p in small.parameters() if p is not small.head.weight)
    assert (small.head.weight.grad == 3.0).all()
    assert all(torch.equal(before[k], v) for k, v in small.state_dict().items())
    for module in small.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._backward_hooks


@pytest.mark.parametrize("name", GRADIENT)
def test_other_weights_and_other_targets_give_other_maps(name, small, other_small, images, targets):
    explain = EXPLAINERS[name].load()
    maps = explain(small, images, targets, seed=0)
    others = explain(other_small, images, targets, seed=0), explain(small, images, (targets + 1) % 5, seed=0)
    for other in others:
        correlation = [
            np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(maps.numpy(), other.numpy(), strict=True)
        ]
        assert np.nanmedian(correlation) < 0.9


@pytest.mark.parametrize("name", GRADIENT)
def test_bad_input_is_refused(name, small, images, targets):
    explain = EXPLAINERS[name].load()
    with pytest.raises(ShapeError, match="images"):
        explain(small, images[0], targets, seed=0)
    with pytest.raises(ShapeError, match="images"):
        explain(small, images[:0], targets[:0], seed=0)
    with pytest.raises(ShapeError, match="targets"):
        explain(small, images, targets[:2], seed=0)
    with pytest.raises(UserError, match="class 9"):
        explain(small, images, targets + 5, seed=0)
    with pytest.raises(UserError, match="class -1"):
        explain(small, images, targets - 1, seed=0)
    with pytest.raises(UserError, match="batch_size"):
        explain(small, images, targets, seed=0, batch_size=0)
    small.body[1].train()
    with pytest.raises(UserError, match="training mode"):
        explain(small, images, targets, seed=0)


def test_options_out_of_range_are_refused(small, images, targets):
    with pytest.raises(UserError, match="steps"):
        integrated_gradients(small, images, targets, steps=0)
    with pytest.raises(UserError, match="baseline"):
        integrated_gradients(small, images, targets, baseline="white")
    with pytest.raises(UserError, match="n_samples"):
        smoothgrad(small, images, targets, n_samples=0)
    with pytest.raises(ShapeError, match="maps"):
        completeness_gap(small, images, targets, maps=torch.zeros(2, 2))


def test_cam_refuses_a_network_that_does_not_end_in_pooling_and_a_linear_head(small, linear, images, targets):
    with pytest.raises(UserError, match="linear"):
        cam(linear, images[:, :, :12, :12], targets % 4)
    with pytest.raises(UserError, match="no features"):
        gradcam(linear, images[:, :, :12, :12], targets % 4)

    class MaxPooled(type(small)):
        def forward(self, x):
            return self.head(self.features(x).amax((2, 3)))

    with pytest.raises(UserError, match="averaged"):
        cam(MaxPooled(0).eval(), images, targets)

    class Functional(type(small)):
        def features(self, x):
            return super().features(x) * 2

    with pytest.raises(UserError, match="submodule"):
        gradcam(Functional(0).eval(), images, targets)


def test_gradcam_takes_features_as_a_module(images, targets):
    class Modular(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU())
            self.head = nn.Linear(6, 5)

        def forward(self, x):
            return self.head(self.features(x).mean((2, 3)))

    model = Modular().eval()
    torch.testing.assert_close(
        14 * 14 * gradcam(model, images, targets), cam(model, images, targets), rtol=1e-3, atol=1e-5
    )


def test_gradcam_takes_a_layer_by_name(small, images, targets):
    torch.testing.assert_close(
        gradcam(small, images, targets, layer="body.3"), gradcam(small, images, targets, layer=small.body[3])
    )
    with pytest.raises(UserError, match=r"body\.3"):
        gradcam(small, images, targets, layer="body.33")


def test_gradcam_finds_the_last_feature_map_of_a_network_without_features(images, targets):
    class Block(nn.Module):
        """One ReLU for two places, as torchvision's residual blocks have it."""

        def __init__(self):
            super().__init__()
            self.first, self.second, self.relu = nn.Conv2d(6, 6, 3, 1, 1), nn.Conv2d(6, 6, 3, 1, 1), nn.ReLU()

        def forward(self, x):
            return self.relu(self.second(self.relu(self.first(x))) + x)

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.layer = nn.Conv2d(3, 6, 3, 2, 1), nn.Sequential(Block(), Block())
            self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(6, 5)

        def forward(self, x):
            return self.fc(self.pool(self.layer(self.stem(x))).flatten(1))

    torch.manual_seed(0)
    model = Plain().eval()
    torch.testing.assert_close(gradcam(model, images, targets), gradcam(model, images, targets, layer=model.layer))
    assert gradcam(model, images, targets).amax((1, 2)).max() > 0


class SharedRelu(nn.Module):
    """Ends in a ReLU that it has used before, and has no ``features``."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.act = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3), nn.ReLU()
        self.head = nn.Linear(6, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.act(self.second(self.act(self.first(images)))).mean((2, 3)))


def test_gradcam_passes_over_a_module_that_is_used_twice(images, targets):
    model = SharedRelu().eval()
    chosen = gradcam(model, images, targets % 4)
    assert chosen.max() > 0
    torch.testing.assert_close(chosen, gradcam(model, images, targets % 4, layer="second"))
