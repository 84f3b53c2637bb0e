"""Whether memory stays flat over epochs: peak resident size of a training, in a process of its own.

Convention: the kernel's high-water mark (VmHWM), set back after every epoch, so that the start-up's own peak hides
nothing; the highest of the last epochs' peaks over the highest of the first three. Linux only.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgexai.bench.line import Line
from edgexai.bench.workshop import SEED, Workshop
from edgexai.errors import MissingCapability
from edgexai.models.arch import Arch
from edgexai.models.store import build
from edgexai.train.adversarial import AdversarialSettings, fit_adversarial
from edgexai.train.loop import LoopSettings
from edgexai.train.natural import fit_natural
from edgexai.train.perturb import Adversary
from edgexai.types import Split

_EARLY, _LATE, _SHARE, _MIB = 3, 3, 0.02, 16.0
_WIDTH, _BATCH, _SIZE, _CLASSES = 16, 32, 32, 2
_EPS = 1e-6  # too small to change a verdict: memory does not depend on it, and the watch for collapse does
_IMAGES = {"train": 256, "val": 64}
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def memory_over_epochs(workshop: Workshop) -> list[Line]:
    """Two lines: a small natural training and a small adversarial one."""
    epochs = workshop.settings.memory_epochs
    return [memory_line(method, peaks_of(method, epochs=epochs)) for method in ("natural", "adversarial")]


def memory_line(method: str, peaks: Sequence[float]) -> Line:
    """The line of one training.

    Args:
        peaks: MiB, one per epoch, at least six.
    """
    early, late = max(peaks[:_EARLY]), max(peaks[-_LATE:])
    allowed = max(early * _SHARE, _MIB)
    return Line(
        "memory",
        f"peak memory, last epochs / first, {method}, signnet",
        late / early,
        n=len(peaks),
        aim=f"<= {1 + allowed / early:.3f}",
        method=(
            f"signnet with {_WIDTH} channels a layer, noise, batch {_BATCH}, {len(peaks)} epochs in a process "
            f"of its own: highest peak of the last {_LATE} over that of the first {_EARLY}; the aim is "
            f"{_SHARE:.0%} or {_MIB:g} MiB more, whichever is more."
        ),
        detail={"early_mib": early, "late_mib": late},
    )


def peaks_of(method: str, *, epochs: int) -> list[float]:
    """MiB per epoch of ``train_and_watch(method)``, run in a fresh Python.

    Raises:
        MissingCapability: the kernel does not tell.
        RuntimeError: the training failed.
    """
    if not _STATUS.is_file() or not _RESET.exists():
        raise MissingCapability("peak memory: there is no /proc/self/clear_refs here", next_step="run this on Linux")
    code = f"from edgexai.bench.memory import train_and_watch; train_and_watch({method!r}, epochs={epochs})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{method} training for its memory ended with {done.returncode}: {done.stderr[-500:]}")
    peaks: list[float] = json.loads(done.stdout)
    if len(peaks) != epochs:
        raise RuntimeError(f"{method} training for its memory ended after {len(peaks)} of {epochs} epochs")
    return peaks


def train_and_watch(method: str, *, epochs: int, after_epoch: Callable[[], None] | None = None) -> None:
    """Trains a small network and writes the peak of every epoch (MiB) to standard output, as JSON.

    Args:
        method: "natural" or "adversarial".
        after_epoch: called at the end of every epoch, before its peak is read.
    """
    torch.set_num_threads(1)
    splits = {name: _noise(name, n) for name, n in _IMAGES.items()}
    arch = Arch("signnet", (_WIDTH,) * 8, _CLASSES, _SIZE, (0.5,) * 3, (0.25,) * 3)
    peaks: list[float] = []

    def note(event: Mapping[str, Any]) -> None:
        if event["what"] == "epoch":
            if after_epoch:
                after_epoch()
            peaks.append(_peak_mib())
            _RESET.write_text("5")  # the high-water mark becomes what is resident now

    plain = LoopSettings(epochs=epochs, batch_size=_BATCH, lr=0.02, weight_decay=5e-4, weight_average=0.999)
    with tempfile.TemporaryDirectory(prefix="edgexai-memory-") as folder:
        net, work, train, val = build(arch, seed=SEED), Path(folder), splits["train"], splits["val"]
        _RESET.write_text("5")
        if method == "natural":
            fit_natural(net, train, val, settings=plain, seed=SEED, work=work, progress=note)
        else:
            attacking = AdversarialSettings(plain, Adversary(_EPS))
            fit_adversarial(net, train, val, settings=attacking, seed=SEED, work=work, progress=note)
    sys.stdout.write(json.dumps(peaks))


def _noise(name: str, n: int) -> Split:
    """Nothing that must be decoded or rendered first: memory that this leaves free would take in a leak unseen.

    Of two classes: at chance their accuracy does not halve, which would end the adversarial training.
    """
    rng = np.random.default_rng(SEED)
    images = rng.integers(0, 256, (n, _SIZE, _SIZE, 3), dtype=np.uint8)
    unknown = np.full((n, 4), np.nan, np.float32)
    numbers = np.arange(n, dtype=np.int64)
    return Split(name, images, numbers % _CLASSES, unknown, numbers)


def _peak_mib() -> float:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024
