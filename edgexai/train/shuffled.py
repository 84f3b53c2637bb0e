"""A training split whose labels say nothing: the network for the sanity check by data randomisation.

Source: Adebayo et al., NeurIPS 2018 (arXiv 1810.03292), data randomisation: the true labels of all training images are
permuted among the images, so that classes keep their sizes; validation and test keep theirs. What such a network gets
right on its own labels is learnt by heart; a method that maps it as it maps the true network shows no reason.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgexai.types import Split


def shuffled_labels(split: Split, *, seed: int) -> Split:
    """The same images with their labels permuted.

    Args:
        split: not modified.
        seed: of the permutation.

    Returns:
        A split of the same name; every label occurs as often as before.
    """
    order = np.random.default_rng([seed, 23]).permutation(len(split))
    return replace(split, labels=split.labels[order])
