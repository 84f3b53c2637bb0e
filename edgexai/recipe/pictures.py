"""The signs a report shows: right, wrong and fooled ones, with the maps of twin and engine.

Convention: "right" and "wrong" are decisions of the deployed engine on the clean image; "fooled" is right on the clean
image and wrong on the attacked one, which is the twin's strongest attack of the probes, transferred.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgexai.config.pixels import pixels
from edgexai.measure.accuracy import logits_of
from edgexai.measure.replay import ON_ENGINE
from edgexai.probe.probe_set import ProbeSet
from edgexai.types import Maps, Predict, Split

PICTURES = 24
_ATTACKS = ("pgd", "apgd-ce", "apgd-dlr", "fgsm")


def write_pictures(split: Split, probes: ProbeSet, run: Predict, engine_maps: Mapping[str, Maps], path: Path) -> None:
    """Writes ``path``: a quarter wrong decisions, a quarter fooled ones, then one sign of each class.

    Args:
        split: that the probes were drawn from.
        probes: maps, targets and attacked images of the twin.
        run: the deployed engine.
        engine_maps: explainer -> (m,H,W), made by the engine itself.
        path: pictures/<arm>.npz; see docs/architecture.md for what is in it.
    """
    n = min(len(probes.targets), len(probes.maps["lime"])) if "lime" in probes.maps else len(probes.targets)
    labels = probes.labels[:n]
    decided = logits_of(run, probes.images[:n]).argmax(1)
    attack = _strongest(probes, n)
    attacked = decided if attack is None else logits_of(run, probes.attacked[attack][:n]).argmax(1)
    wrong = np.flatnonzero(decided != labels)[: PICTURES // 4]
    fooled = np.flatnonzero((decided == labels) & (attacked != labels))[: PICTURES // 4]
    rest = np.setdiff1d(np.arange(n), np.concatenate([wrong, fooled]))
    _, firsts = np.unique(labels[rest], return_index=True)
    chosen = np.concatenate([wrong, fooled, np.sort(rest[firsts])])[:PICTURES].astype(np.int64)
    signs = split.take(probes.index[chosen])
    arrays: dict[str, Any] = {
        "images": signs.images,
        "labels": signs.labels,
        "boxes": signs.boxes,
        "pred_twin": probes.targets[chosen],
        "pred_engine": decided[chosen],
    }
    if attack is not None:
        shown = np.rint(probes.attacked[attack][chosen].transpose(0, 2, 3, 1) * 255).astype(np.uint8)
        arrays |= {"attacked": shown, "pred_attacked": attacked[chosen], "attack": np.array(attack)}
    arrays |= {f"twin__{name}": values[chosen] for name, values in probes.maps.items()}
    arrays |= {f"engine__{name}": engine_maps[name][chosen] for name in ON_ENGINE if name in engine_maps}
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def _strongest(probes: ProbeSet, n: int) -> str | None:
    """ "pgd@8/255": the strongest kind that covers the first ``n`` images, at its largest eps; None without any."""
    found = [name for name, images in probes.attacked.items() if len(images) >= n]
    for kind in _ATTACKS:
        of_kind = [name for name in found if name.split("@")[0] == kind]
        if of_kind:
            return max(of_kind, key=lambda name: pixels(name.split("@")[1]))
    return None
