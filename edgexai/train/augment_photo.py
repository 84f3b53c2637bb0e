"""Augmentation of photographs whose mirror image keeps its class: flip and shift, as is usual for CIFAR.

Source: He et al. 2016, section 4.2 (4 pixels of padding at 32 px, a random crop, a horizontal flip). Convention: what a
shift uncovers is mirrored at the border instead of black, which no camera makes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edgexai.train.share import Share

_SHIFT = 0.125


def augment_photo(
    images: Tensor,
    generator: torch.Generator,
    *,
    strength: float = 1.0,
    marked: Tensor | None = None,
    share: Share | None = None,
) -> tuple[Tensor, Tensor | None]:
    """A copy, each image mirrored with chance strength / 2 and shifted by whole pixels.

    Args:
        images: (N,3,H,W) in [0,1]; not modified.
        generator: CPU generator; all draws come from it.
        strength: scales the largest shift (an eighth of the side) and the chance of a mirror; 0 changes nothing.
        marked: (N,1,H,W) float 0/1 map that moves with the pixels, e.g. flagged cells.
        share: ``images`` are these rows of a batch that is drawn for as a whole; None = they are the batch.

    Returns:
        (N,3,H,W) in [0,1], channels_last; and the moved map, or None.
    """
    n, _, height, width = images.shape
    draws = torch.rand(n if share is None else share.whole(n), 3, generator=generator)
    draws = (draws if share is None else share.mine(draws)).to(images.device)
    rows = _places(draws[:, 0], height, strength)
    columns = _places(draws[:, 1], width, strength)
    columns = torch.where((draws[:, 2] < strength / 2)[:, None], columns.flip(1), columns)
    moved = None if marked is None else _gathered(marked, rows, columns).contiguous()
    return _gathered(images, rows, columns), moved


def _places(draws: Tensor, side: int, strength: float) -> Tensor:
    """(N,) draws in [0,1) -> (N,side) source places, shifted by one of the whole numbers in reach, mirrored outside."""
    reach = round(_SHIFT * side * strength)
    shift = (draws * (2 * reach + 1)).long() - reach
    places = (torch.arange(side, device=draws.device) + shift[:, None]).abs()
    return torch.where(places >= side, 2 * (side - 1) - places, places)


def _gathered(planes: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(N,C,H,W), channels last in memory: pixels are gathered whole."""
    which = torch.arange(len(planes), device=planes.device)[:, None, None]
    return planes.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
