"""Model parameter randomisation (MPRT), top-down: how much of a map is left while the network forgets.

Source: Adebayo et al., NeurIPS 2018 (arXiv 1810.03292): layers are randomised from the output downwards, the map is
made again after each, and both are compared by rank correlation and SSIM. A map that stays does not explain the
network. Differs: the larger of the correlation of maps and of their absolute values counts (edges survive in either);
the networks' weights are shuffled (``explain.cascade``); SSIM is of maps scaled by their largest |value|. Rank
correlation falls only for maps that are not smooth (Hedstrom et al., TMLR 2024): read it beside the random map's, which
is 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError
from edgexai.measure.drift import map_rank_correlation
from edgexai.measure.ssim import ssim
from edgexai.types import Maps


class CascadeSimilarity(NamedTuple):
    """Per step and image (L,N); lower = the method looks at the network.

    Attributes:
        rank: the larger of two rank correlations, in [-1,1]; NaN where a map is constant.
        ssim: structural similarity, in [-1,1]; NaN where a map is all zero.
    """

    rank: NDArray[np.float64]
    ssim: NDArray[np.float64]


def cascade_similarity(maps: Maps, after: NDArray[np.float32]) -> CascadeSimilarity:
    """Maps of the network held against those of every randomised one.

    Args:
        maps: (N,H,W), of the network; not modified.
        after: (L,N,H,W), of the networks with ever more layers randomised.

    Raises:
        ShapeError, UserError: shapes do not fit together, L is 0, or maps are not finite.
    """
    if after.ndim != 4 or not len(after) or after.shape[1:] != maps.shape:
        raise ShapeError(f"maps after randomisation have shape {after.shape}; these maps need (L, {maps.shape})")
    magnitude = np.abs(maps)
    rank = np.stack([np.fmax(map_rank_correlation(maps, m), map_rank_correlation(magnitude, np.abs(m))) for m in after])
    return CascadeSimilarity(rank, np.stack([ssim(maps, m) for m in after]))
