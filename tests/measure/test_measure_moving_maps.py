"""Max-sensitivity, output stability, SSIM, cascade similarity: closed forms, naive loops, scikit-image, Captum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.metrics import infidelity as captum_infidelity
from captum.metrics import sensitivity_max
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity

from edgexai.errors import ShapeError, UserError
from edgexai.measure.cascade import cascade_similarity
from edgexai.measure.infidelity import infidelity
from edgexai.measure.max_sensitivity import max_sensitivity
from edgexai.measure.output_stability import relative_output_stability
from edgexai.measure.removals import random_squares, removal_effects
from edgexai.measure.ssim import ssim

P, N, S = 4, 5, 9
RNG = np.random.default_rng(0)
MAPS = RNG.normal(size=(N, S, S)).astype(np.float32)
MOVED = (MAPS + 0.2 * RNG.normal(size=(P, N, S, S))).astype(np.float32)


def test_max_sensitivity_is_the_definition() -> None:
    stands = RNG.random((P, N)) < 0.6
    stands[:, 2], stands[0, :2] = False, True
    found = max_sensitivity(MAPS, MOVED, same_class=stands)
    for n in range(N):
        moves = [np.linalg.norm(MAPS[n] - MOVED[p, n]) / np.linalg.norm(MAPS[n]) for p in range(P) if stands[p, n]]
        assert found[n] == pytest.approx(max(moves), rel=1e-5) if moves else np.isnan(found[n])
    assert max_sensitivity(MAPS, np.stack([MAPS, 3 * MAPS])) == pytest.approx(2)
    np.testing.assert_allclose(max_sensitivity(5 * MAPS, 5 * MOVED), max_sensitivity(MAPS, MOVED), rtol=1e-6)
    assert np.isnan(max_sensitivity(0 * MAPS, MOVED)).all()
    with pytest.raises(ShapeError):
        max_sensitivity(MAPS, MOVED[:, 1:])


def test_max_sensitivity_agrees_with_captum() -> None:
    images = torch.from_numpy(RNG.random((N, 3, S, S), dtype=np.float32))
    weights = torch.from_numpy(RNG.normal(size=(3, S, S)).astype(np.float32))
    offsets = torch.from_numpy(0.02 * RNG.normal(size=(P, 3, S, S)).astype(np.float32))

    def explain(inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
        (x,) = inputs
        return (((x * weights) ** 2).sum(1, keepdim=True).expand_as(x).contiguous(),)

    def perturb(repeated: torch.Tensor) -> tuple[torch.Tensor]:
        return (repeated + offsets.repeat(N, 1, 1, 1),)

    theirs = sensitivity_max(explain, images, perturb_func=perturb, n_perturb_samples=P, perturb_radius=0.1)
    maps = explain((images,))[0][:, 0].numpy()
    moved = np.stack([explain((images + offset,))[0][:, 0].numpy() for offset in offsets])
    np.testing.assert_allclose(max_sensitivity(maps, moved), theirs.numpy(), rtol=1e-5)


@pytest.mark.parametrize("scaled", [False, True])
def test_infidelity_agrees_with_captum(scaled: bool) -> None:
    images = RNG.random((N, 3, S, S), dtype=np.float32)
    first, second = (torch.from_numpy(RNG.normal(size=(3 * S * S, k)).astype(np.float32)) for k in (6, 2))

    def network(x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x.flatten(1) @ first / 5) @ second[:6].reshape(-1)[:12].reshape(6, 2)

    targets = np.arange(N) % 2
    sets = random_squares(images, sets=16, sides=(2, 4), seed=0)
    blank = np.full_like(images, 0.5)
    effects = removal_effects(lambda x: network(torch.from_numpy(x)).numpy(), images, targets, sets, substrate=blank)

    def perturb(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        # Captum repeats every image 16 times in a row. Its I goes over all channels: a third of the pixel's in each.
        gone = torch.from_numpy(sets.transpose(1, 0, 2, 3).reshape(-1, 1, S, S)).expand_as(x)
        return gone.float() / 3, torch.where(gone, torch.full_like(x, 0.5), x)

    maps = torch.from_numpy(MAPS)[:, None].expand(-1, 3, -1, -1)
    theirs = captum_infidelity(
        network,
        perturb,
        torch.from_numpy(images),
        maps,
        target=torch.from_numpy(targets),
        n_perturb_samples=16,
        normalize=scaled,
    ).numpy()
    ours = infidelity(MAPS, sets, effects)
    if not scaled:
        np.testing.assert_allclose(ours.raw, theirs, rtol=1e-4)
        return
    # Where Captum's scale is negative ours stays at 0: there a map is turned round to fit.
    upright = ours.scale > 0
    assert 0 < upright.sum() < N
    np.testing.assert_allclose(ours.scaled[upright], theirs[upright], rtol=1e-4)
    assert (ours.scaled[~upright] > theirs[~upright]).all()
    np.testing.assert_allclose(ours.scaled[~upright], (effects**2).mean(0)[~upright])


def test_output_stability_is_the_definition() -> None:
    maps = MAPS.copy()
    maps[:, 0, 0] = 0
    logits = RNG.normal(size=(N, 3)).astype(np.float32)
    answers = (logits + RNG.normal(size=(P, N, 3))).astype(np.float32)
    answers[0, 0] = logits[0]
    stands = RNG.random((P, N)) < 0.7
    stands[:, 4], stands[0, :2] = False, True
    found = relative_output_stability(maps, MOVED, logits, answers, same_class=stands)
    for n in range(N):
        ratios = []
        for p in np.flatnonzero(stands[:, n]):
            e, other = maps[n].astype(float).ravel(), MOVED[p, n].astype(float).ravel()
            above = sum(((a - b) / (a if a else 1e-6)) ** 2 for a, b in zip(e, other, strict=True)) ** 0.5
            below = sum((float(a) - float(b)) ** 2 for a, b in zip(logits[n], answers[p, n], strict=True)) ** 0.5
            ratios.append(above / max(below, 1e-6))
        assert found[n] == pytest.approx(max(ratios), rel=1e-5) if ratios else np.isnan(found[n])
    with pytest.raises(ShapeError, match="logits"):
        relative_output_stability(maps, MOVED, logits[1:], answers)
    with pytest.raises(UserError, match="eps_min"):
        relative_output_stability(maps, MOVED, logits, answers, eps_min=0)


@pytest.mark.parametrize("window", [5, 7])
def test_ssim_agrees_with_scikit_image(window: int) -> None:
    a, b = MAPS, MOVED[0]
    found = ssim(a, b, window=window)
    for n in range(N):
        x, y = (m[n].astype(float) / np.abs(m[n]).max() for m in (a, b))
        span = max(x.max(), y.max()) - min(x.min(), y.min())
        assert found[n] == pytest.approx(structural_similarity(x, y, win_size=window, data_range=span), rel=1e-5)


def test_ssim_closed_forms() -> None:
    np.testing.assert_allclose(ssim(MAPS, 40 * MAPS), 1, rtol=1e-6)
    # Of an inverted map the means *and* the pattern change sign: SSIM alone does not see it where the means are large.
    assert ssim(MAPS + 3, -MAPS - 3).min() > 0
    wide = RNG.normal(size=(40, 32, 32)).astype(np.float32)
    assert abs(ssim(wide, wide[::-1].copy()).mean()) < 0.05
    assert np.isnan(ssim(0 * MAPS, MAPS)).all()
    assert np.isnan(ssim(np.ones_like(MAPS), np.full_like(MAPS, 3))).all()
    for window in (4, 1, 11):
        with pytest.raises(UserError, match="window"):
            ssim(MAPS, MAPS, window=window)


def test_cascade_similarity_takes_the_larger_correlation() -> None:
    after = np.stack([MAPS, -MAPS, MOVED[0], RNG.normal(size=MAPS.shape).astype(np.float32)])
    found = cascade_similarity(MAPS, after)
    np.testing.assert_allclose(found.rank[:2], 1)
    np.testing.assert_allclose(found.ssim[0], 1, rtol=1e-6)
    for n in range(N):
        pairs = [spearmanr(f(MAPS[n]).ravel(), f(MOVED[0, n]).ravel()).statistic for f in (np.asarray, np.abs)]
        assert found.rank[2, n] == pytest.approx(max(pairs))
    assert found.rank[3].mean() < 0.3
    with pytest.raises(ShapeError, match="randomisation"):
        cascade_similarity(MAPS, after[:, 1:])
