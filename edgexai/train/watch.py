"""Watches an adversarial training on validation images: PGD-10 after every epoch.

Single-step adversarial training can collapse within an epoch: accuracy under the step it trains on stays, accuracy
under PGD falls to nothing (Wong et al., arXiv 2001.03994). A fall below half of the best so far counts as that.
Test images are never looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from edgexai.attack.ball import Norm
from edgexai.models.base import Network
from edgexai.train.parallel import ALONE, Team
from edgexai.train.validate import robust_accuracy
from edgexai.types import Split

_STEPS, _COLLAPSE = 10, 0.5


class RobustWatch:
    """The same images and the same random start every epoch, so that epochs can be compared.

    Args:
        val: validation split, never the test split.
        n: images drawn from it once.
        eps, norm: of PGD, as ``train.perturb.Adversary`` has them.
        team: its first process looks, and all take its word, so that they stop together.

    Attributes:
        NOTES: what ``look`` keeps, before the first epoch.
    """

    NOTES: ClassVar[Mapping[str, float]] = {"best": 0.0, "best_epoch": 0.0, "collapsed": 0.0}

    def __init__(self, val: Split, *, n: int, eps: float, norm: Norm = "linf", seed: int, team: Team = ALONE) -> None:
        self._images = val.take(np.sort(np.random.default_rng([seed, 3]).permutation(len(val))[:n]))
        self._eps, self._norm, self._seed, self._team = eps, norm, seed, team

    def look(self, net: Network, notes: dict[str, float], *, epoch: int) -> float:
        """Robust accuracy now; writes what follows from it into ``notes``, which a checkpoint keeps.

        ``best`` is the best so far and ``best_epoch`` its epoch, counted from 1; ``collapsed`` is the epoch (from 1)
        that lost it, or 0.
        """
        robust = 0.0
        if self._team.leads:
            robust = robust_accuracy(net, self._images, eps=self._eps, norm=self._norm, steps=_STEPS, seed=self._seed)
        robust = self._team.first_number(robust)
        if robust < _COLLAPSE * notes["best"]:
            notes["collapsed"] = float(epoch + 1)
        if robust > notes["best"]:
            notes["best"], notes["best_epoch"] = robust, float(epoch + 1)
        return robust
