"""One random stream per image, keyed by the seed, the purpose and the image's own bytes.

So a result does not depend on how the images were batched or ordered, and an engine and its twin, given the same
images, meet the same draws: their difference is then paired. Two identical images share their draws.
"""

from __future__ import annotations

import hashlib

import numpy as np

from edgexai.types import Images


def image_streams(images: Images, *, seed: int, purpose: str) -> list[np.random.Generator]:
    """Independent generators, one per image.

    Args:
        images: float32 (N,3,H,W); not modified.
        seed: of the whole experiment.
        purpose: what is drawn; two purposes never share numbers.

    Returns:
        N generators.
    """
    prefix = f"{seed}:{purpose}:".encode()
    streams = []
    for image in images:
        digest = hashlib.blake2b(prefix + np.ascontiguousarray(image).tobytes(), digest_size=16).digest()
        streams.append(np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little"))))
    return streams
