"""What importances that look at data are given: a few labelled training images."""

from __future__ import annotations

from dataclasses import dataclass

from edgexai.types import Split


@dataclass(frozen=True)
class Evidence:
    """Images that channels are scored on.

    Attributes:
        split: training images; ``attribution`` also reads its masks or boxes.
        eps: radius of the attack of ``robust``, in pixels of [0,1].
        batch_size: images per pass.
    """

    split: Split
    eps: float = 8 / 255
    batch_size: int = 64
