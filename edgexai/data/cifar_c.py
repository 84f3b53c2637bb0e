"""Official CIFAR-10-C: one ``<corruption>.npy`` uint8 (5 n,32,32,3), severity by severity, and ``labels.npy``.

Source: D. Hendrycks, T. Dietterich, ICLR 2019; the files of the authors. A place is searched as ``root/CIFAR-10-C``,
``root/cifar10c`` and the same inside ``root/cifar10``. A folder that is there must be whole: official and generated
corruptions are never mixed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgexai.data.cifar_files import locate_cifar10
from edgexai.data.corruptions import CORRUPTIONS, SEVERITIES
from edgexai.data.locate import search_roots
from edgexai.data.place import Place, bases
from edgexai.errors import MissingCapability, UserError
from edgexai.types import Labels

LABELS = "labels.npy"
_NEXT = "fetch the file again (edgexai data ls names the source), or move the folder away: then they are generated"


def find_official(*, data_root: Path | None) -> Path | None:
    """The folder of the official files, or None where there is none.

    Raises:
        UserError: the folder that was named does not exist.
        MissingCapability: the folder lacks files.
    """
    for root in search_roots(data_root=data_root):
        for base in bases(root, "cifar10", "CIFAR10", "cifar-10"):
            for name in ("CIFAR-10-C", "cifar10c"):
                folder = base / name
                lacking = [n for n in (LABELS, *(f"{c}.npy" for c in CORRUPTIONS)) if not (folder / n).is_file()]
                if len(lacking) <= len(CORRUPTIONS):
                    if lacking:
                        raise MissingCapability(f"{folder}: incomplete: no {', no '.join(lacking)}", next_step=_NEXT)
                    return folder
    return None


def locate_cifar10c(*, data_root: Path | None) -> Place:
    """The clean test images, and the official corruptions where they are here; raises as the two searches."""
    clean, folder = locate_cifar10(data_root=data_root), find_official(data_root=data_root)
    if folder is None:
        return Place(clean.base, f"generated from {clean.what}", files=clean.files)
    return Place(folder, "official files", files=(*sorted(folder.glob("*.npy")), *clean.files))


def read_official(folder: Path, name: str, *, severity: int) -> tuple[NDArray[np.uint8], Labels]:
    """One corruption at one severity; the file is mapped, and only this part of it is read.

    Returns:
        Images uint8 (n,32,32,3), labels int64 (n,).

    Raises:
        UserError: a file is damaged or of another shape.
    """
    images, labels = _mapped(folder / f"{name}.npy"), _mapped(folder / LABELS)
    n = len(labels) // len(SEVERITIES)
    wanted = (len(labels), 32, 32, 3)
    if images.dtype != np.uint8 or images.shape != wanted or labels.ndim != 1 or len(labels) % len(SEVERITIES):
        raise UserError(
            f"{folder / name}.npy: {images.dtype} {images.shape} for labels {labels.shape}, expected uint8 {wanted}",
            next_step=_NEXT,
        )
    part = slice((severity - 1) * n, severity * n)
    return np.array(images[part]), np.array(labels[part], dtype=np.int64)


def _mapped(path: Path) -> NDArray[np.uint8]:
    try:
        array: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: damaged array: {error}", next_step=_NEXT) from error
    return array
