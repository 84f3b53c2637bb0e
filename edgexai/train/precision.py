"""Number formats of a training's forward passes: float32, or bfloat16 where torch deems it safe (CUDA only).

bfloat16 has the range of float32, so losses need no scaling and a checkpoint no scaler. Weights, optimiser and
validation stay in float32.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from edgexai.errors import MissingCapability


def autocast(precision: str, *, device: str) -> AbstractContextManager[object]:
    """To be entered around every forward pass of a training step; may be entered many times.

    Args:
        precision: "fp32" or "amp".
        device: e.g. "cpu" or "cuda:0".

    Raises:
        MissingCapability: "amp" on a device that is not CUDA; it is refused, never downgraded.
    """
    if precision == "fp32":
        return nullcontext()
    if not device.startswith("cuda"):
        raise MissingCapability(
            f'train.precision = "amp": mixed precision runs on CUDA only, this training on "{device}"',
            next_step='run with --device cuda, or set train.precision = "fp32"',
        )
    return torch.autocast("cuda", dtype=torch.bfloat16)
