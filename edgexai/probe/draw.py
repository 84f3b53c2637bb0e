"""Which images of a split are attacked and explained. NumPy only."""

from __future__ import annotations

import numpy as np

from edgexai.types import Labels


def probe_index(labels: Labels, n: int, *, seed: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """``n`` places (or all), in proportion to the classes, every class at least once, in a random order.

    The order is random so that any leading part is itself a fair sample.
    """
    rng = np.random.default_rng([seed, 11])
    order = rng.permutation(len(labels))
    if n >= len(labels):
        return order.astype(np.int64)
    ranked = labels[order]
    share = np.zeros(len(labels))
    for label in np.unique(labels):
        where = np.flatnonzero(ranked == label)
        # the k-th image of a class enters once n/N of its class has been due k + 1/2 times
        share[where] = (np.arange(len(where)) + 0.5) / len(where)
        share[where[0]] = -1.0
    picked = np.argsort(share, kind="stable")[:n]
    return order[np.sort(picked)].astype(np.int64)
