"""How long ``edgexai recipe ls`` takes, as a user's shell sees it, and that it never loads torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import numpy as np

from edgexai.bench.line import Line, interleave, ratio_line
from edgexai.bench.workshop import Workshop
from edgexai.measure.median import median_interval

_LISTING = ("-c", "import sys; from edgexai.cli.main import main; sys.exit(main(['recipe', 'ls']))")
_AIM = "<= 0.4"


def imports(arguments: Sequence[str]) -> set[str]:
    """Top-level packages that a Python started with ``arguments`` loads, from ``-X importtime``.

    Raises:
        RuntimeError: it fails.
    """
    done = _python("-X", "importtime", *arguments)
    names = (line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:"))
    return {name.partition(".")[0] for name in names}


def listing_time(workshop: Workshop) -> list[Line]:
    """Two lines: seconds, and over an interpreter that does nothing."""
    times = interleave(
        {"listing": lambda: _python(*_LISTING), "bare": lambda: _python("-c", "pass")},
        rounds=workshop.settings.startup_runs,
    )
    loaded = imports(_LISTING)
    broken = "torch was imported" if "torch" in loaded else ""
    value, low, high, coverage = median_interval(np.asarray(times["listing"]))
    method = "subprocess from start to end, the entry point's own call; torch looked for in -X importtime."
    seconds = Line(
        "startup",
        "edgexai recipe ls, seconds",
        value,
        unit="s",
        low=low,
        high=high,
        coverage=coverage,
        n=len(times["listing"]),
        aim=_AIM,
        method=f"{method} {broken or 'torch was not imported'}.",
        detail={"packages_loaded": len(loaded), "torch_imported": int(bool(broken))},
        broken=broken,
    )
    ratio = ratio_line(
        "startup",
        "edgexai recipe ls / python that does nothing",
        times["listing"],
        times["bare"],
        threads=1,
        method="the same, in turn with python -c pass.",
    )
    return [seconds, ratio]


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"python {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-500:]}")
    return done
