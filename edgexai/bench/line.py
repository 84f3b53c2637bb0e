"""One line of the bench table: a ratio of two things timed in turn within one run, and the aim it is held against.

Convention: the value is the median over rounds of (time of the one / time of the other) *within a round*, so that a
machine that slows down slows both; the interval is of that median, from order statistics (no shape of distribution is
assumed), at least 95 % where there are enough rounds, else from the smallest to the largest with its true coverage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import ShapeError, UserError
from edgexai.measure.median import median_interval

Seconds = NDArray[np.float64]
"""(n,): one per round."""


@dataclass(frozen=True)
class Line:
    """One claim.

    Attributes:
        family: key of ``bench.FAMILIES``.
        what: what stands over what, in words.
        value: None where it was skipped.
        unit: "ratio", "s", or "share" (of simulated studies).
        low, high: interval of the median; ``coverage`` is its exact confidence.
        n: rounds.
        threads: of each side.
        aim: ">= 10", "<= 1.25", "1 +- 0.1" (at most that far off) or "" where there is none.
        method: how both sides were run.
        detail: medians in ms and whatever else defines the number.
        reason: why it was skipped and what would run it; "" otherwise.
        broken: a condition beside the number that does not hold; "" otherwise. Such a line never meets its aim.
    """

    family: str
    what: str
    value: float | None
    unit: str = "ratio"
    low: float | None = None
    high: float | None = None
    coverage: float | None = None
    n: int = 0
    threads: int = 1
    aim: str = ""
    method: str = ""
    detail: Mapping[str, str | int | float] = field(default_factory=dict)
    reason: str = ""
    broken: str = ""

    @property
    def verdict(self) -> str:
        """ "met", "missed", "skipped", or "" without an aim; decided on the value, not on the interval."""
        if self.value is None:
            return "skipped"
        if not self.aim:
            return ""
        return "met" if holds(self.aim, self.value) and not self.broken else "missed"

    @property
    def close(self) -> bool:
        """Whether the aim lies inside the interval, so that another run may decide otherwise."""
        if not self.aim or self.low is None or self.high is None:
            return False
        inside = [holds(self.aim, v) for v in (self.low, self.value, self.high) if v is not None]
        return any(inside) and not all(inside)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with the verdict."""
        return {**self.__dict__, "detail": dict(self.detail), "verdict": self.verdict, "close": self.close}


def holds(aim: str, value: float) -> bool:
    """Whether ``value`` keeps to ``">= 10"``, ``"<= 1.25"`` or ``"1 +- 0.1"``.

    Raises:
        UserError: another form.
    """
    middle, between, reach = aim.partition(" +- ")
    if between:
        return abs(value - float(middle)) <= float(reach)
    sign, _, bound = aim.partition(" ")
    if sign not in (">=", "<="):
        raise UserError(f'aim "{aim}": write ">= 10", "<= 1.25" or "1 +- 0.1"')
    return value >= float(bound) if sign == ">=" else value <= float(bound)


def interleave(sides: Mapping[str, Callable[[], object]], *, rounds: int, warmup: int = 1) -> dict[str, Seconds]:
    """Times every side once per round, in turn: A B A B ...

    Args:
        sides: name -> a piece of work.
        rounds: timed, at least 1.
        warmup: rounds thrown away.

    Returns:
        name -> (rounds,) seconds.

    Raises:
        UserError: counts out of range.
    """
    if rounds < 1 or warmup < 0:
        raise UserError(f"rounds = {rounds}, warmup = {warmup}: at least 1 and 0")
    times = {name: np.empty(rounds) for name in sides}
    for number in range(-warmup, rounds):
        for name, work in sides.items():
            before = perf_counter()
            work()
            elapsed = perf_counter() - before
            if number >= 0:
                times[name][number] = elapsed
    return times


def ratio_line(
    family: str,
    what: str,
    over: Seconds,
    under: Seconds,
    *,
    threads: int,
    method: str,
    aim: str = "",
    divide_by: float = 1.0,
    detail: Mapping[str, str | int | float] | None = None,
) -> Line:
    """The line of ``over / under``, both timed in the same rounds.

    Args:
        over, under: (n,) seconds each.
        divide_by: an exact number the ratio is divided by, e.g. the MACs ratio.

    Raises:
        ShapeError: lengths differ.
    """
    if over.shape != under.shape:
        raise ShapeError(f"times of shapes {over.shape} and {under.shape}; both sides are timed in the same rounds")
    value, low, high, coverage = median_interval(over / under / divide_by)
    medians = {"over_ms": 1000 * float(np.median(over)), "under_ms": 1000 * float(np.median(under))}
    return Line(
        family,
        what,
        value,
        low=low,
        high=high,
        coverage=coverage,
        n=len(over),
        threads=threads,
        aim=aim,
        method=method,
        detail={**medians, **(detail or {})},
    )
