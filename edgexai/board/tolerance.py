"""The limits of the golden vectors, from how far rebuilt engines depart: good ones pass, at a stated error rate.

Of every statistic in ``golden.departure`` the limit is the largest of three:

1. One-sided normal tolerance limit over the repeated rebuilds (recalibrations): with 95 % confidence at most
   ``error_rate`` / number of statistics of all such rebuilds exceed it. Of the logarithm; of the value itself, and of
   both its tails, where a statistic has a sign. Factor: M. G. Natrella, Experimental Statistics (NBS Handbook 91,
   1963), ch. 2; also NIST/SEMATECH e-Handbook 7.2.6.3.
2. ``MARGIN`` times the largest value among the kinds that have no draw in them (threads, unfused, fp16): one value
   each, so a margin and no statistics.
3. ``FLOOR``: float32 itself, where every rebuild is bit for bit the same.

Of the disagreements: the smallest count that a good engine exceeds with probability ``error_rate`` / number, where its
rate is taken as the 95 % upper Clopper-Pearson bound of the worst rebuild, on the same number of images.
Workstation only: needs SciPy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, sqrt

import numpy as np
from scipy.stats import beta, binom, norm

from edgexai.board.golden import SIGNED
from edgexai.board.rebuilds import REPEATED
from edgexai.errors import UserError

ERROR_RATE = 1e-3
CONFIDENCE = 0.95
MARGIN = 3.0
FLOOR = 1e-4
_FEWEST = 4
"""Repeats below which the spread says nothing."""


def limits(
    found: Sequence[tuple[str, Mapping[str, float]]], *, n: int, error_rate: float = ERROR_RATE
) -> dict[str, float]:
    """Statistic -> the most that is accepted.

    Args:
        found: (kind, statistics) of each rebuild, all with the same statistics.
        n: golden images.
        error_rate: of refusing a good engine, over all statistics together.

    Raises:
        UserError: no rebuild, or repeated ones too few to say how far they spread.
    """
    if not found:
        raise UserError("no rebuilt engine: there is nothing to take a tolerance from")
    repeats = sum(kind in REPEATED for kind, _ in found)
    if 0 < repeats < _FEWEST:
        raise UserError(
            f"{repeats} recalibrations: {_FEWEST} or more say how far they spread", next_step="--rebuilds 8"
        )
    names = list(found[0][1])
    share = error_rate / len(names)
    out = {}
    for name in names:
        if name == "disagreements":
            out[name] = float(most_disagreements(int(max(s[name] for _, s in found)), n, error_rate=share))
            continue
        single = [abs(s[name]) for kind, s in found if kind not in REPEATED]
        drawn = [s[name] for kind, s in found if kind in REPEATED]
        candidates = [FLOOR, MARGIN * max(single, default=0.0)]
        if drawn:
            signed = name in SIGNED
            candidates.append(tolerance_limit(drawn, content=1 - share / (1 + signed), signed=signed))
        out[name] = max(candidates)
    return out


def most_disagreements(worst: int, n: int, *, error_rate: float) -> int:
    """The largest count that is accepted of n images, after ``worst`` of n in the worst rebuild.

    Raises:
        UserError: counts out of range.
    """
    if not 0 <= worst <= n or n < 1:
        raise UserError(f"{worst} disagreements of {n} images")
    upper = 1.0 if worst == n else float(beta.ppf(CONFIDENCE, worst + 1, n - worst))
    return int(binom.isf(error_rate, n, upper))


def tolerance_limit(values: Sequence[float], *, content: float, signed: bool = False) -> float:
    """What with 95 % confidence a share ``content`` of all draws stays below, taken as normal.

    Args:
        values: at least three.
        content: in (0, 1).
        signed: the values are normal and their size counts, on either side; else they are >= 0, zeros counting as
            ``FLOOR``, and their logarithm is normal.
    """
    given = np.asarray(values, np.float64)
    given = given if signed else np.log(np.maximum(given, FLOOR))
    factor = _factor(len(given), content)
    if signed:
        return abs(float(given.mean())) + factor * float(given.std(ddof=1))
    return exp(float(given.mean()) + factor * float(given.std(ddof=1)))


def _factor(n: int, content: float) -> float:
    z, c = float(norm.ppf(content)), float(norm.ppf(CONFIDENCE))
    a = 1 - c**2 / (2 * (n - 1))
    b = z**2 - c**2 / n
    if a <= 0:
        raise UserError(f"{n} values are too few for a tolerance limit", next_step="4 or more")
    return (z + sqrt(z**2 - a * b)) / a


def words(error_rate: float = ERROR_RATE) -> str:
    """The rule in one sentence, for ``golden.json``."""
    return (
        f"every statistic within its limit; limits let a share {error_rate:g} of good rebuilds fail, with "
        f"{CONFIDENCE:.0%} confidence (normal tolerance limit of the logarithm, {MARGIN:g} times the kinds that cannot "
        f"be repeated, at least {FLOOR:g}; disagreements by Clopper-Pearson and the binomial)"
    )
