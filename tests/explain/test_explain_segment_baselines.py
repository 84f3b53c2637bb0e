"""Grids, superpixels and the maps that know nothing."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from edgexai.errors import MissingCapability, ShapeError, UserError
from edgexai.explain.baselines import centre_gaussian, random_map
from edgexai.explain.segment import grid, slic


def test_grid_cells_are_equal_squares_in_reading_order():
    cells = grid(32, 8)
    assert cells.dtype == np.int32
    assert (np.bincount(cells.ravel()) == 16).all()
    for y, x in [(0, 0), (3, 4), (31, 31), (17, 9)]:
        assert cells[y, x] == (y // 4) * 8 + x // 4


@pytest.mark.parametrize(("size", "cells"), [(48, 7), (33, 8), (16, 16), (17, 5)])
def test_grid_that_does_not_divide_has_no_gaps(size, cells):
    layout = grid(size, cells)
    assert np.array_equal(np.unique(layout), np.arange(cells**2))
    widths = np.bincount(layout[0])
    assert widths.max() - widths.min() <= 1


def test_grid_refusals():
    with pytest.raises(UserError, match="4 segments"):
        grid(32, 2)
    assert grid(32, 2, min_segments=4).max() == 3
    for cells in (0, 33):
        with pytest.raises(UserError, match="fit"):
            grid(32, cells)


def test_slic_follows_edges():
    pytest.importorskip("skimage")
    image = np.zeros((2, 3, 32, 32), dtype=np.float32)
    image[0, :, :, 13:] = 1.0
    image[1] = np.linspace(0, 1, 32)[:, None] * np.ones(32) + 0.02 * np.random.default_rng(0).random((3, 32, 32))
    kept = image.copy()
    layout = slic(image, 30)
    assert layout.shape == (2, 32, 32)
    assert layout.dtype == np.int32
    assert np.array_equal(image, kept)
    for one in layout:
        assert np.array_equal(np.unique(one), np.arange(one.max() + 1))
    assert not set(layout[0, :, :13].ravel()) & set(layout[0, :, 13:].ravel())
    assert np.array_equal(layout, slic(image, 30))
    with pytest.raises(UserError, match="image 0"):
        slic(image, 4)
    # Pure noise has no edges to follow: SLIC merges it all, and such an image is named.
    noise = np.random.default_rng(0).random((1, 3, 32, 32), dtype=np.float32)
    with pytest.raises(UserError, match="image 0 has 1 segments"):
        slic(noise, 30)
    with pytest.raises(ShapeError):
        slic(image[0], 30)


def test_slic_without_scikit_image_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with pytest.raises(MissingCapability) as caught:
        slic(np.zeros((1, 3, 32, 32), dtype=np.float32), 30)
    assert "edgexai[reference]" in str(caught.value)


def test_random_map_is_uniform_and_repeats():
    maps = random_map(50, 32, 3)
    assert maps.shape == (50, 32, 32)
    assert maps.dtype == np.float32
    assert abs(maps.mean() - 0.5) < 0.01
    assert abs(maps.var() - 1 / 12) < 0.005
    assert np.array_equal(maps[:7], random_map(7, 32, 3))
    assert not np.array_equal(maps[:7], random_map(7, 32, 4))


@pytest.mark.parametrize("size", [31, 32])
def test_centre_gaussian_is_centred_and_has_its_width(size):
    first, second = centre_gaussian(2, size)
    assert np.array_equal(first, second)
    for flipped in (first[::-1], first[:, ::-1], first.T):
        np.testing.assert_allclose(first, flipped, rtol=1e-6)
    y = size // 2
    distance = (abs(0 + 0.5 - size / 2)) ** 2 - (abs(y + 0.5 - size / 2)) ** 2
    assert first[y, 0] / first[y, y] == pytest.approx(np.exp(-distance / (2 * (size / 4) ** 2)), rel=1e-5)


def test_baselines_refuse_nonsense():
    with pytest.raises(UserError):
        random_map(-1, 32, 0)
    with pytest.raises(UserError):
        centre_gaussian(2, 0)
