"""Galleries of explained signs: decided wrongly, fooled by an attack, and right, with the maps of twin and engine.

Convention: "wrong" and "right" are the deployed engine's decisions on the clean image; "fooled" is right there and
wrong on the attacked image beside it. A gallery says how many of its kind the run folder holds, and shows some. The
page stays below ``BUDGET_BYTES`` of pictures: what does not fit is counted as left out, never dropped unsaid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexai.report.evidence import EXPLAINERS
from edgexai.report.folder import Arrays, RunFolder
from edgexai.report.pictures import Tile, box_in_per_cent, overlay, png_uri, strip_uri
from edgexai.report.words import ATTACK_NAMES, EXPLAINER_NAMES

BUDGET_BYTES = 12_500_000
KINDS = {"wrong": "Decided wrongly", "fooled": "Fooled", "right": "Decided rightly"}
_SHORT = {"vg": "VG", "ig": "IG", "smoothgrad": "Smooth", "gradcam": "Grad-CAM", "cam": "CAM", "lime": "LIME"}


@dataclass(frozen=True)
class Strip:
    """Maps of one subject side by side; ``boxes`` are x, y, width, height in per cent of the whole strip."""

    subject: str
    uri: str
    alt: str
    boxes: Sequence[tuple[float, ...]]


@dataclass(frozen=True)
class Sign:
    """One sign: its pictures (clean, and attacked where it was fooled), words, and a strip a subject."""

    tiles: Sequence[Tile]
    name: str
    said: Sequence[str]
    strips: Sequence[Strip]


@dataclass(frozen=True)
class Gallery:
    """Signs of one kind under one heading; ``explainers`` names the places of every strip."""

    arm: str
    kind: str
    title: str
    explainers: Sequence[str]
    signs: Sequence[Sign]
    left_out: int


def galleries(run: RunFolder, arms: Sequence[str], *, most: int = 8) -> list[Gallery]:
    """Of every arm in turn: wrong, fooled, right.

    Args:
        run: with pictures.
        arms: the deployed one first: it gets the room there is.
        most: signs of a kind, at most.
    """
    found: list[Gallery] = []
    spent = 0
    for arm in arms:
        arrays = run.pictures[arm]
        for kind, places in _kinds(arrays).items():
            gallery = _gallery(run, arm, kind, places[:most], len(places), room=BUDGET_BYTES - spent)
            spent += sum(_bytes(sign) for sign in gallery.signs)
            found.append(gallery)
    return found


def explainer_names(arrays: Arrays) -> list[str]:
    """Explainers with a map of the twin or of the engine, in the usual order."""
    found = {key.split("__", 1)[1] for key in arrays if key.startswith(("twin__", "engine__"))}
    return [e for e in EXPLAINERS if e in found] + sorted(found - set(EXPLAINERS))


def short_name(explainer: str) -> str:
    """An explainer's name that fits under a small tile."""
    return _SHORT.get(explainer, EXPLAINER_NAMES.get(explainer, explainer))


def _kinds(arrays: Arrays) -> dict[str, list[int]]:
    count = len(arrays["images"]) if "images" in arrays else 0
    if "labels" not in arrays or "pred_engine" not in arrays:
        return {"right": list(range(count))} if count else {}
    labels, decided = arrays["labels"], arrays["pred_engine"]
    attacked = arrays.get("pred_attacked", decided)
    kind = np.where(decided != labels, "wrong", np.where(attacked != labels, "fooled", "right"))
    found = {name: [int(i) for i in np.flatnonzero(kind == name)] for name in KINDS}
    return {name: places for name, places in found.items() if places}


def _gallery(run: RunFolder, arm: str, kind: str, places: Sequence[int], count: int, *, room: int) -> Gallery:
    arrays = run.pictures[arm]
    names = explainer_names(arrays)
    signs: list[Sign] = []
    for place in places:
        sign = _sign(run, arrays, place, kind, names)
        room -= _bytes(sign)
        if room < 0:
            break
        signs.append(sign)
    known = "pred_engine" in arrays
    title = KINDS[kind] + (f" by {attack_name(arrays)}" if kind == "fooled" else "") if known else "Signs"
    return Gallery(arm, kind, title, [short_name(e) for e in names], signs, count - len(signs))


def attack_name(arrays: Arrays) -> str:
    """ "PGD, eps 8/255", of the attacked pictures."""
    attack, _, eps = str(arrays["attack"]).partition("@") if "attack" in arrays else ("an attack", "", "")
    return ATTACK_NAMES.get(attack, attack) + (f", eps {eps}" if eps else "")


def _sign(run: RunFolder, arrays: Arrays, place: int, kind: str, names: Sequence[str]) -> Sign:
    image = arrays["images"][place]
    box = box_in_per_cent(arrays["boxes"][place] if "boxes" in arrays else None, *image.shape[:2])
    name = run.class_name(int(arrays["labels"][place])) if "labels" in arrays else f"image {place + 1}"
    tiles = [Tile(png_uri(image), f"{name}, as it is", box)]
    said = _said(run, arrays, place)
    if kind == "fooled" and "attacked" in arrays:
        tiles.append(Tile(png_uri(arrays["attacked"][place]), f"{name}, attacked by {attack_name(arrays)}"))
        said.append(f"attacked: engine says {run.class_name(int(arrays['pred_attacked'][place]))}")
    strips = []
    for subject in ("twin", "engine"):
        maps = [arrays.get(f"{subject}__{e}") for e in names]
        if any(m is not None for m in maps):
            drawn = [None if m is None else overlay(image, m[place]) for m in maps]
            strips.append(_strip(subject, drawn, names, box))
    return Sign(tiles, name, said, strips)


def _strip(
    subject: str, drawn: Sequence[NDArray[np.uint8] | None], names: Sequence[str], box: tuple[float, ...]
) -> Strip:
    here = [EXPLAINER_NAMES.get(e, e) for e, tile in zip(names, drawn, strict=True) if tile is not None]
    count = len(drawn)
    boxes = [
        ((box[0] + 100 * k) / count, box[1], box[2] / count, box[3])
        for k, tile in enumerate(drawn)
        if box and tile is not None
    ]
    return Strip(subject, strip_uri(drawn), f"maps of the {subject}: {', '.join(here)}", boxes)


def _said(run: RunFolder, arrays: Arrays, place: int) -> list[str]:
    label = int(arrays["labels"][place]) if "labels" in arrays else None
    said = []
    for key, name in (("pred_engine", "engine"), ("pred_twin", "twin")):
        if key in arrays:
            decided = int(arrays[key][place])
            said.append(f"{name} right" if decided == label else f"{name} says {run.class_name(decided)}")
    return said


def _bytes(sign: Sign) -> int:
    return sum(len(t.uri) for t in sign.tiles) + sum(len(s.uri) for s in sign.strips)


def drift_gallery(run: RunFolder, arrays: Arrays, *, arm: str, most: int = 8) -> Gallery:
    """The signs whose maps moved most on one step: the map before and the map after.

    Args:
        run: for the names of classes.
        arrays: of pictures/drift_<arm>.npz.
        arm: whose they are.
        most: signs, at most.
    """
    images = arrays["images"]
    order = np.argsort(-np.nan_to_num(arrays["drift"].astype(np.float64)), kind="stable") if "drift" in arrays else None
    signs = []
    for place in (range(len(images)) if order is None else order)[:most]:
        signs.append(_drifted(run, arrays, int(place)))
    return Gallery(arm, "drifted", "Drifted most", ["before", "after"], signs, len(images) - len(signs))


def _drifted(run: RunFolder, arrays: Arrays, place: int) -> Sign:
    image = arrays["images"][place]
    name = run.class_name(int(arrays["labels"][place])) if "labels" in arrays else f"image {place + 1}"
    drawn: list[NDArray[np.uint8] | None] = [
        overlay(image, arrays[key][place]) for key in ("map_before", "map_after") if key in arrays
    ]
    explainer = _word(arrays, "explainer", place)
    words = [_word(arrays, "step", place), EXPLAINER_NAMES.get(explainer, explainer)]
    said = [word for word in words if word]
    for key, when in (("pred_before", "before"), ("pred_after", "after")):
        if key in arrays:
            said.append(f"{when}: {run.class_name(int(arrays[key][place]))}")
    if "drift" in arrays:
        said.append(f"drift {float(arrays['drift'][place]):.2f}")
    strip = replace(_strip("maps", drawn, ["before", "after"][: len(drawn)], ()), subject="")
    return Sign([Tile(png_uri(image), name)], name, said, [strip] if drawn else [])


def _word(arrays: Arrays, key: str, place: int) -> str:
    values: NDArray[Any] | None = arrays.get(key)
    if values is None:
        return ""
    return str(values) if values.ndim == 0 else str(values[place])
