"""Lists and checks a user's own data as a whole: every fault of files, labels, boxes, tracks and splits at once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from edgexai.config.card import OwnFiles
from edgexai.data.faults import Faults
from edgexai.data.own_csv import list_csv
from edgexai.data.own_folders import list_folders
from edgexai.data.own_image import OwnImage


@dataclass(frozen=True)
class OwnScan:
    """What was found.

    Attributes:
        images: in the order of the source.
        sizes: (width, height) of each, pixels.
        classes: names, sorted.
        sides: splits that the user named; empty where the user names none.
        boxes, tracks: every image has one.
    """

    images: tuple[OwnImage, ...]
    sizes: tuple[tuple[int, int], ...]
    classes: tuple[str, ...]
    sides: frozenset[str]
    boxes: bool
    tracks: bool


def scan(files: OwnFiles, *, faults: Faults) -> OwnScan:
    """Lists all images and reads their headers; no pixel is decoded.

    Args:
        files: folder or CSV.
        faults: gets everything that is wrong.
    """
    path = Path(files.path)
    images = list_folders(path, faults=faults) if files.layout == "folders" else list_csv(path, faults=faults)
    sizes = [_size(image, faults) for image in images]
    sides = frozenset(image.side for image in images if image.side)
    with_track = [image for image in images if image.track]
    if sides and (bare := [image for image in images if not image.side]):
        faults.add(bare[0].where, f"no split, where others have one ({len(bare)} images)")
    if sides and "train" not in sides:
        faults.add(files.path, "no image is in the train split")
    if with_track and len(with_track) < len(images):
        bare = [image for image in images if not image.track]
        faults.add(bare[0].where, f"no track, where others have one ({len(bare)} images)")
    _check_tracks(images, faults)
    learnt = {image.label for image in images if image.side in ("train", "")}
    for label in sorted({image.label for image in images} - learnt):
        first = next(image for image in images if image.label == label)
        faults.add(first.where, f"class {label!r} is not in the train split")
    if images and len(learnt) < 2:
        faults.add(files.path, f"{len(learnt)} class; a classifier needs two or more")
    if not images and not len(faults):
        faults.add(files.path, "no images")
    boxed = bool(images) and all(image.box for image in images)
    tracked = bool(images) and len(with_track) == len(images)
    return OwnScan(tuple(images), tuple(sizes), tuple(sorted(learnt)), sides, boxed, tracked)


def _check_tracks(images: list[OwnImage], faults: Faults) -> None:
    """A track on two sides is the very leak that tracks are there to prevent."""
    first: dict[str, OwnImage] = {}
    told: defaultdict[str, set[str]] = defaultdict(set)
    for image in images:
        if not image.track:
            continue
        known = first.setdefault(image.track, image)
        if known.side != image.side and image.side not in told[image.track]:
            told[image.track].add(image.side)
            faults.add(image.where, f"track {image.track!r} is also in {known.side or 'no split'} ({known.where})")


def _size(image: OwnImage, faults: Faults) -> tuple[int, int]:
    try:
        with Image.open(image.path) as opened:
            width, height = opened.size
    except UnidentifiedImageError:
        faults.add(image.where, "not an image" if image.where == str(image.path) else f"{image.path} is not an image")
        return 1, 1
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        faults.add(image.where, f"unreadable image: {error}")
        return 1, 1
    if image.box and (image.box[2] > width or image.box[3] > height):
        x1, y1, x2, y2 = image.box
        faults.add(image.where, f"box {x1:g},{y1:g},{x2:g},{y2:g} reaches outside the image of {width} x {height}")
    return width, height
