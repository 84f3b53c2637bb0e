"""What the golden vectors catch: how often good engines pass and broken ones are refused, over many draws.

One try is a whole life of a bundle: golden images are drawn, limits are derived from some rebuilds, and engines that
had no part in them are judged. A recalibration is judged only where it was not used; of the kinds without a draw
(threads, fp16 ...) the one that is judged is left out of the limits. A kind that no bundle's limits come from
(re-exported) is judged, and never has a part in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgexai.board.golden import departure, map_departure
from edgexai.board.rebuilds import REPEATED, SINGLE
from edgexai.board.tolerance import limits
from edgexai.errors import UserError
from edgexai.measure.proportions import wilson
from edgexai.types import Logits


@dataclass(frozen=True)
class Answers:
    """What one engine says on the pool of images.

    Attributes:
        logits: (P,K).
        maps: (Q,3), ``golden.map_parts`` against the golden maps of the first Q images, or None.
    """

    logits: Logits
    maps: NDArray[np.float64] | None


@dataclass(frozen=True)
class Line:
    """One kind of engine.

    Attributes:
        kind: in words.
        good: whether it ought to pass.
        tries, refused: counts.
    """

    kind: str
    good: bool
    tries: int
    refused: int


def detection(
    golden: Logits,
    good: Mapping[str, Sequence[Answers]],
    bad: Mapping[str, Sequence[Answers]],
    *,
    n: int,
    n_maps: int,
    repeats: int,
    tries: int,
    seed: int,
) -> list[Line]:
    """The table, one line a kind.

    Args:
        golden: (P,K), of the deployed engine.
        good: kind -> engines that ought to pass; kinds of ``REPEATED`` need more than ``repeats`` of them.
        bad: kind -> engines that ought to be refused; a try takes one of them.
        n, n_maps: images of a golden draw.
        repeats: recalibrations behind the limits of a try.
        tries: draws.
        seed: of all draws.

    Raises:
        UserError: too few images or recalibrations.
    """
    drawn = [answers for kind in REPEATED for answers in good.get(kind, ())]
    pool_maps = min((len(a.maps) for of in good.values() for a in of if a.maps is not None), default=0)
    if n > len(golden) or (pool_maps and n_maps > pool_maps) or (drawn and len(drawn) <= repeats):
        raise UserError(
            f"{n} of {len(golden)} images, {n_maps} of {pool_maps} maps, {repeats} of {len(drawn)} recalibrations: "
            "a draw must leave some out"
        )
    rng = np.random.default_rng(seed)
    counts = {(kind, ok): [0, 0] for ok, of in ((True, good), (False, bad)) for kind in of}
    singles = {kind: of for kind, of in good.items() if kind not in REPEATED}
    for _ in range(tries):
        index = rng.permutation(len(golden))[:n]
        few = rng.permutation(pool_maps)[:n_maps]

        def statistics(
            answers: Answers, index: NDArray[np.int64] = index, few: NDArray[np.int64] = few
        ) -> dict[str, float]:
            found = departure(golden[index], answers.logits[index])
            return found | ({} if answers.maps is None else map_departure(answers.maps[few]))

        order = rng.permutation(len(drawn))
        behind = [("recalibrated", statistics(drawn[k])) for k in order[:repeats]]
        alone = [(kind, statistics(a)) for kind, of in singles.items() for a in of]
        counted = [(kind, s) for kind, s in alone if kind in SINGLE]
        allowed = limits([*behind, *counted], n=n)
        if drawn:
            count(counts["recalibrated", True], statistics(drawn[order[-1]]), allowed)
        for kind in singles:
            others = limits([*behind, *((k, s) for k, s in counted if k != kind)], n=n)
            for other, found in alone:
                if other == kind:
                    count(counts[kind, True], found, others)
        for kind, of in bad.items():
            count(counts[kind, False], statistics(of[int(rng.integers(len(of)))]), allowed)
    return [Line(kind, ok, total, refused) for (kind, ok), (total, refused) in counts.items()]


def count(into: list[int], found: Mapping[str, float], allowed: Mapping[str, float]) -> None:
    """One more engine judged."""
    into[0] += 1
    into[1] += any(not abs(value) <= allowed[name] for name, value in found.items())


def table(lines: Sequence[Line]) -> str:
    """Markdown, good engines first; refused share with its 95 % Wilson interval."""
    out = ["| engine | ought to | tries | refused | share | 95 % |", "|---|---|---|---|---|---|"]
    for line in lines:
        share = wilson(line.refused, line.tries)
        word = "pass" if line.good else "be refused"
        spread = f"{share.low:.2%} to {share.high:.2%}"
        out.append(f"| {line.kind} | {word} | {line.tries} | {line.refused} | {share.value:.2%} | {spread} |")
    return "\n".join(out) + "\n"
