"""Makes a probe set from the twin: attacks and maps, the only place where gradients are needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from edgexai.attack.apgd import apgd
from edgexai.attack.fgsm import fgsm
from edgexai.attack.loss import LossName
from edgexai.attack.pgd import pgd
from edgexai.config.recipe import pixels
from edgexai.explain import EXPLAINERS, KINDS
from edgexai.explain.cascade import cascade
from edgexai.explain.lime import lime
from edgexai.explain.segment import grid
from edgexai.probe.cascade_maps import CascadeMaps
from edgexai.probe.draw import probe_index as probe_index
from edgexai.probe.noisy_copies import NoisyCopies, noisy_copies
from edgexai.probe.physical import printed_attacks
from edgexai.probe.probe_set import ProbeSet
from edgexai.types import Images, Labels, Maps, Predict, Progress, Split

_BATCH = 250
_CELLS = 8
_TWIN_LIME = 64
_ON_TWIN = {"fgsm": ("fgsm",), "pgd": ("pgd",), "apgd": ("apgd-ce", "apgd-dlr")}
"""Attack of a recipe -> names of what is made here; the others run on whoever replays the probes."""


def make_probes(
    net: nn.Module,
    predict: Predict,
    split: Split,
    *,
    device: str,
    n: int,
    explain_n: int,
    attacks: Sequence[str],
    eps: Sequence[str],
    pgd_steps: int,
    apgd_steps: int,
    apgd_n: int,
    apgd_eps: Sequence[str],
    explainers: Sequence[str],
    lime_samples: int,
    fill: tuple[float, float, float],
    seed: int,
    progress: Progress,
    stability_n: int = 0,
    cascade_n: int = 0,
    learn: Split | None = None,
    patch_n: int = 0,
    patch_area: float = 0.0,
    patch_steps: int = 0,
) -> ProbeSet:
    """Draws ``n`` stratified images, attacks them on ``net`` and explains the first ``explain_n``.

    Args:
        net: the twin in eval mode, on ``device``.
        predict: the same network, forward only.
        split: images to measure on: a test split, or validation.
        attacks: "apgd" stands for two, "apgd-ce" and "apgd-dlr", on the first ``apgd_n`` images at ``apgd_eps``.
        eps: radii as text, "8/255".
        pgd_steps, apgd_steps: of one run; APGD stays on until its last step, as its points are for other networks.
        explainers: gradient kinds for all ``explain_n`` images; LIME of the twin for the first 64 of them, as the
            reference for LIME on an engine, which needs no twin.
        lime_samples, fill: of LIME; ``fill`` is the data set's mean colour.
        stability_n: of the explained images, how many get noisy copies that are explained too.
        cascade_n: of the explained images, how many are explained by ever more randomised networks too; 0 or >= 2.
        learn: training images that the universal patch is learned on; needed where attacks has "patch".
        patch_n, patch_area, patch_steps: of "patch" and "sticker": images, share of the sign, steps.

    Returns:
        The probe set. The same seed draws the same images for every network on the same split.
    """
    index = probe_index(split.labels, n, seed=seed)
    chosen = split.take(index)
    images = chosen.as_float()
    as_tensor = torch.from_numpy(images).to(device)
    labels = torch.from_numpy(chosen.labels).to(device)
    logits = predict(images)
    steps = {"fgsm": 1, "pgd": pgd_steps, "apgd-ce": apgd_steps, "apgd-dlr": apgd_steps}
    made = [name for asked in attacks for name in _ON_TWIN.get(asked, ())]
    jobs = [(name, radius) for name in made for radius in (apgd_eps if name.startswith("apgd") else eps)]
    attacked: dict[str, Images] = {}
    gradient = [name for name in explainers if KINDS[name] == "gradient"]
    for done, (name, radius) in enumerate(jobs):
        first = slice(apgd_n if name.startswith("apgd") else None)
        attacked[f"{name}@{radius}"] = _attack(
            net, as_tensor[first], labels[first], name, pixels(radius), steps[name], seed
        )
        progress({"what": "attack", "done": done + 1, "total": len(jobs)})
    printed: dict[str, str | int | float] = {}
    if learn is not None and (names := [name for name in attacks if name in ("patch", "sticker")]):
        first, region = slice(patch_n), chosen.relevance()
        prints, printed = printed_attacks(
            net,
            as_tensor[first],
            chosen.labels[first],
            None if region is None else region[first],
            learn=learn,
            names=names,
            area=patch_area,
            steps=patch_steps,
            seed=seed,
            exact=chosen.masks is not None,
        )
        attacked |= prints
        progress({"what": "attack", "done": len(names), "total": len(names)})
    few = min(explain_n, len(images))
    targets: Labels = logits[:few].argmax(1).astype(np.int64)
    maps: dict[str, Maps] = {}
    for done, name in enumerate(gradient):
        explain = EXPLAINERS[name].load()
        found = explain(net, as_tensor[:few], torch.from_numpy(targets).to(device), seed=seed)
        maps[name] = found.cpu().numpy().astype(np.float32)
        progress({"what": "explain", "done": done + 1, "total": len(gradient)})
    noisy = _noisy(net, predict, images, targets[:stability_n], gradient, device=device, seed=seed)
    segments = grid(images.shape[-1], _CELLS)
    if "lime" in explainers:
        some = min(_TWIN_LIME, few)
        maps["lime"] = lime(
            predict,
            images[:some],
            targets[:some],
            segments=segments,
            n_samples=lime_samples,
            seed=seed,
            fill=fill,
        ).maps
    return ProbeSet(
        index=index,
        images=images,
        labels=chosen.labels,
        relevance=chosen.relevance(),
        logits=logits,
        attacked=attacked,
        maps=maps,
        targets=targets,
        segments=segments,
        settings={
            "seed": seed,
            "pgd_steps": pgd_steps,
            "split": split.name,
            **({"apgd_steps": apgd_steps} if "apgd" in attacks else {}),
            **printed,
        },
        noisy=noisy,
        cascade=_cascade(net, images, targets[:cascade_n], gradient, device=device, seed=seed),
    )


def _noisy(
    net: nn.Module,
    predict: Predict,
    images: Images,
    targets: Labels,
    explainers: Sequence[str],
    *,
    device: str,
    seed: int,
) -> NoisyCopies | None:
    """Copies of the first images, one for each of ``targets``, explained for those classes."""
    if not len(targets) or not explainers:
        return None
    copies = noisy_copies(images[: len(targets)], seed=seed)
    labels = torch.from_numpy(targets).to(device)
    maps: dict[str, Maps] = {}
    for name in explainers:
        explain = EXPLAINERS[name].load()
        # The seed of the clean images' maps: SmoothGrad's own draws are then no part of what moves.
        parts = [explain(net, torch.from_numpy(copy).to(device), labels, seed=seed).cpu().numpy() for copy in copies]
        maps[name] = np.stack(parts).astype(np.float32)
    same_class = np.stack([predict(copy).argmax(1) == targets for copy in copies])
    return NoisyCopies(copies, same_class, maps)


def _cascade(
    net: nn.Module, images: Images, targets: Labels, explainers: Sequence[str], *, device: str, seed: int
) -> CascadeMaps | None:
    """The first images, one for each of ``targets``, explained by every network of the cascade."""
    if not len(targets) or not explainers:
        return None
    pictures, labels = torch.from_numpy(images[: len(targets)]).to(device), torch.from_numpy(targets).to(device)
    layers: list[str] = []
    parts: dict[str, list[Maps]] = {name: [] for name in explainers}
    for layer, other in cascade(net, images[: len(targets)], seed=seed):
        layers.append(layer)
        for name in explainers:
            # The seed of the whole network's maps: SmoothGrad's own draws are then no part of what changes.
            parts[name].append(EXPLAINERS[name].load()(other, pictures, labels, seed=seed).cpu().numpy())
    return CascadeMaps(tuple(layers), {name: np.stack(found).astype(np.float32) for name, found in parts.items()})


def _attack(
    net: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    name: str,
    eps: float,
    steps: int,
    seed: int,
) -> Images:
    parts = []
    for start in range(0, len(images), _BATCH):
        here, true = images[start : start + _BATCH], labels[start : start + _BATCH]
        here = here.contiguous(memory_format=torch.channels_last)
        if name == "fgsm":
            parts.append(fgsm(net, here, true, eps=eps, seed=seed).cpu())
        elif name.startswith("apgd"):
            loss: LossName = "dlr" if name == "apgd-dlr" else "ce"
            parts.append(apgd(net, here, true, eps=eps, steps=steps, loss=loss, seed=seed).images.cpu())
        else:
            parts.append(pgd(net, here, true, eps=eps, steps=steps, seed=seed + start).cpu())
    out: Images = torch.cat(parts).contiguous().numpy()
    return out
