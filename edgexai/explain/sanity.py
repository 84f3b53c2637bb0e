"""Does a method look at the network at all? Its maps are held against those of the same network with shuffled weights.

Source: Adebayo et al., NeurIPS 2018 (arXiv 1810.03292), model parameter randomisation, all layers at once. Differs: the
weights of every layer are shuffled among themselves (their distribution stays) and batch norm's statistics are taken
anew, so that the random network still answers; ``against`` may be another network instead, e.g. one trained on shuffled
labels (their data randomisation). Measure: the larger of Spearman's correlation of the maps and of their absolute
values, because edges survive in either. A method whose median over images reaches the threshold fails. A constant map
has no ranks: such a pair is no agreement and no difference, it is left out and counted, and a method is undecided where
fewer than half of its images can be compared.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import nn

from edgexai.errors import ShapeError, UserError
from edgexai.explain.apply import ExplainSettings, explain
from edgexai.types import Images, Labels, Logits, Maps, Predict

THRESHOLD = 0.5


@dataclass(frozen=True)
class SanityVerdict:
    """One method's verdict.

    Attributes:
        method: which.
        correlation: float64 (N,), mean over draws; NaN where one of the maps is constant in all of them.
        median: over the images that can be compared; NaN where none can.
        threshold: the median must stay below it.
        constant: images that cannot be compared, because one of the two maps is constant.
        status: "passed" (the median stays below), "failed", or "undecided": over half of the images are constant.
    """

    method: str
    correlation: NDArray[np.float64]
    median: float
    threshold: float
    constant: int
    status: Literal["passed", "failed", "undecided"]

    @property
    def passed(self) -> bool:
        """Whether the method was seen to notice the other network; not so where nothing could be seen."""
        return self.status == "passed"


def sanity_check(
    method: str,
    images: Images,
    targets: Labels,
    *,
    model: nn.Module,
    seed: int = 0,
    draws: int = 2,
    against: Sequence[nn.Module] = (),
    settings: ExplainSettings | None = None,
    threshold: float = THRESHOLD,
    own: Maps | None = None,
) -> SanityVerdict:
    """Holds a method's maps against those of networks that learnt nothing, or something else.

    Args:
        method: key of ``EXPLAINERS``; the black-box kind asks the same networks through forward passes.
        images: float32 (N,3,H,W) in [0,1]; ten or more for a verdict to mean something.
        targets: int64 (N,).
        model: the network, in eval mode; not modified.
        seed: of the shuffling and of the method.
        draws: shuffled networks.
        against: networks to compare with, in place of shuffled ones.
        settings: of the method; the defaults when None.
        threshold: see ``SanityVerdict``.
        own: (N,H,W), the method's maps of ``model`` with the same seed and settings, where they are known already.

    Returns:
        The ``SanityVerdict``.

    Raises:
        ShapeError, UserError: as the method, or ``draws`` < 1, or a single image.
    """
    if draws < 1:
        raise UserError(f"draws = {draws}; must be at least 1")
    if len(images) < 2:
        raise UserError(
            f"{len(images)} image: a sanity check takes batch norm's statistics and a median from several",
            next_step="give two or more, better ten",
        )
    settings = replace(settings or ExplainSettings(), stability_seeds=0)  # of LIME: only its map is looked at

    def maps(net: nn.Module) -> Maps:
        return explain(method, images, targets, predict=_predict(net), model=net, seed=seed, settings=settings).maps

    own = maps(model) if own is None else own
    others = against or [randomised(model, images, seed=seed + k) for k in range(draws)]
    found = np.stack([map_correlation(own, maps(other)) for other in others])
    compared = ~np.isnan(found)
    times = compared.sum(axis=0)
    correlation = np.where(times > 0, np.where(compared, found, 0.0).sum(axis=0) / np.maximum(times, 1), np.nan)
    constant = int((times == 0).sum())
    median = float(np.median(correlation[times > 0])) if constant < len(images) else float("nan")
    status: Literal["passed", "failed", "undecided"] = "passed" if median < threshold else "failed"
    if 2 * constant > len(images):
        status = "undecided"
    return SanityVerdict(method, correlation, median, threshold, constant, status)


def randomised(model: nn.Module, images: Images, *, seed: int, layers: frozenset[str] | None = None) -> nn.Module:
    """A copy whose every weight tensor is shuffled, batch norm's statistics taken anew from ``images``.

    Args:
        model: not modified.
        images: float32 (N,3,H,W), N >= 2.
        seed: of the shuffling; the draw of a tensor does not depend on ``layers``.
        layers: names of the modules to randomise, all others stay; None = all.

    Returns:
        The copy, in eval mode.
    """
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    norms = [
        m
        for name, m in other.named_modules()
        if isinstance(m, nn.modules.batchnorm._BatchNorm) and (layers is None or name in layers)
    ]
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            if layers is None or name.rpartition(".")[0] in layers:
                parameter.copy_(parameter.flatten()[order].view_as(parameter))
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean over batches
            norm.train()
        if norms:
            device = next(other.parameters()).device
            other(torch.from_numpy(images).to(device))
    return other.eval()


def map_correlation(maps: Maps, others: Maps) -> NDArray[np.float64]:
    """The larger of Spearman's correlation of two maps and of their absolute values.

    Args:
        maps, others: (N,H,W).

    Returns:
        float64 (N,), in [-1,1]; NaN where one of the two is constant: it has no ranks to agree or differ.

    Raises:
        ShapeError: shapes differ.
    """
    if maps.shape != others.shape or maps.ndim != 3:
        raise ShapeError(f"maps {maps.shape} and {others.shape}; wanted two of one shape (N,H,W)")
    pairs = [(maps, others), (np.abs(maps), np.abs(others))]
    # fmax: of maps that are only constant in absolute value (+c and -c) the signed ones still tell.
    signed, size = ([_spearman(a, b) for a, b in zip(x, y, strict=True)] for x, y in pairs)
    found: NDArray[np.float64] = np.fmax(signed, size)
    return found


def _spearman(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    x, y = rankdata(a.ravel()), rankdata(b.ravel())
    x, y = x - x.mean(), y - y.mean()
    length = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / length if length > 0 else float("nan")


def _predict(model: nn.Module) -> Predict:
    device = next((p.device for p in model.parameters()), torch.device("cpu"))

    def predict(batch: Images) -> Logits:
        with torch.inference_mode():
            logits: Logits = model(torch.from_numpy(batch).to(device)).cpu().numpy()
        return logits

    return predict
