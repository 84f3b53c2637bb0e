"""Comprehensiveness and sufficiency: what the class loses without the top pixels, and with nothing but them.

Source: DeYoung et al., ERASER, ACL 2020: differences of the softmax probability, averaged over the shares 1, 5, 10, 20
and 50 % of the input. Here the input is pixels, a removed one takes a substrate's colour, and ties are broken at
random. Both follow the model's confidence: compare maps of one model, or divide by the probability of the whole image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError, UserError
from edgexai.measure.accuracy import logits_of
from edgexai.measure.deletion import probability
from edgexai.measure.faithfulness import removal_rank
from edgexai.measure.shapes import check_images
from edgexai.types import Images, Labels, Maps, Predict

SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)


class Sufficiency(NamedTuple):
    """Per image (N,), in [-1,1], means over the shares.

    Attributes:
        comprehensiveness: p(image) - p(without the top pixels); higher = the map found what is needed.
        sufficiency: p(image) - p(top pixels alone); lower = what the map found is enough.
        confidence: p(image), to divide by.
    """

    comprehensiveness: NDArray[np.float64]
    sufficiency: NDArray[np.float64]
    confidence: NDArray[np.float64]


def sufficiency(
    predict: Predict,
    images: Images,
    targets: Labels,
    maps: Maps,
    *,
    substrate: Images,
    seed: int,
    shares: Sequence[float] = SHARES,
    batch_size: int = 256,
) -> Sufficiency:
    """Both measures of every map; (2 len(shares) + 1) N forward passes.

    Args:
        predict: images -> logits.
        images: float32 (N,3,H,W) in [0,1]; not modified.
        targets: int64 (N,), the classes explained.
        maps: (N,H,W), signed; highest first; not modified.
        substrate: float32 (N,3,H,W), what removed pixels show (``deletion.substrate_images``).
        seed: of the tie-breaks.
        shares: of pixels, in (0,1), rounded to whole pixels, at least one.
        batch_size: images per call, at most.

    Returns:
        A ``Sufficiency``.

    Raises:
        ShapeError, UserError: inputs do not fit together, or are out of range.
    """
    check_images(images, targets, maps)
    if substrate.shape != images.shape:
        raise ShapeError(f"substrate {substrate.shape} is not of the images' shape {images.shape}")
    if not shares or not all(0 < share < 1 for share in shares):
        raise UserError(f"shares {tuple(shares)}: name some in (0, 1)")
    rank = removal_rank(images, maps, order="morf", seed=seed)[:, None]
    whole = probability(logits_of(predict, images, batch_size=batch_size), targets)
    needed, enough = np.zeros(len(images)), np.zeros(len(images))
    for share in shares:
        top = rank < max(1, round(share * rank[0].size))
        for found, pictures in ((needed, np.where(top, substrate, images)), (enough, np.where(top, images, substrate))):
            found += whole - probability(logits_of(predict, pictures, batch_size=batch_size), targets)
    return Sufficiency(needed / len(shares), enough / len(shares), whole)
