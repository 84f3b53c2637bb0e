"""Patch and sticker on probe images, made on the twin, each with the same print in random colours beside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from edgexai.attack.patch import patch
from edgexai.attack.physical import PhysicalResult
from edgexai.attack.sticker import sticker
from edgexai.probe.draw import probe_index
from edgexai.types import Differentiable, Images, Labels, Split

_LEARN = 512
"""Training images that the universal patch is learned on."""
Settings = dict[str, str | int | float]


def printed_attacks(
    net: Differentiable,
    images: torch.Tensor,
    labels: Labels,
    region: NDArray[np.bool_] | None,
    *,
    learn: Split,
    names: Sequence[str],
    area: float,
    steps: int,
    seed: int,
    exact: bool,
) -> tuple[dict[str, Images], Settings]:
    """Attacked images, and what they were made with.

    Args:
        net: the twin in eval mode.
        images: float32 (n,3,H,W) on its device.
        labels: (n,).
        region: bool (n,H,W), the sign; None = the whole image.
        learn: images that the patch is learned on: training images, so that none that are measured are.
        names: some of "patch", "sticker".
        area: of the print, as a share of the region.
        steps: of the optimisation.
        seed: of every draw.
        exact: the region is a mask, not a box.

    Returns:
        "patch@0.1", "patch-random@0.1" -> float32 (n,3,H,W), and settings for the probe set.
    """
    made: dict[str, Images] = {}
    told: Settings = {}
    true = torch.from_numpy(labels).to(images.device)
    for name in names:
        if name == "patch":
            some = learn.take(probe_index(learn.labels, _LEARN, seed=seed))
            on = torch.from_numpy(some.as_float()).to(images.device)
            of = torch.from_numpy(some.labels).to(images.device)
            found = patch(
                net, images, true, region=region, area=area, steps=steps, seed=seed, learn=(on, of, some.relevance())
            )
        else:
            found = sticker(net, images, true, region=region, area=area, steps=steps, seed=seed)
        made[f"{name}@{area:g}"], made[f"{name}-random@{area:g}"] = _plain(found.images), _plain(found.control)
        told |= {f"{name}_steps": steps, f"{name}_region": "image" if region is None else "mask" if exact else "box"}
        told |= _areas(name, found)
    return made, told


def _areas(name: str, found: PhysicalResult) -> Settings:
    of_region = found.area_of_region[np.isfinite(found.area_of_region)]
    return {
        f"{name}_area_of_region": round(float(of_region.mean()), 4) if len(of_region) else 0.0,
        f"{name}_area_of_image": round(float(found.changed.float().mean()), 4),
    }


def _plain(images: torch.Tensor) -> Images:
    out: Images = images.cpu().contiguous().numpy()
    return out
