"""Photographs and rendered signs in one training split.

A data set of few physical signs is learnt by heart; drawn signs of the same classes add views that no camera gave.
They only train: validation and test stay photographs.
"""

from __future__ import annotations

import numpy as np

from edgexai.data.rendered import RENDERER
from edgexai.errors import ShapeError
from edgexai.types import Progress, Split

_FIRST_TRACK = 100_000_000


def with_rendered(train: Split, *, per_class: int, seed: int, progress: Progress | None) -> Split:
    """The photographs, in their order, then ``per_class`` rendered images of each class.

    Rendered images have boxes, and tracks of one image each from 100,000,000 on, which tells them from photographs;
    their exact masks are dropped, as the photographs have none.

    Args:
        train: square images of GTSRB's 43 classes.
        seed: of the renderer.
        progress: told how many images are drawn.

    Raises:
        ShapeError: the images are not square.
    """
    height, width = train.images.shape[1:3]
    if height != width:
        raise ShapeError(f"images of {height}x{width} pixels; rendered signs are square")
    drawn: Split = RENDERER.load()(
        name="signs", size=height, per_class=per_class, seed=seed, progress=progress, stages=("train",)
    )["train"]
    return Split(
        train.name,
        np.concatenate([train.images, drawn.images]),
        np.concatenate([train.labels, drawn.labels]),
        np.concatenate([train.boxes, drawn.boxes]),
        np.concatenate([train.tracks, drawn.tracks + _FIRST_TRACK]),
    )
