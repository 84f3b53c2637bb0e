"""Power and energy as rows; where the board has no sensor, rows that say so and how to measure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgexai.board.agent.sensors import clocks_mhz, power_mode, rails, total_rail, watts_during
from edgexai.measure.latency import latency_ms
from edgexai.measure.subject import Subject
from edgexai.types import Images, Row

_SECONDS = 3.0
_BY_HAND = "on the board: sudo tegrastats --interval 100"


def power_rows(who: Subject, images: Images, *, root: Path = Path("/"), seconds: float = _SECONDS) -> list[Row]:
    """Watts of the whole module under one-image calls, millijoules an image, power mode and clocks.

    Args:
        who: the engine.
        images: (1,3,H,W), run again and again.
        root: in place of "/", for tests.
        seconds: of load.
    """
    words: dict[str, Any] = {
        "arm": who.arm, "artefact": who.artefact, "subject": "engine", "runtime": who.runtime, "split": "none",
    }  # fmt: skip
    found = rails(root)
    total = total_rail(found)
    rows = []
    if total is None:
        reason = f"no power sensor here; {_BY_HAND}"
        if found:
            reason = f"rails {', '.join(r.label for r in found)}: none is known to carry the whole module; {_BY_HAND}"
        for metric, unit in (("power_w", "W"), ("energy_mj", "mJ")):
            rows.append(
                Row(**words, metric=metric, value=None, unit=unit, n=0, status="not measured here", reason=reason)
            )
    else:
        samples = watts_during(total, lambda: who.predict(images), seconds=seconds)
        watts = float(np.mean(samples)) if samples else float("nan")
        detail: dict[str, str | int | float] = {"rail": total.label, "batch": 1, "load": "one image after another"}
        if not samples:
            reason = f"rail {total.label} stopped answering under load; {_BY_HAND}"
            rows.append(Row(**words, metric="power_w", value=None, unit="W", n=0, status="skipped", reason=reason))
        else:
            one = latency_ms(who.predict, images, batch=1, warmup=5, repeats=50).median_ms
            rows.append(Row(**words, metric="power_w", value=watts, unit="W", n=len(samples), detail=detail))
            rows.append(Row(**words, metric="energy_mj", value=watts * one, unit="mJ", n=len(samples), detail=detail))
    mode, clocks = power_mode(root), clocks_mhz(root)
    if not mode:
        reason = "nvpmodel tells no mode here; on the board: nvpmodel -q"
        rows.append(
            Row(
                **words,
                metric="power_mode",
                value=None,
                unit="unitless",
                n=0,
                status="not measured here",
                reason=reason,
            )
        )
    else:
        rows.append(Row(**words, metric="power_mode", value=float(mode), unit="unitless", n=1, interval="exact"))
    for name in ("cpu", "gpu"):
        shared: dict[str, Any] = {**words, "metric": "clock_mhz", "unit": "MHz", "detail": {"clock": name}}
        if name in clocks:
            rows.append(Row(**shared, value=clocks[name], n=1, interval="exact"))
        else:
            reason = f"the kernel shows no {name} clock here; on the board: sudo jetson_clocks --show"
            rows.append(Row(**shared, value=None, n=0, status="not measured here", reason=reason))
    return rows
