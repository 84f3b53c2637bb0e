"""Splits by group and by share: nothing on both sides, every class served, the seed decides."""

from __future__ import annotations

import numpy as np
import pytest

from edgexai.data.split_groups import split_groups
from edgexai.data.split_stratified import split_stratified
from edgexai.errors import ShapeError, UserError


def film(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """40 clips of 5 frames; a clip shows one to three of six classes."""
    rng = np.random.default_rng(seed)
    labels, groups = [], []
    for clip in range(40):
        shown = rng.choice(6, size=rng.integers(1, 4), replace=False)
        labels += rng.choice(shown, size=5).tolist()
        groups += [clip] * 5
    return np.array(labels), np.array(groups)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.4])
@pytest.mark.parametrize("seed", range(5))
def test_groups_lie_on_one_side_and_every_class_on_both(share: float, seed: int) -> None:
    labels, groups = film(seed)
    held = split_groups(labels, groups, share=share, seed=seed)
    assert not set(groups[held]) & set(groups[~held])
    assert set(labels[held]) == set(labels[~held]) == set(range(6))
    assert share / 2 < held.mean() < 2.5 * share
    order = np.random.default_rng(9).permutation(len(labels))
    assert np.array_equal(split_groups(labels[order], groups[order], share=share, seed=seed), held[order])
    others = [split_groups(labels, groups, share=share, seed=s) for s in range(10)]
    assert len({other.tobytes() for other in others}) > 5


def test_a_class_of_one_group_stays_where_it_is_learnt() -> None:
    labels, groups = np.array([0, 0, 1, 1, 2, 2]), np.array([5, 5, 6, 7, 6, 7])
    for seed in range(20):
        held = split_groups(labels, groups, share=0.4, seed=seed)
        assert not held[:2].any()
        assert held.sum() == 2
        assert set(groups[held]) in ({6}, {7})


def test_a_group_that_is_the_last_of_a_class_is_never_held_out() -> None:
    # Class 1 lies in group 0 alone; class 0 in both.
    labels, groups = np.array([0, 1, 0, 0]), np.array([0, 0, 1, 2])
    for seed in range(20):
        assert not split_groups(labels, groups, share=0.4, seed=seed)[:2].any()
    with pytest.raises(ShapeError):
        split_groups(labels, groups[:2], share=0.1, seed=0)


def test_shares_are_exact_and_classes_draw_by_themselves() -> None:
    labels = np.repeat(np.arange(4), [100, 40, 10, 2])
    held = split_stratified(labels, share=0.1, seed=3)
    assert np.bincount(labels[held]).tolist() == [10, 4, 1, 1]
    less = labels != 1
    assert np.array_equal(split_stratified(labels[less], share=0.1, seed=3), held[less])
    assert not np.array_equal(split_stratified(labels, share=0.1, seed=4), held)
    with pytest.raises(UserError, match="one training image"):
        split_stratified(np.array([0, 0, 1]), share=0.1, seed=0)
