"""The validation split by track."""

from __future__ import annotations

import numpy as np
import pytest

from edgexai.data.split_tracks import split_tracks
from edgexai.errors import ShapeError, UserError


def frames(tracks_per_class: list[int], n_frames: int = 3) -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat(np.arange(len(tracks_per_class)), [n * n_frames for n in tracks_per_class])
    tracks = np.concatenate(
        [label * 1000 + np.repeat(np.arange(n), n_frames) for label, n in enumerate(tracks_per_class)]
    )
    return labels.astype(np.int64), tracks.astype(np.int64)


def test_counts_are_the_formula() -> None:
    sizes = [2, 4, 7, 14, 16, 75]
    labels, tracks = frames(sizes)
    held = split_tracks(labels, tracks, share=0.1, seed=0)
    for label, n in enumerate(sizes):
        own = held & (labels == label)
        assert len(np.unique(tracks[own])) == max(1, round(0.1 * n))
    assert not set(tracks[held].tolist()) & set(tracks[~held].tolist())


def test_seed_repeats_and_matters_and_order_does_not() -> None:
    labels, tracks = frames([30, 30])
    first = split_tracks(labels, tracks, share=0.2, seed=5)
    np.testing.assert_array_equal(first, split_tracks(labels, tracks, share=0.2, seed=5))
    assert (first != split_tracks(labels, tracks, share=0.2, seed=6)).any()
    shuffled = np.random.default_rng(0).permutation(len(labels))
    np.testing.assert_array_equal(split_tracks(labels[shuffled], tracks[shuffled], share=0.2, seed=5), first[shuffled])


def test_a_class_more_moves_no_other_class() -> None:
    labels, tracks = frames([30, 20, 10])
    held = split_tracks(labels, tracks, share=0.2, seed=5)
    fewer = labels < 2
    np.testing.assert_array_equal(split_tracks(labels[fewer], tracks[fewer], share=0.2, seed=5), held[fewer])


def test_every_track_is_drawn_by_some_seed() -> None:
    labels, tracks = frames([10])
    drawn = {int(tracks[split_tracks(labels, tracks, share=0.1, seed=seed)][0]) for seed in range(100)}
    assert drawn == set(range(10))


def test_bad_input() -> None:
    labels, tracks = frames([3, 3])
    with pytest.raises(ShapeError):
        split_tracks(labels, tracks[:-1], share=0.1, seed=0)
    with pytest.raises(UserError, match="one track only"):
        split_tracks(*frames([3, 1]), share=0.1, seed=0)
    with pytest.raises(UserError, match="have no track"):
        split_tracks(labels, np.where(tracks == 1, -1, tracks), share=0.1, seed=0)
    with pytest.raises(UserError, match="two classes"):
        split_tracks(labels, tracks % 1000, share=0.1, seed=0)
