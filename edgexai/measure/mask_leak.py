"""Does the *shape* of what is removed give the class away? A predictor that reads it cheats every removal metric.

Source: the class information leakage of Rong et al., ROAD, ICML 2022: a mask drawn from a map of class c may carry c
whatever the pixels show. Test, ours: image i's removal pattern is laid over another image j of another class. If the
predictor now says i's class more often than under a random pattern of the same size on the same image, the pattern
itself was read, and falls in deletion, ROAD or sufficiency say nothing about pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import UserError
from edgexai.measure.accuracy import logits_of
from edgexai.measure.faithfulness import removal_rank, remove
from edgexai.measure.shapes import check_images
from edgexai.types import Images, Labels, Maps, Predict

LEVELS = (0.2, 0.5)


def mask_leak(
    predict: Predict,
    images: Images,
    targets: Labels,
    maps: Maps,
    *,
    seed: int,
    levels: Sequence[float] = LEVELS,
    noise_std: float = 0.01,
    batch_size: int = 256,
) -> NDArray[np.float64]:
    """How much more often a foreign image goes over to i's class under i's pattern than under a random one.

    Args:
        predict: images -> logits.
        images: float32 (N,3,H,W) in [0,1]; not modified.
        targets: int64 (N,), the classes explained.
        maps: (N,H,W), signed; highest removed first; not modified.
        seed: of partners, tie-breaks, random patterns and noise.
        levels: fractions of pixels removed, in (0,1); the mean over them is returned.
        noise_std: of imputed pixels, in pixels of [0,1].
        batch_size: images per call, at most.

    Returns:
        (N,) in [-1,1]; about 0 = no leak; NaN where all images have one target.

    Raises:
        ShapeError, UserError: inputs do not fit together, or levels are out of range.
    """
    check_images(images, targets, maps)
    if not levels or not all(0 < level < 1 for level in levels):
        raise UserError(f"levels {tuple(levels)}: name some in (0, 1)")
    partner = foreign_partners(targets, seed=seed)
    alone = partner < 0
    others = images[np.where(alone, 0, partner)]
    pattern = removal_rank(images, maps, order="morf", seed=seed)
    control = removal_rank(images, None, order="random", seed=seed)
    leaks = np.zeros(len(images))
    for level in levels:
        own, random = (
            logits_of(predict, remove(others, rank, level=level, noise_std=noise_std, seed=seed), batch_size=batch_size)
            for rank in (pattern, control)
        )
        leaks += (own.argmax(1) == targets).astype(np.float64) - (random.argmax(1) == targets)
    return np.where(alone, np.nan, leaks / len(levels))


def foreign_partners(targets: Labels, *, seed: int) -> NDArray[np.int64]:
    """For every image the place of one of another target, drawn evenly; -1 where there is none."""
    rng = np.random.default_rng([seed, 53])
    order = rng.permutation(len(targets))
    found = np.full(len(targets), -1, np.int64)
    for index, start in enumerate(rng.integers(0, len(targets), len(targets))):
        turned = np.concatenate([order[start:], order[:start]])
        other = turned[targets[turned] != targets[index]]
        if len(other):
            found[index] = other[0]
    return found
