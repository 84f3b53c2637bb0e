"""Random sign noise of an attack's own norm: the control every robust accuracy is read beside. NumPy only."""

from __future__ import annotations

import numpy as np

from edgexai.attack.ball import check_attack_input, clip_to_ball
from edgexai.attack.stream import image_streams
from edgexai.types import Images


def noise(images: Images, *, eps: float, seed: int) -> Images:
    """Every channel of every pixel moved by +eps or -eps with equal chance, then clipped to [0,1].

    Args:
        images: float32 (N,3,H,W) in [0,1]; not modified.
        eps: radius in pixels of [0,1].
        seed: keyed with each image's bytes, so batching does not change the result.

    Returns:
        float32 (N,3,H,W), in the ball and in [0,1].

    Raises:
        ShapeError, UserError: see ``check_attack_input``.
    """
    check_attack_input(images, None, eps=eps)
    out = np.empty_like(images)
    for index, stream in enumerate(image_streams(images, seed=seed, purpose="noise")):
        signs = stream.integers(0, 2, size=images.shape[1:], dtype=np.int8) * 2 - 1
        out[index] = images[index] + np.float32(eps) * signs.astype(np.float32)
    return clip_to_ball(out, images, eps=eps)
