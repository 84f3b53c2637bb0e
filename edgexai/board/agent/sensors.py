"""What the board's own sensors say: power, power mode, clocks. What has no sensor is said to be absent, never guessed.

Sources: the INA3221 monitors that Jetson boards have on their supply rails, as the kernel shows them below
``/sys/bus/i2c/drivers/ina3221`` (``in<k>_label``, ``in<k>_input`` in mV, ``curr<k>_input`` in mA);
``/var/lib/nvpmodel/status`` and ``nvpmodel -q``; cpufreq and devfreq. Read from a folder in place of "/" in tests; on a
Jetson not executed yet.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

_TOTAL = ("VDD_IN", "VIN_SYS_5V0", "POM_5V_IN")
"""Rails that carry the whole module, by board generation."""
_PERIOD_S = 0.05


@dataclass(frozen=True)
class Rail:
    """One monitored supply rail: its label, and the files of millivolts and milliamperes."""

    label: str
    millivolts: Path
    milliamperes: Path

    def watts(self) -> float | None:
        """Now; None where the sensor does not answer."""
        try:
            return int(self.millivolts.read_text()) * int(self.milliamperes.read_text()) / 1e6
        except (OSError, ValueError):
            return None


def rails(root: Path = Path("/")) -> list[Rail]:
    """All rails that can be read, by label."""
    found = []
    for label in sorted(root.glob("sys/bus/i2c/drivers/ina3221*/*/hwmon/hwmon*/in*_label")):
        number = label.name.removeprefix("in").removesuffix("_label")
        try:
            name = label.read_text().strip()
        except OSError:
            continue
        rail = Rail(name, label.with_name(f"in{number}_input"), label.with_name(f"curr{number}_input"))
        if rail.watts() is not None:
            found.append(rail)
    return sorted(found, key=lambda rail: rail.label)


def total_rail(found: list[Rail]) -> Rail | None:
    """The rail of the whole module; None where no rail is known to be that."""
    return next((rail for name in _TOTAL for rail in found if rail.label == name), None)


def watts_during(rail: Rail, work: Callable[[], object], *, seconds: float) -> list[float]:
    """Samples of a rail every 50 ms while ``work`` is called again and again for ``seconds``, its end aside."""
    samples: list[float] = []
    over = threading.Event()

    def sample() -> None:
        while not over.wait(_PERIOD_S):
            value = rail.watts()
            if value is not None:
                samples.append(value)

    reader = threading.Thread(target=sample, daemon=True)
    end = monotonic() + seconds
    reader.start()
    try:
        while monotonic() < end:
            work()
    finally:
        over.set()
        reader.join()
    return samples


def power_mode(root: Path = Path("/")) -> str:
    """The number of the nvpmodel mode, e.g. "2"; empty where the board has none, or tells none."""
    try:
        said = (root / "var/lib/nvpmodel/status").read_text()
    except OSError:
        said = ""
    if not said and root == Path("/") and shutil.which("nvpmodel") is not None:
        with suppress(OSError, subprocess.TimeoutExpired):
            asked = ["nvpmodel", "-q"]
            said = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=False).stdout
    return mode_number(said)


def mode_number(said: str) -> str:
    """Of ``pmode:0002 fmode:quiet``, or of a line that is a number alone, as ``nvpmodel -q`` ends; "" of all else."""
    found = re.search(r"pmode:(\d+)", said) or re.search(r"^(\d+)$", said, re.MULTILINE)
    return str(int(found[1])) if found else ""


def clocks_mhz(root: Path = Path("/")) -> dict[str, float]:
    """ "cpu" (the fastest core now) and "gpu", where the kernel shows them."""
    found: dict[str, float] = {}
    for name, pattern, per_mhz in (
        ("cpu", "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq", 1e3),
        ("gpu", "sys/class/devfreq/*gpu*/cur_freq", 1e6),
        ("gpu", "sys/class/devfreq/*.g[abv]*/cur_freq", 1e6),
    ):
        values = []
        for path in root.glob(pattern):
            try:
                values.append(int(path.read_text()) / per_mhz)
            except (OSError, ValueError):
                continue
        if values:
            found.setdefault(name, max(values))
    return found
