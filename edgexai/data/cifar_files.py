"""Finds CIFAR-10 and CIFAR-100 in one of their forms, without opening a file.

A place is searched as ``root/cifar10``, ``root/cifar-10`` and ``root`` itself (likewise 100). Official binary files are
taken first, then official pickle files, then packed archives (lossless mosaics beside a CSV of labels). The official
forms must be complete; of the archives the test batch and one training batch are enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgexai.data.locate import search_roots
from edgexai.data.place import Place, absent, bases

Form = Literal["binary", "pickle", "packed"]
_FORMS: tuple[Form, ...] = ("binary", "pickle", "packed")
_WORDS = {"binary": "official binary files", "pickle": "official pickle files", "packed": "packed archives"}
_TEN = tuple(f"data_batch_{k}" for k in range(1, 6))
_LAYOUT: dict[str, tuple[str, tuple[str, ...], str]] = {
    "cifar10": ("cifar-10-batches-", _TEN, "test_batch"),
    "cifar100": ("cifar-100-", ("train",), "test"),
}
_FOLDER_END = {"cifar10": {"binary": "bin", "pickle": "py"}, "cifar100": {"binary": "binary", "pickle": "python"}}


@dataclass(frozen=True)
class CifarFiles:
    """The batches of one form, in their official order."""

    base: Path
    form: Form
    train: tuple[Path, ...]
    test: Path


def find_cifar(name: str, *, data_root: Path | None) -> CifarFiles:
    """The first place that holds the data set.

    Args:
        name: "cifar10" or "cifar100".
        data_root: the only place searched when given; else ``EDGEXAI_DATA``, then the home folder.

    Raises:
        UserError: the folder that was named does not exist.
        MissingCapability: nothing found, or batches are missing.
    """
    roots, problems = search_roots(data_root=data_root), []
    names = (name, name.upper(), name.replace("cifar", "cifar-"), name.upper().replace("CIFAR", "CIFAR-"))
    for root in roots:
        for base in bases(root, *names):
            for form in _FORMS:
                found = _look(name, base, form)
                if isinstance(found, CifarFiles):
                    return found
                if found:
                    problems.append(found)
    remedy = (
        f"set EDGEXAI_DATA or give --data-root (a folder with {name}/ in it: the official binary or pickle files), "
        f"or run: edgexai data fetch {name}"
    )
    raise absent(name, problems, roots, remedy=remedy)


def locate_cifar10(*, data_root: Path | None) -> Place:
    """CIFAR-10 as a ``Place``; raises as ``find_cifar``."""
    return _place(find_cifar("cifar10", data_root=data_root))


def locate_cifar100(*, data_root: Path | None) -> Place:
    """CIFAR-100 as a ``Place``; raises as ``find_cifar``."""
    return _place(find_cifar("cifar100", data_root=data_root))


def _place(files: CifarFiles) -> Place:
    return Place(files.base, _WORDS[files.form], files=(*files.train, files.test))


def _look(name: str, base: Path, form: Form) -> CifarFiles | str:
    """The files, or what is missing of them; an empty text where there is none at all."""
    prefix, train, test = _LAYOUT[name]
    if form == "packed":
        paths = {batch: base / f"{name}_{batch}.zip" for batch in (*train, test)}
        here = [batch for batch in train if paths[batch].is_file()]
        if not here and not paths[test].is_file():
            return ""
        if not here or not paths[test].is_file():
            return f"{base}: incomplete: no {paths[test].name if here else 'training archive'}"
        return CifarFiles(base, form, tuple(paths[batch] for batch in here), paths[test])
    inner = base / f"{prefix}{_FOLDER_END[name][form]}"
    suffix = ".bin" if form == "binary" else ""
    for folder in (inner, base):
        paths = {batch: folder / f"{batch}{suffix}" for batch in (*train, test)}
        lacking = [path.name for path in paths.values() if not path.is_file()]
        if not lacking:
            return CifarFiles(folder, form, tuple(paths[batch] for batch in train), paths[test])
        if len(lacking) < len(paths):
            return f"{folder}: incomplete: no {', no '.join(lacking)}"
    return ""
