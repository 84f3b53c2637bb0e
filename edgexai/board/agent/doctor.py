"""``agent.pyz doctor``: what this board is and has, and, with ``--bundle``, whether that is enough."""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgexai.board.agent.sensors import clocks_mhz, power_mode, rails
from edgexai.board.manifest import FORMAT
from edgexai.board.unpack import check_unpacked
from edgexai.errors import MissingCapability

_OLDEST_PYTHON = (3, 10)


def doctor(asked: argparse.Namespace, answer: dict[str, Any]) -> None:
    """Fills ``answer["facts"]``; raises ``MissingCapability`` where the agent, or the bundle, cannot run here."""
    facts = board_facts(asked.state)
    answer["facts"] = facts
    problems = []
    if sys.version_info < _OLDEST_PYTHON:
        problems.append(f"Python {platform.python_version()}: the agent needs 3.10 or newer")
    if not facts["numpy"]:
        problems.append("NumPy is not installed: sudo apt-get install python3-numpy")
    usable = [name for name in ("tensorrt", "onnxruntime") if facts[name]]
    if not usable:
        problems.append("no runtime: neither TensorRT nor ONNX Runtime can be imported")
    if asked.runtime != "auto" and asked.runtime not in usable:
        problems.append(f"{asked.runtime} was asked for and is not here")
    if asked.bundle is not None:
        manifest = check_unpacked(asked.bundle)
        answer["bundle"] = {"name": manifest["name"], "seal": manifest["seal"], "target": manifest.get("target")}
        wanted = manifest["needs"].get("runtimes", [])
        if usable and not set(wanted) & set(usable):
            problems.append(f"the bundle runs on {' or '.join(wanted)}; here is {', '.join(usable)}")
    for name, value in facts.items():
        sys.stderr.write(f"{name:<14}{value if value not in ('', [], {}, None) else '-'}\n")
    if problems:
        raise MissingCapability(
            f"{len(problems)} need{'s are' if len(problems) > 1 else ' is'} not met here", problems=tuple(problems)
        )
    if facts["numpy"]:
        from edgexai.board.agent.runtime import chosen_runtime

        chosen = chosen_runtime(asked.runtime)
        answer["runtime"] = f"{chosen} {facts[chosen]}"


def board_facts(state: Path | None) -> dict[str, Any]:
    """What is here, by name; empty where it is not or cannot be told. Nothing large is imported.

    ``arch, model, l4t, python, numpy, onnxruntime, tensorrt, cuda_driver, cores, memory_mb, disk_free_mb, power_rails,
    power_mode, clocks_mhz, bundle_format``.
    """
    release = _text(Path("/etc/nv_tegra_release"))
    found = re.search(r"R(\d+).*?REVISION: ([\d.]+)", release)
    place = state
    while place is not None and not place.exists():
        place = place.parent
    return {
        "arch": platform.machine(),
        "model": _text(Path("/proc/device-tree/model")).strip("\0 \n"),
        "l4t": f"{found[1]}.{found[2]}" if found else "",
        "python": platform.python_version(),
        "numpy": _version("numpy"),
        "onnxruntime": _version("onnxruntime", "onnxruntime-gpu"),
        "tensorrt": _tensorrt(),
        "cuda_driver": _text(Path("/proc/driver/nvidia/version")).partition("\n")[0],
        "cores": len(os.sched_getaffinity(0)),
        "memory_mb": _memory_mb(),
        "disk_free_mb": shutil.disk_usage(place or Path.cwd()).free >> 20,
        "power_rails": [rail.label for rail in rails()],
        "power_mode": power_mode(),
        "clocks_mhz": clocks_mhz(),
        "bundle_format": FORMAT,
    }


def _tensorrt() -> str:
    """Version of a TensorRT that can run here."""
    if find_spec("numpy") is None or find_spec("tensorrt") is None:
        return ""
    from edgexai.board.agent.runtime import missing_tensorrt

    return "" if missing_tensorrt() else _version("tensorrt") or "unknown version"


def _version(module: str, *others: str) -> str:
    """Of the first of these packages that is installed; "unknown version" of a module without metadata."""
    for name in (module, *others):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "unknown version" if find_spec(module) is not None else ""


def _memory_mb() -> int:
    found = re.search(r"MemTotal:\s+(\d+) kB", _text(Path("/proc/meminfo")))
    return int(found[1]) >> 10 if found else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
