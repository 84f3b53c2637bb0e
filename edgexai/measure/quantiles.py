"""Quantiles of the normal and of Student's distribution, without SciPy: a board has none.

Source: Abramowitz and Stegun 1964, 26.7.5 (Student's from the normal's, an expansion in 1 / degrees of freedom).
"""

from __future__ import annotations

from math import cos, pi, sin, sqrt, tan
from statistics import NormalDist

from edgexai.errors import UserError

_NORMAL = NormalDist()
_TERMS = 5
"""Fewest degrees of freedom at which the expansion is within 0.1 % for tails of 0.005 and more."""


def normal_cdf(z: float) -> float:
    """P(Z <= z)."""
    return _NORMAL.cdf(z)


def normal_quantile(p: float) -> float:
    """z with P(Z <= z) = p, for 0 < p < 1."""
    return _NORMAL.inv_cdf(p)


def student_quantile(p: float, freedom: int) -> float:
    """t with P(T <= t) = p.

    Args:
        p: in (0, 1); within 0.1 % for p in 0.005 to 0.995.
        freedom: degrees of freedom, at least 1; 1, 2 and 4 are closed forms, 3 is solved for.

    Raises:
        UserError: out of range.
    """
    if not 0 < p < 1 or freedom < 1:
        raise UserError(f"p = {p}, {freedom} degrees of freedom: needs 0 < p < 1 and at least 1")
    if p < 0.5:
        return -student_quantile(1 - p, freedom)
    if freedom == 1:
        return tan(pi * (p - 0.5))
    if freedom == 2:
        return (2 * p - 1) / sqrt(2 * p * (1 - p))
    if freedom < _TERMS:
        return _by_angle(p, freedom)
    z = normal_quantile(p)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / float(freedom**k) for k, term in enumerate(terms, start=1))


def _by_angle(p: float, freedom: int) -> float:
    """With t = sqrt(freedom) tan(a) the distribution for 3 and 4 is elementary in a; the bracket is halved 60 times."""
    low, high = 0.0, pi / 2
    for _ in range(60):
        a = (low + high) / 2
        inside = (
            2 / pi * (a + sin(a) * cos(a)) if freedom == 3 else sin(a) * (1 + cos(a) ** 2 / 2)
        )  # P(|T| <= t), A&S 26.7.3 and 26.7.4
        low, high = (a, high) if inside < 2 * p - 1 else (low, a)
    return sqrt(freedom) * tan((low + high) / 2)
