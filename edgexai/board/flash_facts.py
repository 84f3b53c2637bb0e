"""Holds what a board says of itself against what a bundle needs and a target promises.

Convention: a fact the board cannot tell is named as not checked, never taken for granted and never taken for wrong;
a fact it tells that differs is a refusal. A bundle without a target goes to any board that meets its needs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgexai.config.target import Target

OLDEST_PYTHON = (3, 10)
SPARE_BYTES = 64 << 20
"""What a board's disk must keep free: engines and timing caches are some tens of megabytes."""


@dataclass(frozen=True)
class Findings:
    """What came of the comparison.

    Attributes:
        faults: what differs.
        unchecked: what the board did not tell.
    """

    faults: tuple[str, ...]
    unchecked: tuple[str, ...]


def compare_facts(facts: Mapping[str, Any], *, bundle_bytes: int, target: Target | None) -> Findings:
    """Compares before anything is sent.

    Args:
        facts: the board's own, from the tool's verb "facts".
        bundle_bytes: size of the bundle.
        target: what the board is meant to be; None where nothing is asked.
    """
    faults: list[str] = []
    unchecked: list[str] = []
    python = str(facts.get("python", ""))
    if _numbers(python)[:2] < OLDEST_PYTHON:
        faults.append(f"Python {python or 'unknown'}: the agent needs 3.10 or newer")
    if "numpy" not in facts.get("modules", {}):
        faults.append("NumPy is missing: sudo apt-get install python3-numpy")
    need = 3 * bundle_bytes + SPARE_BYTES  # the file, its contents, and what is built of them
    if int(facts.get("free_bytes", 0)) < need:
        faults.append(f"{facts.get('free_bytes', 0)} bytes are free on its disk; the bundle needs {need}")
    if target is None:
        return Findings(tuple(faults), tuple(unchecked))
    machine, model, l4t = (str(facts.get(key, "")) for key in ("machine", "model", "l4t"))
    if machine != target.machine:
        faults.append(f"it is {machine}, the target is {target.machine}")
    if not model:
        faults.append(f"it is no Jetson (no device-tree model), the target is {target.title}")
    elif not any(known in model for known in target.model):
        faults.append(f'it is "{model}", the target is {" or ".join(target.model)}')
    release = l4t_release(l4t)
    if not release:
        unchecked.append("Jetson Linux release")
    elif not any(_begins(release, wanted) for wanted in target.l4t):
        faults.append(f"Jetson Linux {release}, the target has {' or '.join(target.l4t)}")
    if python and not _begins(python, target.python):
        faults.append(f"Python {python}, the target has {target.python}")
    tensorrt = facts.get("modules", {}).get("tensorrt")
    if not tensorrt:
        faults.append(f"TensorRT's Python module is missing, the target has TensorRT {' or '.join(target.tensorrt)}")
    elif not _numbers(str(tensorrt)):
        unchecked.append("TensorRT's version")
    elif not any(_begins(str(tensorrt), wanted) for wanted in target.tensorrt):
        faults.append(f"TensorRT {tensorrt}, the target has {' or '.join(target.tensorrt)}")
    unchecked += ["CUDA", "compute capability", "DLA cores"]
    return Findings(tuple(faults), tuple(unchecked))


def l4t_release(line: str) -> str:
    """``# R36 (release), REVISION: 4.3, ...`` of /etc/nv_tegra_release -> "36.4.3"; "" where it is something else."""
    found = re.search(r"R(\d+) \(release\), REVISION: (\d+(?:\.\d+)*)", line)
    return f"{found[1]}.{found[2]}" if found else ""


def _begins(version: str, wanted: str) -> bool:
    """Whether a version is ``wanted`` or one below it: 36.4.3 begins with 36.4, 36.40 does not."""
    parts = _numbers(wanted)
    return _numbers(version)[: len(parts)] == parts


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()
