"""Finds the LISA traffic sign data, without opening a file.

A place is searched as ``root/lisa``, ``root/LISA`` and ``root`` itself, for the official frames (``allAnnotations.csv``
beside the folders that it names) and then for packed crops (``lisa_crops.zip``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgexai.data.locate import search_roots
from edgexai.data.place import Place, absent, bases

ANNOTATIONS, CROPS = "allAnnotations.csv", "lisa_crops.zip"
_REMEDY = (
    "the LISA data set is given out for research by its authors (edgexai data ls names the source); put "
    "allAnnotations.csv and the frame folders into lisa/ under EDGEXAI_DATA or --data-root"
)


@dataclass(frozen=True)
class LisaFiles:
    """Exactly one of the two is not None.

    Attributes:
        base: the folder of both.
        annotations: the official CSV; the frames lie under ``base``.
        crops: the packed archive.
    """

    base: Path
    annotations: Path | None
    crops: Path | None


def find_lisa(*, data_root: Path | None) -> LisaFiles:
    """The first place that holds LISA.

    Raises:
        UserError: the folder that was named does not exist.
        MissingCapability: nothing found.
    """
    roots, problems = search_roots(data_root=data_root), []
    for root in roots:
        for base in bases(root, "lisa", "LISA"):
            frames, crops = base / ANNOTATIONS, base / CROPS
            if frames.is_file() and any(path.is_dir() for path in base.iterdir()):
                return LisaFiles(base, frames, None)
            if crops.is_file():
                return LisaFiles(base, None, crops)
            if frames.is_file():
                problems.append(f"{base}: incomplete: {ANNOTATIONS} without the folders of frames")
    raise absent("lisa", problems, roots, remedy=_REMEDY)


def locate_lisa(*, data_root: Path | None) -> Place:
    """LISA as a ``Place``; raises as ``find_lisa``."""
    found = find_lisa(data_root=data_root)
    if found.crops is not None:
        return Place(found.base, "packed crops", files=(found.crops,))
    folders = tuple(sorted(path for path in found.base.iterdir() if path.is_dir()))
    return Place(found.base, "official frames", files=(found.base / ANNOTATIONS,), folders=folders)
