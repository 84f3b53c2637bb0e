"""Where a result was made: versions, commit, platform, machine.

Provenance: of these only the machine enters a key, that of timings. Versions come from package metadata, so that
nothing is imported.
"""

from __future__ import annotations

import os
import platform
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import edgexai

_PACKAGES = ("torch", "onnxruntime", "onnxruntime-gpu", "onnx", "numpy", "captum", "torch-pruning", "tensorrt")


@lru_cache(maxsize=1)
def environment() -> dict[str, str]:
    """Python, package versions, git commit ("" outside a checkout), platform and machine."""
    found = {"edgexai": edgexai.__version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {**found, "platform": platform.platform(), "machine": machine(), "git_commit": _git_commit()}


@lru_cache(maxsize=1)
def machine() -> str:
    """What timings depend on: processor, cores, accelerator. The host's name does not count."""
    parts = [_processor(), f"{os.cpu_count()} cores"]
    board = Path("/proc/device-tree/model")
    if board.is_file():
        parts.insert(0, board.read_text(errors="replace").strip("\0 \n"))
    for card in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        lines = card.read_text(errors="replace").splitlines()
        parts += [line.partition(":")[2].strip() for line in lines if line.startswith("Model")]
    return ", ".join(parts)


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _git_commit() -> str:
    """Commit of the checkout the package lies in, with "-dirty" where files differ; "" if there is none."""
    checkout = Path(edgexai.__file__).resolve().parent.parent
    if not (checkout / ".git").exists():
        return ""
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
