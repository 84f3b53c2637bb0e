"""Several attacks, worst case per image: AutoAttack's semantics for a twin or for an engine alone.

Source: Croce & Hein, arXiv 2003.01690. Convention: APGD-CE (100 steps, one start), APGD-T with DLR (9 targets), then
Square (5,000 queries), in this order; each sees only images that still stand. Departs from the paper's standard
version: FAB-T, which there runs between APGD-T and Square, is left out, and Square is l-infinity only, hence skipped
under l2. APGD needs gradients (``model``), Square only ``predict``. NumPy only unless ``model`` is given.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgexai.attack.ball import Norm, check_attack_input
from edgexai.attack.ensemble_state import EnsembleState
from edgexai.attack.judge import margins
from edgexai.attack.square import square
from edgexai.errors import UserError
from edgexai.types import Differentiable, Images, Labels, Predict, Progress

PARTS = ("apgd-ce", "apgd-dlr", "square")
"""In the order in which they run."""
_Part = Callable[[Images, Labels], tuple[Images, NDArray[np.int64]]]
"""Images and labels -> candidates, and queries spent on each."""


@dataclass(frozen=True)
class EnsembleResult:
    """What the attacks found.

    Attributes:
        images: float32 (N,3,H,W): the first point found that fools ``predict``; the clean image where it is wrong
            already or where nothing was found.
        fooled_by: int64 (N,): -1 = stands; 0 = wrong without attack; k = fell to ``parts[k-1]``.
        queries: int64 (N,P): perturbed copies of the image evaluated by each part: forward and backward passes of
            ``model`` for APGD, forward passes of ``predict`` for Square. Not counted: passes over clean images, and one
            pass a part that puts its candidate to ``predict``.
        parts: what ran, in order.
        skipped: part that did not run -> why.
    """

    images: Images
    fooled_by: NDArray[np.int64]
    queries: NDArray[np.int64]
    parts: tuple[str, ...]
    skipped: Mapping[str, str]

    @property
    def standing(self) -> NDArray[np.bool_]:
        """bool (N,): correct under every part that ran."""
        return self.fooled_by < 0

    def standing_after(self, part: str) -> NDArray[np.bool_]:
        """bool (N,): correct under ``part`` and all before it; ``"clean"`` = without attack."""
        last = 0 if part == "clean" else self.parts.index(part) + 1
        return (self.fooled_by < 0) | (self.fooled_by > last)


def ensemble(
    predict: Predict,
    images: Images,
    labels: Labels,
    *,
    eps: float,
    seed: int,
    model: Differentiable | None = None,
    transfer: bool = False,
    norm: Norm = "linf",
    parts: Sequence[str] = PARTS,
    steps: int = 100,
    restarts: int = 1,
    n_targets: int = 9,
    square_queries: int = 5000,
    batch_size: int = 100,
    device: str = "cpu",
    work: Path | None = None,
    progress: Progress | None = None,
) -> EnsembleResult:
    """Attacks ``predict`` with one attack after another.

    Args:
        predict: images -> logits: whose decisions count. An engine, or ``engine.twin.Twin``.
        images: float32 (N,3,H,W) in [0,1]; not modified.
        labels: int64 (N,), the true classes.
        eps: radius in pixels of [0,1]; with "l2" the Euclidean length of the change.
        seed: keyed with each image's bytes.
        model: gives gradients, in eval mode, on ``device``: ``predict``'s own network or its twin. Without it only the
            black-box part runs.
        transfer: ``model`` is not the very network that ``predict`` runs: APGD then looks for the strongest point
            instead of stopping at the first one that fools ``model``.
        norm: of the ball.
        parts: which of ``PARTS`` to run; those that cannot run are skipped and named in the result.
        steps, restarts, n_targets: of APGD.
        square_queries: budget of Square per image.
        batch_size: images attacked together; a killed run loses at most one such batch of one part.
        device: of ``model``.
        work: folder for the state; a later call with the same arguments continues there to equal verdicts.
        progress: told ``{"what": part, "done", "total", "standing"}`` after every batch.

    Returns:
        An ``EnsembleResult``.

    Raises:
        ShapeError, UserError: see ``check_attack_input``; unknown parts, nothing left to run, a state of another run.
    """
    check_attack_input(images, labels, eps=eps, norm=norm)
    if unknown := set(parts) - set(PARTS):
        raise UserError(f"unknown parts: {', '.join(sorted(unknown))}", next_step=f"there are {', '.join(PARTS)}")
    if batch_size < 1:
        raise UserError(f"batch_size = {batch_size}: at least 1")
    asked = [part for part in PARTS if part in parts]
    skipped = {part: why for part in asked if (why := _obstacle(part, model is not None, norm))}
    ran = tuple(part for part in asked if part not in skipped)
    if not ran:
        why_not = tuple(f"{part}: {why}" for part, why in skipped.items())
        raise UserError("no part of the ensemble can run", problems=why_not, next_step="give model, or other parts")
    budget = {"eps": eps, "seed": seed, "norm": norm, "parts": ran, "steps": steps, "restarts": restarts}
    budget |= {"n_targets": n_targets, "square_queries": square_queries, "transfer": transfer, "batch": batch_size}
    margin, wrong = margins(predict, images, labels, batch_size=batch_size)
    state = EnsembleState(
        run=_digest(images, labels, json.dumps(budget, sort_keys=True)),
        margin=margin,
        images=np.array(images, dtype=np.float32),
        fooled_by=np.where(wrong, 0, -1).astype(np.int64),
        queries=np.zeros((len(images), len(ran)), dtype=np.int64),
        position=np.zeros(2, dtype=np.int64),
    )
    if work is not None:
        state = state.read(work)
    for place in range(int(state.position[0]), len(ran)):
        run: _Part
        if ran[place] == "square" or model is None:
            run = partial(_black_box, predict, eps=eps, n_queries=square_queries, seed=seed, batch_size=batch_size)
        else:
            run = partial(
                _white_box, model, ran[place].removeprefix("apgd-"), eps=eps, norm=norm, steps=steps,
                restarts=restarts, n_targets=n_targets, seed=seed, stop=not transfer, device=device,
            )  # fmt: skip
        # Those that stood when this part began: also after a kill, hence in the same batches.
        todo = np.flatnonzero((state.fooled_by < 0) | (state.fooled_by == place + 1))
        for start in range(int(state.position[1]), len(todo), batch_size):
            here = todo[start : start + batch_size]
            found, spent = run(images[here], labels[here])
            fell = margins(predict, found, labels[here], batch_size=batch_size)[1]
            state.images[here[fell]] = found[fell]
            state.fooled_by[here[fell]] = place + 1
            state.queries[here, place] = spent
            state.position[1] = start + len(here)
            if work is not None:
                state.write(work)
            if progress is not None:
                standing = int((state.fooled_by < 0).sum())
                progress({"what": ran[place], "done": start + len(here), "total": len(todo), "standing": standing})
        state.position[:] = place + 1, 0
    if work is not None:
        state.write(work)
    return EnsembleResult(state.images, state.fooled_by, state.queries, ran, skipped)


def _obstacle(part: str, has_model: bool, norm: Norm) -> str:
    """Why a part cannot run; empty where it can."""
    if part == "square":
        return "" if norm == "linf" else "there is no l2 Square here"
    return "" if has_model else "needs gradients: give the twin as model"


def _white_box(
    model: Differentiable, loss: str, images: Images, labels: Labels, *, eps: float, norm: Norm, steps: int,
    restarts: int, n_targets: int, seed: int, stop: bool, device: str,
) -> tuple[Images, NDArray[np.int64]]:  # fmt: skip
    # Imported here: an engine without gradients is attacked on machines without torch.
    import torch

    from edgexai.attack.apgd import apgd

    found = apgd(
        model, torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device), eps=eps, seed=seed,
        loss="ce" if loss == "ce" else "dlr", norm=norm, steps=steps, restarts=restarts, n_targets=n_targets,
        stop_when_fooled=stop,
    )  # fmt: skip
    points: Images = found.images.cpu().contiguous().numpy()
    return points, found.passes.cpu().numpy()


def _black_box(
    predict: Predict, images: Images, labels: Labels, *, eps: float, n_queries: int, seed: int, batch_size: int
) -> tuple[Images, NDArray[np.int64]]:
    found = square(predict, images, labels, eps=eps, n_queries=n_queries, seed=seed, batch_size=batch_size)
    return found.images, found.queries


def _digest(images: Images, labels: Labels, settings: str) -> NDArray[np.uint8]:
    digest = hashlib.sha256(settings.encode())
    for array in (images, labels):
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return np.frombuffer(digest.digest(), dtype=np.uint8)
