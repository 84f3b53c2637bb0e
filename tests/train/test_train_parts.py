"""The parts training is made of: augmentation, feed, learning rate, checkpoint, cells."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from edgexai.models.arch import Arch
from edgexai.models.base import Network
from edgexai.models.store import build, default_widths
from edgexai.train.augment import augment_sign
from edgexai.train.cells import cell_index, cell_mean, cells_to_pixels, coverage, replace_cells
from edgexai.train.checkpoint import load_checkpoint, save_checkpoint
from edgexai.train.feed import Feed, epoch_seed
from edgexai.train.optimiser import one_cycle, set_lr, sgd
from edgexai.types import Split


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def split(n: int = 20, size: int = 16) -> Split:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8)
    labels = np.arange(n, dtype=np.int64)
    return Split("train", images, labels, np.full((n, 4), np.nan, np.float32), labels)


# Augmentation


def test_augmented_images_stay_images_and_the_input_stays() -> None:
    images = torch.rand(64, 3, 32, 32, generator=generator())
    before = images.clone()
    out, moved = augment_sign(images, generator(1))
    assert torch.equal(images, before)
    assert moved is None
    assert out.shape == images.shape
    assert out.dtype == torch.float32
    assert float(out.min()) >= 0
    assert float(out.max()) <= 1
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert (out - images).abs().mean((1, 2, 3)).min() > 0.01  # every image was changed


def test_augmentation_follows_the_generator() -> None:
    images = torch.rand(8, 3, 16, 16, generator=generator())
    first, second, other = (augment_sign(images, generator(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_augmentation_takes_images_that_are_not_square_multiples() -> None:
    assert augment_sign(torch.rand(2, 3, 17, 17, generator=generator()), generator())[0].shape == (2, 3, 17, 17)


def test_augmentation_never_mirrors_nor_turns_far() -> None:
    """Two marked spots, right of and below the middle, keep their sense of rotation around a third: det > 0."""
    n, size = 400, 33
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")

    def moved_spot(row: int, column: int) -> torch.Tensor:
        spot = torch.exp(-((y - row) ** 2 + (x - column) ** 2) / 8.0).expand(n, 3, size, size).contiguous()
        out, _ = augment_sign(spot, generator(7))
        weight = (out.mean(1) - out.mean(1).flatten(1).median(1).values[:, None, None]).clamp(min=0) ** 2
        total = weight.sum((1, 2))
        return torch.stack([(weight * x).sum((1, 2)) / total, (weight * y).sum((1, 2)) / total], 1)

    middle, right, below = moved_spot(16, 16), moved_spot(16, 22), moved_spot(22, 16)
    a, b = right - middle, below - middle
    det = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    assert det.min() > 0.4 * 36  # a mirror would give about -36
    assert det.max() < 2.0 * 36
    angle = torch.atan2(a[:, 1], a[:, 0])
    assert angle.abs().max() < math.radians(30)
    assert angle.abs().max() > math.radians(8)  # and it does turn


def test_the_marked_map_moves_with_the_pixels() -> None:
    """An image that is bright exactly where it is marked stays bright exactly there."""
    images = torch.zeros(40, 3, 32, 32)
    images[:, :, 8:20, 12:24] = 1.0
    marked = images[:, :1].clone()
    out, moved = augment_sign(images, generator(3), marked=marked)
    assert moved is not None
    assert set(moved.unique().tolist()) == {0.0, 1.0}
    middle = (out.amax((2, 3)) + out.amin((2, 3))) / 2
    bright = (out > middle[:, :, None, None])[:, 0]
    assert (bright == moved[:, 0].bool()).float().mean() > 0.98
    plain, _ = augment_sign(images, generator(3))
    assert torch.equal(plain, out)  # asking for the map changes no draw


# Feed


def test_an_epoch_follows_from_seed_and_epoch() -> None:
    feeds = [Feed(split(), batch_size=6, augment="sign", strength=1.0, seed=seed, device="cpu") for seed in (0, 0, 1)]

    def epoch(feed: Feed, number: int) -> list[int]:
        return [int(i) for _, _, index, _ in feed.epoch(number) for i in index]

    assert epoch(feeds[0], 3) == epoch(feeds[1], 3)
    list(feeds[0].epoch(0))  # what ran before does not matter
    assert epoch(feeds[0], 3) == epoch(feeds[1], 3)
    assert epoch(feeds[0], 3) != epoch(feeds[0], 4)
    assert epoch(feeds[0], 3) != epoch(feeds[2], 3)
    order = epoch(feeds[0], 3)
    assert len(order) == len(set(order)) == 18  # three whole batches; the rest of 20 is dropped
    assert len(feeds[0]) == 3


def test_batches_are_the_images_of_their_index() -> None:
    data = split()
    for raw, labels, index, draws in Feed(data, batch_size=7, augment="none", strength=1.0, seed=0, device="cpu").epoch(
        0
    ):
        assert np.array_equal(raw.numpy(), data.take(index.numpy()).as_float())
        assert np.array_equal(labels.numpy(), data.labels[index.numpy()])
        assert raw.is_contiguous(memory_format=torch.channels_last)
        assert draws.device.type == "cpu"


def test_a_feed_smaller_than_its_batch_still_trains() -> None:
    feed = Feed(split(5), batch_size=64, augment="none", strength=1.0, seed=0, device="cpu")
    assert [len(raw) for raw, *_ in feed.epoch(0)] == [5]


def test_augment_none_is_the_identity() -> None:
    feed = Feed(split(), batch_size=4, augment="none", strength=1.0, seed=0, device="cpu")
    images = torch.rand(4, 3, 16, 16, generator=generator())
    assert feed.augmented(images, generator()) is images
    marked = torch.zeros(4, 1, 16, 16)
    assert feed.augmented_with(images, marked, generator()) == (images, marked)


def test_epoch_seeds_differ() -> None:
    seeds = {epoch_seed(seed, epoch) for seed in range(30) for epoch in range(30)}
    assert len(seeds) == 900
    assert min(seeds) >= 0
    assert max(seeds) < 2**64


# Learning rate


@pytest.mark.parametrize("total", [1, 2, 7, 100, 1000])
def test_one_cycle_shape(total: int) -> None:
    rates = [one_cycle(step, total, 0.2) for step in range(total)]
    top = int(np.argmax(rates))
    assert top == max(1, int(0.15 * total)) % max(total, 2) or total == 1
    assert all(a < b for a, b in pairwise(rates[: top + 1]))
    assert all(a > b for a, b in pairwise(rates[top:]))
    assert rates[0] == pytest.approx(0.02)
    assert max(rates) <= 0.2
    assert min(rates) >= 0.2 * 0.001
    if total >= 7:
        assert max(rates) == pytest.approx(0.2)
        assert one_cycle(total, total, 0.2) == pytest.approx(0.2 * 0.001)


def test_weight_decay_spares_vectors() -> None:
    net = tiny()
    optimiser = sgd(net, weight_decay=0.1)
    set_lr(optimiser, 0.3)
    seen = set()
    for group in optimiser.param_groups:
        assert group["lr"] == 0.3
        assert group["momentum"] == 0.9
        assert group["nesterov"]
        for parameter in group["params"]:
            assert group["weight_decay"] == (0.1 if parameter.ndim > 1 else 0.0)
            seen.add(id(parameter))
    assert seen == {id(p) for p in net.parameters()}


# Checkpoint


def tiny(seed: int = 0) -> Network:
    widths = (4,) * len(default_widths("signnet"))
    net = build(Arch("signnet", widths, 5, 16, (0.5,) * 3, (0.25,) * 3), seed=seed)
    return net.to(memory_format=torch.channels_last)


def steps(net: Network, optimiser: torch.optim.Optimizer, count: int, seed: int) -> None:
    draws = generator(seed)
    net.train()
    for _ in range(count):
        loss = net(torch.rand(4, 3, 16, 16, generator=draws)).square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()


def test_checkpoint_continues_bit_by_bit(tmp_path: Path) -> None:
    net = tiny()
    optimiser = sgd(net, weight_decay=1e-3)
    steps(net, optimiser, 3, seed=1)
    best = {"a.b": torch.arange(3.0)}
    save_checkpoint(tmp_path, epoch=3, net=net, optimiser=optimiser, extra=best, notes={"lambda": 1 / 3})
    steps(net, optimiser, 3, seed=2)
    again = tiny(seed=9)
    other = sgd(again, weight_decay=1e-3)
    restored = load_checkpoint(tmp_path, net=again, optimiser=other)
    assert restored is not None
    epoch, extra, notes = restored
    assert (epoch, notes) == (3, {"lambda": 1 / 3})
    assert list(extra) == ["a.b"]
    assert torch.equal(extra["a.b"], best["a.b"])
    steps(again, other, 3, seed=2)
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in net.state_dict().items())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.safetensors"]


def test_no_checkpoint(tmp_path: Path) -> None:
    net = tiny()
    assert load_checkpoint(tmp_path, net=net, optimiser=sgd(net, weight_decay=0)) is None
    assert load_checkpoint(tmp_path / "absent", net=net, optimiser=sgd(net, weight_decay=0)) is None


@pytest.mark.parametrize("damage", ["empty", "short", "half", "header", "other"])
def test_a_damaged_checkpoint_is_dropped_and_the_network_left_as_it_was(tmp_path: Path, damage: str) -> None:
    net = tiny()
    optimiser = sgd(net, weight_decay=0)
    steps(net, optimiser, 1, seed=1)
    save_checkpoint(tmp_path, epoch=1, net=net, optimiser=optimiser)
    path = tmp_path / "checkpoint.safetensors"
    whole = path.read_bytes()
    if damage == "other":  # a safetensors file that is not a checkpoint
        from safetensors.torch import save_file

        save_file({"x": torch.zeros(1)}, path)
    else:
        path.write_bytes(
            {"empty": b"", "short": whole[:5], "half": whole[: len(whole) // 2], "header": b"\xff" * 8 + whole[8:]}[
                damage
            ]
        )
    fresh = tiny(seed=4)
    before = {k: v.clone() for k, v in fresh.state_dict().items()}
    assert load_checkpoint(tmp_path, net=fresh, optimiser=sgd(fresh, weight_decay=0)) is None
    assert not path.exists()
    assert all(torch.equal(v, before[k]) for k, v in fresh.state_dict().items())


# Cells


@pytest.mark.parametrize(("size", "grid"), [(32, 8), (16, 4), (32, 5), (17, 3)])
def test_cells_against_loops(size: int, grid: int) -> None:
    values = torch.rand(3, size, size, generator=generator())
    got = cell_mean(values, grid)
    index = cell_index(size, grid)
    for row in range(grid):
        for column in range(grid):
            inside = [
                (y, x)
                for y in range(size)
                for x in range(size)
                if (y * grid // size, x * grid // size) == (row, column)
            ]
            ys, xs = (torch.tensor(part) for part in zip(*inside, strict=True))
            cell = row * grid + column
            assert torch.allclose(got[:, cell], values[:, ys, xs].mean(1), atol=1e-6)
            assert (index[ys, xs] == cell).all()
    cells = torch.rand(2, grid * grid, generator=generator())
    assert torch.allclose(cell_mean(cells_to_pixels(cells, size)[:, 0], grid), cells, atol=1e-6)


def test_cells_to_pixels_keeps_the_type() -> None:
    cells = torch.zeros(1, 9, dtype=torch.bool)
    cells[0, 5] = True
    spread = cells_to_pixels(cells, 6)
    assert spread.dtype == torch.bool
    assert spread.shape == (1, 1, 6, 6)
    assert spread[0, 0].nonzero().tolist() == [[2, 4], [2, 5], [3, 4], [3, 5]]


@pytest.mark.parametrize("n", [2, 3, 8])
def test_swap_takes_exactly_the_partners_pixels(n: int) -> None:
    values = torch.arange(n, dtype=torch.float32)[:, None, None, None] / n
    place = torch.arange(16 * 16).view(1, 1, 16, 16) / 10_000
    images = (values + place).expand(n, 3, 16, 16).contiguous()
    before = images.clone()
    cells = torch.rand(n, 16, generator=generator()) < 0.4
    partners_seen = set()
    for seed in range(12):
        out = replace_cells(images, cells, how="swap", colour=torch.zeros(1, 3, 1, 1), generator=generator(seed))
        spread = cells_to_pixels(cells, 16).expand_as(out)
        assert torch.equal(out[~spread], images[~spread])
        for k in range(n):
            if not cells[k].any():
                continue
            here = spread[k]
            partner = [j for j in range(n) if torch.equal(out[k][here], images[j][here])]  # same place, other image
            assert len(partner) == 1
            assert partner[0] != k
            partners_seen.add((k, partner[0]))
    assert torch.equal(images, before)
    assert len(partners_seen) > n or n == 2


def test_swap_in_a_batch_of_one_and_mean_fill() -> None:
    images = torch.rand(1, 3, 8, 8, generator=generator())
    cells = torch.ones(1, 16, dtype=torch.bool)
    colour = torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)
    assert torch.equal(replace_cells(images, cells, how="swap", colour=colour, generator=generator()), images)
    cells[0, 3] = False
    out = replace_cells(images, cells, how="mean", colour=colour, generator=generator())
    assert torch.equal(out[0, :, :2, 6:], images[0, :, :2, 6:])
    assert torch.equal(out[0, :, 2:], colour[0].expand(3, 6, 8))
    assert torch.equal(out[0, :, :2, :6], colour[0].expand(3, 2, 6))


def test_coverage() -> None:
    relevant = np.zeros((2, 8, 8), np.bool_)
    relevant[0, :4, :4] = True
    relevant[1, 3:5, 0] = True
    got = coverage(relevant, 2)
    assert got.tolist() == [[1, 0, 0, 0], [1 / 16, 0, 1 / 16, 0]]


def test_augmentation_of_no_strength_changes_nothing() -> None:
    images = torch.rand(5, 3, 16, 16, generator=generator())
    out, _ = augment_sign(images, generator(4), strength=0.0)
    torch.testing.assert_close(out, images, atol=2e-6, rtol=0)


def test_weaker_augmentation_moves_less() -> None:
    images = torch.rand(32, 3, 16, 16, generator=generator())
    far, near = (
        (augment_sign(images, generator(4), strength=strength)[0] - images).abs().mean() for strength in (1.0, 0.25)
    )
    assert near < 0.7 * far
