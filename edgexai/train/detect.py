"""Explain -> detect: which grid cells of which training images a network leans on without reason.

Follows the LIME-guided refinement of arXiv 2412.18952 with the choices of the table below, because the paper leaves
them open or, read literally, flags the object too and degenerates to an all-zero mask over a data set:

- unit: fixed grid cells, so that variance and class maps are defined;
- importance |mean beta| above a within-image quantile; sensitivity (cell mean of |d logit|) likewise; instability =
  std over LIME seeds / (|mean| + 1e-3 max |beta|);
- with a mask or box: flagged = (important or sensitive) and outside the sign. Without: important and unstable, or
  speaking for its class where the same cell does not speak for other classes (a cue that stays put while signs move);
- at most ``max_flagged`` of the cells of an image, strongest first;
- images that were not explained take the map of their class: cells flagged in at least ``class_frequency`` of its
  explained images, intersected with their own outside cells where those are known; the cap holds for them too.

Only training images are ever explained here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgexai.errors import UserError
from edgexai.explain.lime import lime_repeats
from edgexai.models.base import Network
from edgexai.train.cells import cell_index, cell_mean, coverage
from edgexai.types import Images, Logits, Predict, Split

_LEAST = 1e-6  # of |beta|, a change of probability: below it is rounding noise, not importance
_OUTSIDE = 0.25  # a cell with less than this share on the sign counts as background


@dataclass(frozen=True)
class DetectSettings:
    """See ``config.recipe.RefineTable`` for meaning and limits."""

    grid: int
    n_images: int
    n_samples: int
    repeats: int
    relevance: str
    importance_quantile: float
    sensitivity_quantile: float
    instability: float
    max_flagged: float
    class_frequency: float


@dataclass(frozen=True)
class Flags:
    """What one round flagged.

    Attributes:
        explained: (M,) indices into the training split.
        importance: (M,G) signed mean LIME coefficient.
        flagged: (M,G) bool, of the explained images.
        class_frequency: (K,G) share of a class's explained images that flag a cell.
        cells: (N,G) bool for *every* training image: its own flags, or its class's map.
    """

    explained: NDArray[np.int64]
    importance: NDArray[np.float32]
    flagged: NDArray[np.bool_]
    class_frequency: NDArray[np.float32]
    cells: NDArray[np.bool_]


def as_predict(net: Network) -> Predict:
    """The twin as a forward-only callable on NumPy arrays (eval mode, no gradient)."""
    device = net.mean.device

    def predict(images: Images) -> Logits:
        with torch.inference_mode():
            batch = torch.from_numpy(images).to(device).contiguous(memory_format=torch.channels_last)
            out: Logits = net(batch).cpu().numpy()
        return out

    return predict


def detect(
    net: Network,
    split: Split,
    *,
    classes: int,
    settings: DetectSettings,
    seed: int,
    always: NDArray[np.int64] | None = None,
    tick: Callable[[int, int], None] | None = None,
) -> Flags:
    """LIME on a stratified sample of training images, then the rules of the module docstring.

    Args:
        net: in eval mode; explained for the *true* label.
        split: the training split; its masks or boxes are used as ``settings.relevance`` says.
        always: images to explain beside the fresh stratified draw: rounds can be compared on them.
        tick: called with (done, total) images.
    """
    rng = np.random.default_rng([seed, 1])
    chosen = stratified(split.labels, settings.n_images, rng)
    chosen = chosen if always is None else np.union1d(chosen, always)
    sample = split.take(chosen)
    predict, segments = as_predict(net), cell_index(split.images.shape[1], settings.grid)
    fill = split.images.reshape(-1, 3).mean(0) / 255
    chunks = []
    for start in range(0, len(sample), 64):
        part = sample.take(np.arange(start, min(start + 64, len(sample))))
        chunks.append(
            lime_repeats(
                predict,
                part.as_float(),
                part.labels,
                segments=segments,
                n_samples=settings.n_samples,
                repeats=settings.repeats,
                seed=seed,
                fill=tuple(float(v) for v in fill),
            )
        )
        if tick:
            tick(min(start + 64, len(sample)), len(sample))
    beta = np.concatenate(chunks, 1)
    mean, std = beta.mean(0), beta.std(0, ddof=1)
    strength = np.abs(mean)
    sensitivity = _sensitivity(net, sample, settings.grid)
    important = strength > np.quantile(strength, settings.importance_quantile, axis=1, keepdims=True)
    sensitive = sensitivity > np.quantile(sensitivity, settings.sensitivity_quantile, axis=1, keepdims=True)
    unstable = std > settings.instability * (strength + 1e-3 * strength.max(1, keepdims=True))
    outside_all = _outside(split, settings)
    if outside_all is None:
        candidate = (important & unstable) | _stays_put(mean, sample.labels, classes, settings)
    else:
        candidate = (important | sensitive) & outside_all[chosen]
    candidate &= strength > _LEAST
    most = int(settings.max_flagged * settings.grid**2)
    flagged = _cap(candidate, strength, most)
    frequency = np.zeros((classes, settings.grid**2), np.float32)
    for label in np.unique(sample.labels):
        frequency[label] = flagged[sample.labels == label].mean(0)
    cells = (frequency >= settings.class_frequency)[split.labels] & (frequency[split.labels] > 0)
    if outside_all is not None:
        cells &= outside_all
    cells = _cap(cells, frequency[split.labels], most)
    cells[chosen] = flagged
    return Flags(chosen, mean.astype(np.float32), flagged, frequency, cells)


def random_cells(flags: Flags, *, seed: int) -> Flags:
    """The control: for every image the same number of cells, at random places."""
    rng = np.random.default_rng([seed, 2])
    cells = rng.permuted(flags.cells, axis=1)
    flagged = cells[flags.explained]
    return Flags(flags.explained, flags.importance, flagged, rng.permuted(flags.class_frequency, axis=1), cells)


def stratified(labels: NDArray[np.int64], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """About ``n`` indices, the same number from every class as far as it goes, in ascending order."""
    present = np.unique(labels)
    per_class = max(1, n // len(present))
    picks = [rng.permutation(np.flatnonzero(labels == c))[:per_class] for c in present]
    return np.sort(np.concatenate(picks))


def _sensitivity(net: Network, sample: Split, grid: int) -> NDArray[np.float32]:
    """(M,G): cell mean of |d true-class logit / d pixel|, summed over channels."""
    out = []
    for start in range(0, len(sample), 250):
        part = sample.take(np.arange(start, min(start + 250, len(sample))))
        images = torch.from_numpy(part.as_float()).to(net.mean.device).requires_grad_(True)
        labels = torch.from_numpy(part.labels).to(net.mean.device)
        (gradient,) = torch.autograd.grad(net(images).gather(1, labels[:, None]).sum(), images)
        out.append(cell_mean(gradient.abs().sum(1), grid).cpu().numpy())
    return np.concatenate(out)


def _outside(split: Split, settings: DetectSettings) -> NDArray[np.bool_] | None:
    """(N,G) True where a cell is background, or None where relevance may not be used."""
    if settings.relevance == "none":
        return None
    relevant = split.masks if settings.relevance == "mask" else Split.relevance(_without_masks(split))
    if relevant is None:
        wanted = "masks" if settings.relevance == "mask" else "boxes"
        raise UserError(
            f'refine.relevance = "{settings.relevance}": the {split.name} split has no {wanted}',
            next_step='set refine.relevance = "none"',
        )
    return coverage(relevant, settings.grid) < _OUTSIDE


def _without_masks(split: Split) -> Split:
    return Split(split.name, split.images, split.labels, split.boxes, split.tracks)


def _stays_put(
    mean: NDArray[np.float64], labels: NDArray[np.int64], classes: int, settings: DetectSettings
) -> NDArray[np.bool_]:
    """Cells that speak for their class in most of its images while they do not for the other classes.

    Signs fill the middle in every class, so their cells are important everywhere; a cue planted per class is a cell
    whose mean coefficient for *this* class stands out from its median over all classes, in units of their median
    absolute deviation: a corner that carries the cue of a quarter of the classes inflates mean and standard deviation
    until it hides itself.
    """
    present = np.unique(labels)
    seen = np.stack([mean[labels == label].mean(0) for label in present])
    middle = np.median(seen, 0)
    spread = 1.4826 * np.median(np.abs(seen - middle), 0) + 1e-12
    odd = np.zeros((classes, mean.shape[1]), np.bool_)
    odd[present] = (seen - middle) / spread > 3.0
    strong = mean > np.quantile(mean, settings.importance_quantile, axis=1, keepdims=True)
    found: NDArray[np.bool_] = odd[labels] & strong
    return found


def _cap(candidate: NDArray[np.bool_], strength: NDArray[np.floating[Any]], most: int) -> NDArray[np.bool_]:
    """At most ``most`` candidates per image, the strongest."""
    score = np.where(candidate, strength, -1.0)
    order = np.argsort(-score, axis=1, kind="stable")[:, :most]
    kept = np.zeros_like(candidate)
    np.put_along_axis(kept, order, True, axis=1)
    return kept & candidate
