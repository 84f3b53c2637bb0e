"""Lists a user's folder-per-class tree: ``class/image``, or ``train/class/image`` beside ``val`` and ``test``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgexai.data.faults import Faults
from edgexai.data.own_image import SIDES, OwnImage, Side

SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".gif", ".tga", ".jp2", ".avif", ".qoi")
)


def list_folders(root: Path, *, faults: Faults) -> list[OwnImage]:
    """Every image of every class, sorted by split, class and file name.

    Files whose suffix is no image's, and names that start with a dot, are passed over.

    Args:
        root: the tree.
        faults: gets empty classes, folders within class folders, and a split named twice.
    """
    try:
        inner = _folders(root)
        splits = [folder for folder in inner if folder.name.lower() in SIDES]
        if not splits:
            return list(_classes(root, "", faults))
        seen: dict[Side, Path] = {}
        images: list[OwnImage] = []
        for folder in splits:
            side = SIDES[folder.name.lower()]
            if side in seen:
                faults.add(str(folder), f"the {side} split is also in {seen[side].name}; keep one")
            seen[side] = folder
            images += _classes(folder, side, faults)
        for folder in inner:
            if folder not in splits:
                faults.add(str(folder), f"beside {', '.join(f.name for f in splits)}: is it a class or a split?")
        if "train" not in seen:
            faults.add(str(root), f"{', '.join(f.name for f in splits)} without train")
        return images
    except OSError as error:
        faults.add(str(error.filename or root), f"cannot be read: {error.strerror}")
        return []


def _classes(folder: Path, side: Side, faults: Faults) -> Iterator[OwnImage]:
    classes = _folders(folder)
    if not classes:
        faults.add(str(folder), "no class folders in it")
    for of_class in classes:
        files = [path for path in sorted(of_class.iterdir()) if not path.name.startswith(".")]
        images = [path for path in files if path.suffix.lower() in SUFFIXES and path.is_file()]
        for path in files:
            if path.is_dir():
                faults.add(str(path), "a folder within a class folder; images lie directly in their class")
        if not images:
            faults.add(str(of_class), "class with no images")
        for path in images:
            yield OwnImage(str(path), path, of_class.name, side)


def _folders(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
