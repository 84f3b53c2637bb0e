"""What the tests of the training loops share: short settings, an interruption, comparison by bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from planted import CLASSES, SIZE, bars

from edgexai.models.arch import Arch
from edgexai.models.base import Network
from edgexai.models.store import build
from edgexai.registry import Entry
from edgexai.train import METHODS
from edgexai.train.adversarial import AdversarialSettings
from edgexai.train.advprop import AdvPropSettings
from edgexai.train.loop import LoopSettings
from edgexai.train.perturb import Adversary
from edgexai.types import Split

EPS = 8 / 255
PLAIN = LoopSettings(epochs=3, batch_size=8, lr=0.05, weight_decay=5e-4, weight_average=0.9, label_smoothing=0.1)
EASY = LoopSettings(epochs=5, batch_size=12, lr=0.1, weight_decay=5e-4, augment="none")
FGSM, PGD = Adversary(EPS), Adversary(EPS, steps=3)
L2 = Adversary(0.7, norm="l2", steps=2)
SETTINGS: dict[str, AdversarialSettings | AdvPropSettings] = {
    "fgsm": AdversarialSettings(PLAIN, FGSM, adversarial_weight=2.0),
    "pgd": AdversarialSettings(PLAIN, PGD, clean_weight=0.0),
    "l2": AdversarialSettings(PLAIN, L2, patience=3),
    "trades": AdversarialSettings(PLAIN, Adversary(EPS, steps=2), trades=True, adversarial_weight=6.0),
    "advprop": AdvPropSettings(PLAIN, FGSM),
    "advprop_pgd": AdvPropSettings(PLAIN, PGD, adversarial_weight=0.5),
}


def faint(n: int, seed: int) -> Split:
    """Bars on a tint of 8/255 that tells the class too: the easiest cue of all, and gone under an attack of 16/255."""
    tints = np.array([[1, 1, -1], [1, -1, 1], [-1, 1, 1], [-1, -1, -1]]) * 8
    split = bars(n, seed)
    images = (split.images.astype(int) + tints[split.labels][:, None, None]).clip(0, 255).astype(np.uint8)
    return replace(split, images=images)


def wide_signnet(seed: int = 0) -> Network:
    """Wide enough to learn in five short epochs."""
    return build(Arch("signnet", (16,) * 8, CLASSES, SIZE, (0.47,) * 3, (0.2,) * 3), seed=seed)


class StopError(Exception):
    """Stands for Ctrl-C or a crash."""


def stop_after(epochs: int) -> Callable[[Mapping[str, Any]], None]:
    def progress(event: Mapping[str, Any]) -> None:
        if event["done"] == epochs:
            raise StopError

    return progress


def nothing(_: Mapping[str, Any]) -> None:
    pass


def same(one: Network, other: Network) -> bool:
    return all(torch.equal(v, other.state_dict()[k]) for k, v in one.state_dict().items())


def fit(net: Network, settings: Any, work: Path, **more: Any) -> Mapping[str, float]:
    """The loop that takes these settings, on a few bars."""
    names = {LoopSettings: "natural", AdversarialSettings: "adversarial", AdvPropSettings: "advprop"}
    entry: Entry = METHODS[names[type(settings)]]
    words: dict[str, Any] = {"progress": nothing, "seed": 0, **more}
    train, val = words.pop("train", bars(26, 1)), words.pop("val", bars(12, 2))
    scores: Mapping[str, float] = entry.load()(net, train, val, settings=settings, work=work, **words)
    return scores
