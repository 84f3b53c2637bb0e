"""Finds the GTSRB files on this machine without opening any of them.

A place is searched as ``root/gtsrb``, ``root/GTSRB``, ``root`` itself, and ``root``'s parent where root is the inner
``GTSRB`` folder. Unpacked folders win over archives, part by part: torchvision leaves its archives beside what it
unpacked. Archives outside a folder called gtsrb count only when their own name says gtsrb.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from edgexai.config.home import default_home
from edgexai.data.place import Place
from edgexai.errors import MissingCapability, UserError

TRAINING_FOLDERS = ("GTSRB/Training", "GTSRB/Final_Training/Images")
TEST_FOLDER = "GTSRB/Final_Test/Images"
TRUTH_NAME = "GT-final_test.csv"
_REMEDIES = (
    "set EDGEXAI_DATA or give --data-root (a folder with gtsrb/ in torchvision's layout, or its zip archives), "
    "or run: edgexai data fetch gtsrb"
)


@dataclass(frozen=True)
class GtsrbFiles:
    """Where the three parts lie; a part that is None is read from the archives.

    Attributes:
        base: the folder the other paths are under.
        training: folder of class folders.
        test: folder of the test images.
        truth: CSV of the test labels.
        archives: zip files, sorted; empty when every part is unpacked.
    """

    base: Path
    training: Path | None
    test: Path | None
    truth: Path | None
    archives: tuple[Path, ...]


def locate_gtsrb(*, data_root: Path | None, home: Path | None = None) -> GtsrbFiles:
    """The first place that holds GTSRB.

    Args:
        data_root: the only place searched when given; else ``EDGEXAI_DATA``, then ``home/data``.
        home: the home folder; the default one when absent.

    Raises:
        UserError: the named folder does not exist, or it holds two training sets.
        MissingCapability: nothing found, or a part is missing.
    """
    roots = search_roots(data_root=data_root, home=home)
    problems: list[str] = []
    for root in roots:
        for base in _bases(root):
            found = _look(base)
            lacks = [what for what in ("training", "test", "truth") if getattr(found, what) is None]
            if found.archives or not lacks:
                return found
            if len(lacks) < 3:
                names = {"training": TRAINING_FOLDERS[0], "test": TEST_FOLDER, "truth": TRUTH_NAME}
                problems.append(f"{base}: incomplete: no {', no '.join(names[what] for what in lacks)}")
    problems += [f"searched {root}" for root in roots]
    raise MissingCapability("gtsrb is not on this machine", problems=tuple(problems), next_step=_REMEDIES)


def place_gtsrb(*, data_root: Path | None) -> Place:
    """The same as a ``Place``.

    Raises:
        UserError, MissingCapability: as ``locate_gtsrb``.
    """
    found = locate_gtsrb(data_root=data_root)
    folders = tuple(folder for folder in (found.training, found.test) if folder is not None)
    files = (*found.archives, *([found.truth] if found.truth else []))
    return Place(found.base, "folders" if folders else "archives", files=files, folders=folders)


def place_gtsrb_c(*, data_root: Path | None) -> Place:
    """The clean files that corrupted GTSRB is generated from; raises as ``locate_gtsrb``."""
    clean = place_gtsrb(data_root=data_root)
    return replace(clean, what=f"generated from {clean.what}")


def search_roots(*, data_root: Path | None, home: Path | None = None) -> tuple[Path, ...]:
    """Folders to search, and to download into (the first).

    Raises:
        UserError: the folder that was named does not exist or is a file.
    """
    own = (home or default_home()) / "data"
    named = data_root or (Path(text) if (text := os.environ.get("EDGEXAI_DATA")) else None)
    if named is None:
        return (own,)
    named = named.expanduser().absolute()
    if not named.is_dir():
        source = "--data-root" if data_root else "EDGEXAI_DATA"
        what = "is a file, not a folder" if named.exists() else "does not exist"
        raise UserError(f"{source}: {named} {what}", next_step="name the folder that holds gtsrb/, cifar10/ ...")
    return (named,) if data_root else (named, own)


def _bases(root: Path) -> Iterator[Path]:
    yield from (root / "gtsrb", root / "GTSRB", root)
    if root.name == "GTSRB":
        yield root.parent


def _look(base: Path) -> GtsrbFiles:
    trainings = [base / name for name in TRAINING_FOLDERS if (base / name).is_dir()]
    if len(trainings) > 1:
        raise UserError(
            f"{base}: two training sets: {' and '.join(TRAINING_FOLDERS)}",
            next_step="keep one; the second is the complete final set",
        )
    test = base / TEST_FOLDER
    truths = [base / TRUTH_NAME, base / "GTSRB" / TRUTH_NAME, test / TRUTH_NAME]
    parts = (
        trainings[0] if trainings else None,
        test if test.is_dir() else None,
        next((path for path in truths if path.is_file()), None),
    )
    archives: tuple[Path, ...] = ()
    if None in parts and base.is_dir():
        ours = base.name.lower() == "gtsrb"
        archives = tuple(
            sorted(
                path
                for path in base.iterdir()
                if path.suffix.lower() == ".zip" and (ours or "gtsrb" in path.name.lower()) and path.is_file()
            )
        )
    return GtsrbFiles(base, *parts, archives)
