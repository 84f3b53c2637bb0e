"""Holds out whole tracks for validation, class by class.

Frames of one track show one physical sign and are near-copies: a split by frame would put the answer on both sides.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError, UserError
from edgexai.types import Labels


def split_tracks(labels: Labels, tracks: NDArray[np.int64], *, share: float, seed: int) -> NDArray[np.bool_]:
    """Chooses the frames to hold out: ``max(1, round(share * tracks))`` tracks of every class.

    Each class draws from its own stream, so that adding a class moves no other class's split.

    Args:
        labels: (N,) class of each frame.
        tracks: (N,) track of each frame, unique over classes.
        share: of each class's tracks, in (0, 0.5).
        seed: of the draw.

    Returns:
        (N,) True where a frame is held out.

    Raises:
        ShapeError: the two arrays are not of one length and rank 1.
        UserError: a track is unknown, has two classes, or a class has fewer than two tracks.
    """
    if labels.ndim != 1 or labels.shape != tracks.shape:
        raise ShapeError(f"labels {labels.shape} and tracks {tracks.shape}: expected two arrays of one length")
    if (tracks < 0).any():
        raise UserError(f"{int((tracks < 0).sum())} images have no track; a split by track needs every track")
    pairs = np.unique(np.stack([tracks, labels], axis=1), axis=0)
    if len(pairs) != len(np.unique(tracks)):
        raise UserError("a track has frames of two classes; one physical sign has one class")
    held_out = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels):
        own = pairs[pairs[:, 1] == label, 0]
        if len(own) < 2:
            raise UserError(f"class {label} has one track only; a validation split by track needs two")
        n_held = max(1, round(share * len(own)))
        drawn = np.random.default_rng([seed, int(label)]).permutation(own)[:n_held]
        held_out |= np.isin(tracks, drawn)
    return held_out
