"""Which classes of a data set another one does not have, by their names. Torch-free.

Convention: names are compared by their letters and digits alone, so "keep right" and "keepRight" are one class. A sign
that two sets call by different words ("school", "children") passes as unknown: choose a set that is far enough away.
"""

from __future__ import annotations

from collections.abc import Sequence


def unknown_classes(known: Sequence[str], other: Sequence[str]) -> tuple[int, ...]:
    """Labels of ``other`` whose names do not occur in ``known``, rising.

    Args:
        known: class names of the set that was trained on.
        other: class names of the set whose images shall be unknown.
    """
    here = {_bare(name) for name in known}
    return tuple(label for label, name in enumerate(other) if _bare(name) not in here)


def _bare(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())
