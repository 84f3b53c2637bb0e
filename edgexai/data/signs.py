"""Rendered German traffic signs with exact masks: GTSRB's 43 classes, drawn, lit and photographed by our own code.

Two cards: ``signs`` (train, val, test) and ``signs_shortcut``, whose training images carry a known spurious cue (see
``signs_shortcut``) and whose three test splits show the same scenes with the class's own cue (``aligned``), another
class's (``conflicting``) and none (``absent``). Convention: image i shows class i mod 43; asking for more images per
class only appends. Repeatable: one seed, one machine and one torch version give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from edgexai.data.signs_art import CLASSES
from edgexai.data.signs_draws import Draws
from edgexai.data.signs_scene import Pose, scenes
from edgexai.data.signs_shortcut import STRENGTH, draw_cues, plant
from edgexai.errors import UserError
from edgexai.types import Labels, Progress, Split

VERSION = 1
"""Rises whenever the same call gives other pixels."""

_DEFAULT = {"train": 200, "val": 20, "test": 40}
_POSES = {
    "signs": Pose(reach=(0.64, 0.86), square=True, exposure=(-0.45, 0.68)),
    # Small and unstretched, so that the corners with the cues stay visible; calmer light, so that the sign can be
    # learned beside the cue and there is something to win by turning from one to the other.
    "signs_shortcut": Pose(reach=(0.56, 0.67), square=False, exposure=(-0.25, 0.4)),
}
_BATCH_ROUNDS = 6
Stage = Literal["train", "val", "test"]
STAGES: tuple[Stage, ...] = ("train", "val", "test")


def render(
    *,
    name: str,
    size: int,
    per_class: int | None,
    seed: int,
    progress: Progress | None = None,
    stages: Sequence[Stage] = STAGES,
) -> dict[str, Split]:
    """Render a whole card.

    Args:
        name: "signs" or "signs_shortcut".
        size: edge of the square images in pixels, 16..256.
        per_class: training images per class (default 200); val gets a tenth of it, test a fifth.
        seed: of every draw, 0 or above; train, val and test never share a stream.
        progress: called after every batch with ``{"what": "render", "split", "done", "total"}``.
        stages: what to draw; each has its own random stream, so leaving one out changes no other;
            its splits are then not returned.
    Returns:
        "train", "val", "test"; for signs_shortcut "train", "val", "aligned", "conflicting", "absent".
    Raises:
        UserError: unknown name, or a number out of range.
    """
    _check(name=name, size=size, per_class=per_class, seed=seed)
    out: dict[str, Split] = {}
    for stage in stages:
        rounds = (
            _DEFAULT[stage] if per_class is None else max(1, round(per_class * _DEFAULT[stage] / _DEFAULT["train"]))
        )
        clean = _stage(name, stage, size=size, rounds=rounds, seed=seed, progress=progress)
        out.update({stage: clean} if name == "signs" else _planted(clean, stage, seed=seed))
    return out


def tight_boxes(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Half-open boxes x1,y1,x2,y2 (N,4) around the True pixels of (N,H,W); NaN where there are none."""
    boxes = np.full((len(masks), 4), np.nan, np.float32)
    for axis, (low, high) in ((1, (0, 2)), (2, (1, 3))):
        line = np.asarray(masks.any(axis))
        boxes[:, low] = line.argmax(1)
        boxes[:, high] = line.shape[1] - line[:, ::-1].argmax(1)
    boxes[~masks.any((1, 2))] = np.nan
    return boxes


def _stage(name: str, stage: Stage, *, size: int, rounds: int, seed: int, progress: Progress | None) -> Split:
    count, batch = rounds * CLASSES, _BATCH_ROUNDS * CLASSES
    images = np.empty((count, size, size, 3), np.uint8)
    masks = np.empty((count, size, size), np.bool_)
    for number, start in enumerate(range(0, count, batch)):
        # Batches are always drawn whole and then cut, so that a longer split begins with the shorter one.
        draws = Draws(batch, (seed, list(_POSES).index(name), STAGES.index(stage), number))
        labels = torch.arange(batch) % CLASSES
        pixels, cover = scenes(labels, draws, size=size, pose=_POSES[name])
        stop = min(count, start + batch)
        images[start:stop], masks[start:stop] = pixels.numpy()[: stop - start], cover.numpy()[: stop - start]
        if progress is not None:
            progress({"what": "render", "split": stage, "done": stop, "total": count})
    labels_all: Labels = np.arange(count, dtype=np.int64) % CLASSES
    return Split(stage, images, labels_all, tight_boxes(masks), np.arange(count, dtype=np.int64), masks)


def _planted(clean: Split, stage: Stage, *, seed: int) -> dict[str, Split]:
    if clean.masks is None:
        raise ValueError("a rendered split has masks")
    stream = (seed, 2, STAGES.index(stage))
    rng = np.random.default_rng(np.random.SeedSequence((*stream, 0)))
    strengths = {"aligned": 1.0, "conflicting": 0.0} if stage == "test" else {stage: STRENGTH}
    out: dict[str, Split] = {}
    for split, strength in strengths.items():
        cues = draw_cues(clean.labels, strength=strength, rng=rng)
        images, _ = plant(clean.images, clean.masks, cues, seed=(*stream, 1))
        out[split] = Split(split, images, clean.labels, clean.boxes, clean.tracks, clean.masks)
    if stage == "test":
        out["absent"] = Split("absent", clean.images, clean.labels, clean.boxes, clean.tracks, clean.masks)
    return out


def _check(*, name: str, size: int, per_class: int | None, seed: int) -> None:
    problems = []
    if name not in _POSES:
        problems.append(f"name: {name!r} is not a rendered set; allowed: {', '.join(_POSES)}")
    if not 16 <= size <= 256:
        problems.append(f"size: {size} pixels; allowed: 16 to 256")
    if per_class is not None and per_class < 1:
        problems.append(f"per_class: {per_class}; allowed: 1 or more")
    if seed < 0:
        problems.append(f"seed: {seed}; allowed: 0 or more")
    if problems:
        raise UserError("rendered signs: the data table cannot be drawn", problems=tuple(problems))
