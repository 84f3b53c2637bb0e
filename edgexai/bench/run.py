"""Runs families of the bench, one after the other, in one temporary folder."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from edgexai.bench import FAMILIES
from edgexai.bench.line import Line
from edgexai.bench.settings import BenchSettings
from edgexai.bench.workshop import Workshop
from edgexai.errors import MissingCapability, UserError


def check_family(name: str) -> None:
    """Raises UserError where there is no family of this name."""
    if name not in FAMILIES:
        near = difflib.get_close_matches(name, FAMILIES, n=1)
        raise UserError(
            f'bench "{name}" is unknown' + (f'; did you mean "{near[0]}"?' if near else ""),
            next_step=f"edgexai bench, or one of: {', '.join(FAMILIES)}",
        )


def run_bench(
    names: Sequence[str],
    settings: BenchSettings,
    *,
    data_root: Path | None = None,
    starting: Callable[[str], None] | None = None,
) -> list[Line]:
    """The lines of the named families, in the order of ``FAMILIES``.

    Args:
        names: keys of ``FAMILIES``; none means all.
        data_root: where GTSRB may lie; else ``EDGEXAI_DATA``.
        starting: told each family's name before it runs.

    Returns:
        Their lines; a family that this machine cannot run is one skipped line with the remedy.

    Raises:
        UserError: an unknown name.
    """
    for name in names:
        check_family(name)
    lines: list[Line] = []
    with tempfile.TemporaryDirectory(prefix="edgexai-bench-") as folder:
        workshop = Workshop(settings, folder=Path(folder), data_root=data_root)
        for name, entry in FAMILIES.items():
            if names and name not in names:
                continue
            if starting:
                starting(name)
            try:
                lines += entry.load()(workshop)
            except MissingCapability as error:
                lines.append(Line(name, name, None, reason=f"{error.what}; {error.next_step}"))
    return lines
