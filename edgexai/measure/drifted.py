""" "Why did it change its mind?": the images whose maps moved most from one step of the ledger to the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexai.measure.drift import map_rank_correlation
from edgexai.measure.ledger import Step

_FIRST = ("cam", "gradcam", "ig", "lime", "smoothgrad", "vg")
"""Which explainer's maps are shown, where several are compared: the smoother ones are easier to read."""
_SEEN = 0.01
"""A map that moved less looks the same."""


def drifted(
    steps: Sequence[Step], images: NDArray[np.uint8], labels: NDArray[np.int64], *, per_step: int = 4
) -> dict[str, NDArray[Any]]:
    """The arrays of pictures/drift_<arm>.npz.

    Args:
        steps: as of the ledger; floors are left out.
        images: uint8 (n,H,W,3), the images that the steps' first maps explain.
        labels: (n,).
        per_step: images kept of every step, at most: those that moved by 0.01 or were decided otherwise.

    Returns:
        images, labels, pred_before, pred_after (k,), map_before and map_after float32 (k,H,W), drift float64 (k,)
        (1 - rank correlation; 1 where a map is constant), step ("fp32 -> int8-tensorrt") and explainer as text (k,):
        most drift first. Images with another decision are among them: their maps explain two classes. Empty where
        nothing is compared.
    """
    by_name = {step.name: step for step in steps}
    kept: list[dict[str, Any]] = []
    for step in steps:
        other = by_name.get(step.before)
        shared = [name for name in _FIRST if other and name in step.maps and name in other.maps]
        if step.floor or other is None or not shared:
            continue
        explainer = shared[0]
        m = min(len(step.maps[explainer]), len(other.maps[explainer]), len(images))
        after, before = step.maps[explainer][:m], other.maps[explainer][:m]
        drift = 1 - np.nan_to_num(map_rank_correlation(after, before), nan=0.0)
        turned = other.logits[:m].argmax(1) != step.logits[:m].argmax(1)
        order = np.argsort(-drift, kind="stable")[:per_step]
        for place in order[turned[order] | (drift[order] >= _SEEN)].tolist():
            kept.append(
                {
                    "images": images[place],
                    "labels": labels[place],
                    "pred_before": other.logits[place].argmax(),
                    "pred_after": step.logits[place].argmax(),
                    "map_before": before[place].astype(np.float32),
                    "map_after": after[place].astype(np.float32),
                    "drift": drift[place],
                    "step": f"{other.name} -> {step.name}",
                    "explainer": explainer,
                }
            )
    kept.sort(key=lambda found: -found["drift"])
    return {} if not kept else {name: np.stack([np.asarray(found[name]) for found in kept]) for name in kept[0]}
