"""Grid cells of an image: pooling pixels into cells, spreading cells to pixels, replacing cells.

Cells are numbered row by row; cell (r, c) covers rows r*H/g .. (r+1)*H/g, so index and place agree in every image.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def cell_index(size: int, grid: int) -> NDArray[np.int32]:
    """(size,size) number of the cell each pixel belongs to."""
    line = np.arange(size) * grid // size
    return (line[:, None] * grid + line[None, :]).astype(np.int32)


def cell_mean(values: Tensor, grid: int) -> Tensor:
    """(N,H,W) -> (N,grid*grid): mean over each cell."""
    index = torch.from_numpy(cell_index(values.shape[-1], grid)).long().flatten().to(values.device)
    sums = torch.zeros(len(values), grid * grid, device=values.device, dtype=values.dtype)
    sums.index_add_(1, index, values.flatten(1))
    return sums / torch.bincount(index, minlength=grid * grid).to(values.dtype)


def cells_to_pixels(cells: Tensor, size: int) -> Tensor:
    """(N,grid*grid) -> (N,1,size,size), same dtype."""
    grid = round(cells.shape[1] ** 0.5)
    index = torch.from_numpy(cell_index(size, grid)).long().to(cells.device)
    return cells[:, index.flatten()].view(len(cells), 1, size, size)


def replace_cells(images: Tensor, cells: Tensor, *, how: str, colour: Tensor, generator: torch.Generator) -> Tensor:
    """Images with their flagged cells replaced.

    Args:
        images: (N,3,H,W) in [0,1]; not modified.
        cells: (N,grid*grid) bool, True = replace.
        how: "swap" takes the same cells of another image of the batch, "mean" takes ``colour``.
        colour: (1,3,1,1) mean of the data set.
        generator: draws the partners.
    """
    if how == "swap":
        # a cyclic shift by a random distance never pairs an image with itself
        shift = int(torch.randint(1, max(2, len(images)), (1,), generator=generator))
        other = images.roll(shift, 0)
    else:
        other = colour.expand_as(images)
    out = torch.where(cells_to_pixels(cells, images.shape[-1]), other, images)
    return out.contiguous(memory_format=torch.channels_last)


def coverage(relevant: NDArray[np.bool_], grid: int) -> NDArray[np.float32]:
    """(N,H,W) bool -> (N,grid*grid): share of each cell that lies on the sign."""
    with torch.inference_mode():
        return cell_mean(torch.from_numpy(relevant).float(), grid).numpy()
