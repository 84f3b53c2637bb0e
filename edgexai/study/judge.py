"""A study's numbers: cells over seeds, differences from the baseline, claims and correlations with a verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from edgexai.config.column import parse_column
from edgexai.config.study import Claim, Correlation, Study, TableSpec
from edgexai.measure.paired_tests import holm
from edgexai.measure.stats import bootstrap_mean
from edgexai.study.collect import ArmSeed, find, per_image
from edgexai.study.seeds import OverSeeds, over_seeds, verdict

Found = Mapping[tuple[str, int], ArmSeed]
"""(arm, seed) -> what was measured."""


@dataclass(frozen=True)
class Cell:
    """One number of a table.

    Attributes:
        arm, column: where it stands.
        unit: of the value.
        n: images (or repetitions) behind each seed's value; 0 where it was not measured.
        value: over seeds; None where it was not measured for every seed.
        difference: from the baseline, paired by seed; None on the baseline's own line.
        p_holm: of the difference, corrected over the table; None without a difference or with one seed.
        flags: honesty rules that fired on any seed.
    """

    arm: str
    column: str
    unit: str
    n: int
    value: OverSeeds | None
    difference: OverSeeds | None
    p_holm: float | None
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Judged:
    """A claim or a correlation with its verdict.

    Attributes:
        source, says, theirs: of the study file.
        statistic: what was computed, in words.
        found: over seeds; None where a number is missing.
        verdict: "reproduced", "contradicted", "undecided", "not measured", "not defined", or "" where nothing is
            claimed.
        n: images behind each number, at least.
    """

    source: str
    says: str
    theirs: str
    statistic: str
    found: OverSeeds | None
    verdict: str
    n: int


def cells(spec: TableSpec, study: Study, found: Found) -> list[Cell]:
    """All cells of one table, line by line."""
    out: list[Cell] = []
    for arm in spec.arms or tuple(study.arms):
        for column in spec.columns:
            rows = [find(found[arm, seed], column) for seed in study.seeds]
            here = _values(found, study.seeds, arm, column)
            base = None if arm == study.baseline else _values(found, study.seeds, study.baseline, column)
            difference = over_seeds(np.subtract(here, base).tolist()) if here and base else None
            if difference is not None and len(study.seeds) == 1:
                pairs = [(arm, study.baseline, column)]
                difference = over_images(pairs, found, study.seeds[0]) or difference
            flags = tuple(sorted({flag for row in rows if row for flag in row.flags}))
            unit, n = next(((row.unit, row.n) for row in rows if row), ("", 0))
            value = over_seeds(here, within=_range(column, unit)) if here else None
            if value is not None and len(rows) == 1 and rows[0] is not None:
                value = replace(value, low=rows[0].low, high=rows[0].high)
            out.append(Cell(arm, column, unit, n, value, difference, None, flags))
    tested = [k for k, cell in enumerate(out) if cell.difference is not None and cell.difference.p is not None]
    adjusted = holm([p for k in tested if (d := out[k].difference) is not None and (p := d.p) is not None])
    for k, p in zip(tested, adjusted, strict=True):
        c = out[k]
        out[k] = Cell(c.arm, c.column, c.unit, c.n, c.value, c.difference, p, c.flags)
    return out


def judge(claim: Claim, study: Study, found: Found) -> Judged:
    """A claim's difference, averaged within each seed over its arms and columns, and the verdict over seeds."""
    signs = {"higher": ">", "lower": "<", "within": "about equal to"}
    statistic = f"mean of {', '.join(claim.columns)}: {' + '.join(claim.arms)} {signs[claim.direction]} {claim.against}"
    if claim.margin:
        statistic += f" ({'within' if claim.direction == 'within' else 'by more than'} {claim.margin:g})"
    per_seed, n = [], []
    for seed in study.seeds:
        parts: list[float] = []
        for column in claim.columns:
            other = find(found[claim.against, seed], column)
            rows = [find(found[arm, seed], column) for arm in claim.arms]
            if other is None or other.value is None:
                return Judged(claim.source, claim.says, claim.theirs, statistic, None, "not measured", 0)
            for row in rows:
                if row is None or row.value is None:
                    return Judged(claim.source, claim.says, claim.theirs, statistic, None, "not measured", 0)
                parts.append(row.value - other.value)
                n.append(min(row.n, other.n))
        per_seed.append(float(np.mean(parts)))
    seen = over_seeds(per_seed)
    if len(study.seeds) == 1:
        pairs = [(arm, claim.against, column) for column in claim.columns for arm in claim.arms]
        seen = over_images(pairs, found, study.seeds[0]) or seen
    said = verdict(seen, direction=claim.direction, margin=claim.margin)
    return Judged(claim.source, claim.says, claim.theirs, statistic, seen, said, min(n))


def over_images(pairs: Sequence[tuple[str, str, str]], found: Found, seed: int) -> OverSeeds | None:
    """The mean difference of one seed with a bootstrap interval over images: what there is without a second seed.

    Args:
        pairs: (arm, against, column) each; their differences are averaged image by image.
        found: what was measured.
        seed: of the study.

    Returns:
        None where a number has no values by image, or the numbers are not of the same images.
    """
    differences = []
    for arm, against, column in pairs:
        here, other = per_image(found[arm, seed], column), per_image(found[against, seed], column)
        if here is None or other is None or here.shape != other.shape:
            return None
        differences.append(here - other)
    if len({d.shape for d in differences}) != 1:
        return None
    values = np.mean(differences, axis=0)
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    mean, low, high = bootstrap_mean(values, seed=seed)
    return OverSeeds(mean, low, high, None, (mean,))


def correlate(pair: Correlation, study: Study, found: Found) -> Judged:
    """Spearman's correlation within each seed (over images: mean of the arms; over arms: one number), over seeds."""
    arms = pair.arms or tuple(study.arms)
    statistic = f"Spearman of {pair.x} and {pair.y} over {'images' if pair.over == 'images' else f'{len(arms)} arms'}"
    missing = Judged(pair.source, pair.says, pair.theirs, statistic, None, "not measured", 0)
    per_seed, n = [], []
    for seed in study.seeds:
        if pair.over == "arms":
            x = _values(found, [seed], arms, pair.x)
            y = _values(found, [seed], arms, pair.y)
            if x is None or y is None:
                return missing
            per_seed.append(spearman(x, y))
            n.append(len(x))
            continue
        parts = []
        for arm in arms:
            a, b = per_image(found[arm, seed], pair.x), per_image(found[arm, seed], pair.y)
            if a is None or b is None:
                return missing
            some = min(len(a), len(b))  # both start with the same images
            keep = np.isfinite(a[:some]) & np.isfinite(b[:some])
            parts.append(spearman(a[:some][keep].tolist(), b[:some][keep].tolist()))
            n.append(int(keep.sum()))
        per_seed.append(float(np.mean(parts)))
    if not np.isfinite(per_seed).all():
        return replace(missing, verdict="not defined", statistic=f"{statistic} (one of the two hardly varies)")
    seen = over_seeds(per_seed, within=(-1.0, 1.0))
    said = verdict(seen, direction=pair.direction, margin=0.0) if pair.direction else ""
    return Judged(pair.source, pair.says, pair.theirs, statistic, seen, said, min(n))


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Rank correlation with mean ranks for ties; NaN where one of them is constant or holds fewer than three values."""
    from scipy.stats import rankdata

    if len(x) < 3:
        return float("nan")
    a, b = rankdata(x), rankdata(y)
    if a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def _values(found: Found, seeds: Sequence[int], arms: str | Iterable[str], column: str) -> list[float] | None:
    """One value per seed and arm; None where any is missing."""
    names = [arms] if isinstance(arms, str) else list(arms)
    rows = [find(found[arm, seed], column) for arm in names for seed in seeds]
    values = [row.value for row in rows if row is not None and row.value is not None]
    return values if len(values) == len(rows) else None


def _range(column: str, unit: str) -> tuple[float, float]:
    """Where a value can lie at all: a fraction in 0 to 1, a difference of two fractions (a gap) in -1 to 1."""
    if unit != "fraction":
        return (-inf, inf)
    return (-1.0 if "gap" in parse_column(column)[0] or "aopc" in column else 0.0, 1.0)
