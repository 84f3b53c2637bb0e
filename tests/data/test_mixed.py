"""Rendered signs beside photographs: appended, never in front, never where something is scored."""

from __future__ import annotations

import numpy as np
import pytest

from edgexai.config.load import load_recipe
from edgexai.data.mixed import with_rendered
from edgexai.data.signs import render
from edgexai.errors import ShapeError, UserError
from edgexai.types import Split


def photographs(n: int, *, height: int = 20, width: int = 20) -> Split:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, height, width, 3), dtype=np.uint8)
    labels = np.arange(n, dtype=np.int64) % 43
    return Split("train", images, labels, np.tile(np.array([2, 3, 15, 17], np.float32), (n, 1)), labels * 100_000)


def test_photographs_first_then_the_renderers_own_images() -> None:
    train = photographs(50)
    mixed = with_rendered(train, per_class=2, seed=5, progress=None)
    drawn = render(name="signs", size=20, per_class=2, seed=5)["train"]
    assert len(mixed) == 50 + 86
    assert mixed.name == "train"
    for what in ("images", "labels", "boxes"):
        assert np.array_equal(getattr(mixed, what)[:50], getattr(train, what))
        assert np.array_equal(getattr(mixed, what)[50:], getattr(drawn, what))
    assert np.array_equal(mixed.tracks[:50], train.tracks)
    assert len(np.unique(mixed.tracks[50:])) == 86
    assert mixed.tracks[50:].min() > train.tracks.max()
    assert mixed.masks is None
    relevance = mixed.relevance()
    assert relevance is not None
    assert relevance.any((1, 2)).all()


def test_another_seed_draws_other_signs_and_leaves_the_photographs() -> None:
    one, other = (with_rendered(photographs(43), per_class=1, seed=s, progress=None) for s in (1, 2))
    assert np.array_equal(one.images[:43], other.images[:43])
    assert not np.array_equal(one.images[43:], other.images[43:])


def test_only_square_images() -> None:
    with pytest.raises(ShapeError, match="20x24"):
        with_rendered(photographs(3, width=24), per_class=1, seed=0, progress=None)


def test_a_recipe_on_rendered_data_takes_no_more_of_them() -> None:
    with pytest.raises(UserError) as caught:
        load_recipe("natural_signs", overrides=["data.rendered=10"])
    assert any("data.rendered" in line for line in caught.value.problems) or "data.rendered" in str(caught.value)
