"""The bench as text and as JSON: lines with their verdicts, the versions they hold for, and how each was measured."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edgexai import __version__
from edgexai.bench.line import Line

_PACKAGES = ("torch", "torchvision", "onnxruntime", "lime", "torch-pruning", "numpy")
_HEAD = ("what", "value", "interval", "n", "threads", "aim", "")


def versions() -> dict[str, str]:
    """What the figures hold for: machine, cores, load when asked, Python and packages ("absent" where not here)."""
    found = {"edgexai": __version__, "machine": _processor(), "cores": str(len(os.sched_getaffinity(0)))}
    found |= {"load": f"{os.getloadavg()[0]:.2f}", "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def as_data(lines: Sequence[Line], about: Mapping[str, str]) -> dict[str, Any]:
    """Plain data for JSON."""
    return {"versions": dict(about), "lines": [line.to_dict() for line in lines]}


def as_text(lines: Sequence[Line], about: Mapping[str, str]) -> str:
    """The table for a terminal, at most as wide as its longest description, with the methods below.

    Args:
        lines: in the order they are shown; their number leads to the method.
        about: from ``versions``.
    """
    cells = [_HEAD, *(_cells(line) for line in lines)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(_HEAD))]
    number = len(str(len(lines)))
    table = [
        f"{'' if index == 0 else index:>{number}}  "
        + "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip()
        for index, row in enumerate(cells)
    ]
    methods = [f"{index:>{number}}  {line.method or line.reason}" for index, line in enumerate(lines, 1)]
    met, aims = sum(line.verdict == "met" for line in lines), sum(bool(line.aim) for line in lines)
    skipped = sum(line.verdict == "skipped" for line in lines)
    close = sum(line.close for line in lines)
    return "\n".join(
        [
            ", ".join(f"{name} {value}" for name, value in about.items()),
            "",
            *table,
            "",
            f"{met} of {aims} aims met"
            + (f", {skipped} line(s) skipped" if skipped else "")
            + (f"; ~ marks {close} whose interval holds the aim" if close else ""),
            "Value: median over n rounds of the ratio within a round; interval: of that median, from order statistics. "
            "Of coverage: share of n simulated studies; interval: Clopper and Pearson's.",
            "",
            "How",
            *methods,
            "",
        ]
    )


def _cells(line: Line) -> tuple[str, ...]:
    if line.value is None:
        return (line.what, "-", "", "", str(line.threads), line.aim, "skipped")
    interval = ""
    if line.low is not None and line.high is not None and line.coverage is not None:
        interval = f"{_short(line.low)} .. {_short(line.high)} ({line.coverage:.0%})"
    unit = " s" if line.unit == "s" else ""
    verdict = line.verdict + (" ~" if line.close else "") + (f": {line.broken}" if line.broken else "")
    return (line.what, _short(line.value) + unit, interval, str(line.n), str(line.threads), line.aim, verdict)


def _short(value: float) -> str:
    """Three digits that count, and never rounded across an aim with two decimals."""
    return f"{value:.1f}" if value >= 100 else f"{value:.2f}" if value >= 10 else f"{value:.3f}"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
