"""Flips and shifts: whole pixels move, nothing is invented, and all draws come from the generator."""

from __future__ import annotations

import pytest
import torch

from edgexai.train.augment_photo import augment_photo


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def naive(image: torch.Tensor, dy: int, dx: int, *, mirror: bool) -> torch.Tensor:
    """One image: what stood at (y + dy, x + dx) stands at (y, x), mirrored at the border; then flipped."""
    _, height, width = image.shape

    def back(k: int, side: int) -> int:
        k = -k if k < 0 else k
        return 2 * (side - 1) - k if k >= side else k

    out = torch.empty_like(image)
    for y in range(height):
        for x in range(width):
            out[:, y, x] = image[:, back(y + dy, height), back(x + dx, width)]
    return out.flip(2) if mirror else out


@pytest.mark.parametrize("size", [16, 24])
def test_every_image_is_one_of_the_shifted_and_mirrored_ones(size: int) -> None:
    n, reach = 12, size // 8
    images = torch.rand(n, 3, size, size, generator=generator())
    before = images.clone()
    marked = (images[:, :1] > 0.5).float()
    out, moved = augment_photo(images, generator(1), marked=marked)
    assert torch.equal(images, before)
    assert moved is not None
    assert out.is_contiguous(memory_format=torch.channels_last)
    found = []
    for k in range(n):
        hits = [
            (dy, dx, mirror)
            for dy in range(-reach, reach + 1)
            for dx in range(-reach, reach + 1)
            for mirror in (False, True)
            if torch.equal(naive(images[k], dy, dx, mirror=mirror), out[k])
        ]
        assert len(hits) == 1
        found += hits
        assert torch.equal(moved[k], (out[k, :1] > 0.5).float())  # the map went where its pixels went
    assert len({dy for dy, _, _ in found}) > 2
    assert len({mirror for _, _, mirror in found}) == 2


def test_shifts_and_mirrors_are_drawn_evenly() -> None:
    n, size = 4000, 16  # reach 2: five places each way
    column = torch.arange(size, dtype=torch.float32).expand(n, 3, size, size)
    out, _ = augment_photo(column, generator(3))
    mirrored = out[:, 0, 0, 8] < out[:, 0, 0, 7]
    assert abs(float(mirrored.float().mean()) - 0.5) < 4 * 0.5 / n**0.5
    middle = torch.where(mirrored, out[:, 0, 0, 7] - 8, out[:, 0, 0, 8] - 8)
    shares = torch.bincount((middle + 2).long(), minlength=5) / n
    assert len(shares) == 5
    assert (shares - 0.2).abs().max() < 4 * 0.4 / n**0.5


def test_strength_scales_and_zero_changes_nothing() -> None:
    images = torch.rand(64, 3, 32, 32, generator=generator())
    assert torch.equal(augment_photo(images, generator(1), strength=0.0)[0], images)
    column = torch.arange(32, dtype=torch.float32).expand(2000, 3, 32, 32)
    out, moved = augment_photo(column, generator(2), strength=0.5)
    assert moved is None
    mirrored = out[:, 0, 0, 16] < out[:, 0, 0, 15]
    assert abs(float(mirrored.float().mean()) - 0.25) < 4 * 0.433 / 2000**0.5
    assert float((out[~mirrored][:, 0, 0, 16] - 16).abs().max()) == 2.0  # half of 4


def test_draws_follow_the_generator_alone() -> None:
    images = torch.rand(8, 3, 16, 16, generator=generator())
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first, second, other = (augment_photo(images, generator(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
