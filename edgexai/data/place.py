"""Where a data set's files lie on this machine, found without opening any of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgexai.config.cards import read_card
from edgexai.data import PLACES
from edgexai.errors import MissingCapability, UserError


@dataclass(frozen=True)
class Place:
    """The files that a loader would read.

    Attributes:
        base: the folder they are under, or the file that lists them.
        what: which form they have, in words.
        files: large files; their bytes count.
        folders: trees of many small files; paths, sizes and times of change count, and the bytes of every CSV.
        listed: small files anywhere; paths, sizes and times of change count.
    """

    base: Path
    what: str
    files: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()
    listed: tuple[Path, ...] = ()


def find_place(name: str, *, data_root: Path | None = None) -> Place | None:
    """Where the data set of a card lies; None where it is rendered.

    Args:
        name: of a card.
        data_root: the only place searched when given; else ``EDGEXAI_DATA``, then the home folder.

    Raises:
        UserError: no such card, or a folder that was named does not exist.
        MissingCapability: the data are not on this machine, or incomplete.
    """
    card = read_card(name)
    if card.kind == "rendered":
        return None
    if card.own is not None:
        return _own(name, Path(card.own.path), card.own.layout)
    if name not in PLACES:
        raise UserError(
            f'the card "{name}" names no files of your own', next_step=f"edgexai data add {name} PATH --force"
        )
    place: Place = PLACES[name].load()(data_root=data_root)
    return place


def bases(root: Path, *names: str) -> Iterator[Path]:
    """Folders in which a data set may lie under a root: one of the names, then the root itself."""
    yield from (root / name for name in names if (root / name).is_dir())
    yield root


def absent(name: str, problems: list[str], roots: tuple[Path, ...], *, remedy: str) -> MissingCapability:
    """The error of a data set that was found nowhere: what is incomplete, where was searched, what would help."""
    problems = [*problems, *(f"searched {root}" for root in roots)]
    return MissingCapability(f"{name} is not on this machine", problems=tuple(problems), next_step=remedy)


def _own(name: str, path: Path, layout: str) -> Place:
    if not (path.is_dir() if layout == "folders" else path.is_file()):
        raise MissingCapability(
            f"{name}: {path} is not there any more",
            next_step=f"put it back, or: edgexai data add {name} PATH --force",
        )
    if layout == "folders":
        return Place(path, "your own folder", folders=(path,))
    from edgexai.data.own_csv import image_paths

    return Place(path, "your own CSV", files=(path,), listed=tuple(image_paths(path)))
