"""Downloads a data set: GTSRB with torchvision's own downloader, the CIFAR sets from their authors' pages.

torchvision serves the complete official test set, but for training an older set of 26,640 images. It takes any
unpacked folder for a finished one; therefore everything happens in a folder aside, which is moved in one piece.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from zipfile import BadZipFile

from edgexai.config.cards import read_card
from edgexai.data.locate import TRUTH_NAME
from edgexai.errors import MissingCapability, UserError

_ASIDE = "gtsrb.download"
_CIFAR = "https://www.cs.toronto.edu/~kriz"
# Card -> folder under the root, and address; the digest of the file stands in the card.
_ARCHIVES = {
    "cifar10": ("cifar10", f"{_CIFAR}/cifar-10-binary.tar.gz"),
    "cifar100": ("cifar100", f"{_CIFAR}/cifar-100-binary.tar.gz"),
    "cifar10c": ("", "https://zenodo.org/records/2535967/files/CIFAR-10-C.tar"),
}


def fetch(name: str, root: Path) -> Path:
    """Downloads what the card's data set reads; of a corrupted GTSRB, the clean one.

    Args:
        name: of a card.
        root: data folder; made when absent.

    Returns:
        The folder it went to.

    Raises:
        UserError: nobody offers the data for download, or ``root`` cannot be written.
        MissingCapability: no network, or what came has the wrong digest.
    """
    card = read_card(name)
    if name in ("gtsrb", "gtsrb_c"):
        return fetch_gtsrb(root)
    if name not in _ARCHIVES:
        whose = "your own" if card.own else "not offered for download"
        raise UserError(f"{name}: these data are {whose}", next_step=f"get them from: {card.source}")
    inner, address = _ARCHIVES[name]
    archive = address.rpartition("/")[2]
    aside, target = root / f"{name}.download", root / inner
    try:
        aside.mkdir(parents=True, exist_ok=True)
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{root} cannot be written: {error.strerror}", next_step="name a folder you may write to: --data-root"
        ) from error
    from torchvision.datasets.utils import download_url, extract_archive

    try:
        download_url(address, str(aside), archive, card.digests[archive].removeprefix("md5:"))
        extract_archive(str(aside / archive), str(aside / "out"))
        for path in sorted((aside / "out").iterdir()):
            path.replace(target / path.name)
    except (OSError, RuntimeError, EOFError) as error:
        raise MissingCapability(
            f"{name} could not be downloaded: {error}",
            next_step=f"check the network and run it again, or unpack {archive} in {target} by hand",
        ) from error
    shutil.rmtree(aside, ignore_errors=True)
    return target


def fetch_gtsrb(root: Path) -> Path:
    """Downloads both splits to ``root/gtsrb``; about 280 MB. Archives already here whole are not downloaded again.

    Args:
        root: data folder; made when absent.

    Returns:
        ``root/gtsrb``.

    Raises:
        UserError: ``root`` cannot be written, or ``root/gtsrb`` already has a tree.
        MissingCapability: no network, or what came has the wrong digest.
    """
    target, aside = root / "gtsrb", root / _ASIDE / "gtsrb"
    if (target / "GTSRB").exists() or (target / TRUTH_NAME).exists():
        raise UserError(f"{target} already holds files of GTSRB", next_step="edgexai data check gtsrb, or move it away")
    try:
        # A half-unpacked tree would pass for a whole one; whole archives are kept.
        shutil.rmtree(aside / "GTSRB", ignore_errors=True)
        (aside / TRUTH_NAME).unlink(missing_ok=True)
        aside.mkdir(parents=True, exist_ok=True)
        target.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{root} cannot be written: {error.strerror}", next_step="name a folder you may write to: --data-root"
        ) from error
    from torchvision.datasets import GTSRB

    try:
        for split in ("train", "test"):
            GTSRB(str(aside.parent), split=split, download=True)
        (aside / TRUTH_NAME).replace(target / TRUTH_NAME)
        (aside / "GTSRB").replace(target / "GTSRB")
    except (OSError, RuntimeError, BadZipFile) as error:
        # OSError includes urllib's errors; RuntimeError is torchvision's word for a wrong digest.
        raise MissingCapability(
            f"gtsrb could not be downloaded: {error}",
            next_step="check the network and run it again, or put the archives into "
            f"{target} by hand (edgexai data ls names the source)",
        ) from error
    shutil.rmtree(aside.parent, ignore_errors=True)
    return target
