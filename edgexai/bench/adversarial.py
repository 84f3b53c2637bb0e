"""Time of adversarial training over its own passes on batches that lie ready: what all that is not arithmetic costs.

Over stands ``train.adversarial.fit_adversarial`` itself for one epoch: gather, augment, random start, attack, schedule,
step, moving average, and once the checkpoint and the validation (on two images, PGD-10 included). Under stand the same
forward and backward passes, as many and as large, and the SGD step; a test counts both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from edgexai.bench.epoch import ready_batches
from edgexai.bench.line import Line, interleave, ratio_line
from edgexai.bench.workshop import SEED, Workshop
from edgexai.models.base import Network
from edgexai.train.adversarial import AdversarialSettings, fit_adversarial
from edgexai.train.feed import Feed
from edgexai.train.frozen_statistics import frozen_statistics
from edgexai.train.loop import LoopSettings
from edgexai.train.optimiser import set_lr, sgd
from edgexai.train.perturb import Adversary
from edgexai.types import Split

_WEIGHT_DECAY, _LR, _EPS, _AVERAGE = 5e-4, 0.02, 8 / 255, 0.999
_AIM = "<= 1.15"
Ready = Sequence[tuple[Tensor, Tensor, Tensor]]
"""Per batch: images (N,3,H,W), the same twice over (2N,3,H,W), labels (2N,)."""


def own_passes(
    net: Network, optimiser: torch.optim.Optimizer, ready: Ready, *, steps: int, trades: bool = False
) -> None:
    """Per batch: ``steps`` gradients to the images, one training pass over clean and attacked ones, one SGD step.

    Args:
        steps: of the attack.
        trades: one forward pass more, that of the clean images before the attack.
    """
    for images, both, labels in ready:
        with frozen_statistics(net):
            if trades:
                with torch.no_grad():
                    net(images)
            for _ in range(steps):
                points = images.detach().requires_grad_(True)
                torch.autograd.grad(F.cross_entropy(net(points), labels[: len(images)], reduction="sum"), points)
        loss = F.cross_entropy(net(both), labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def attack_settings(method: str, *, steps: int, batch_size: int) -> AdversarialSettings:
    """Of one epoch of ``method``: "fgsm", "pgd" or "trades"; ``steps`` are those of the latter two."""
    plain = LoopSettings(epochs=1, batch_size=batch_size, lr=_LR, weight_decay=_WEIGHT_DECAY, weight_average=_AVERAGE)
    adversary = Adversary(_EPS, steps=1 if method == "fgsm" else steps)
    return AdversarialSettings(plain, adversary, trades=method == "trades")


def adversarial_over_passes(workshop: Workshop) -> list[Line]:
    """Three lines: signnet under FGSM, PGD and TRADES."""
    settings, found = workshop.settings, workshop.dataset
    few = found.splits["val"].take(np.arange(2))
    lines = []
    for method in ("fgsm", "pgd", "trades"):
        batches = settings.attack_batches if method == "fgsm" else max(1, settings.attack_batches // 2)
        part = _part(found.splits["train"], batches * settings.batch_size)
        chosen = attack_settings(method, steps=settings.attack_steps, batch_size=settings.batch_size)
        steps = chosen.adversary.steps
        times = interleave(_sides(workshop, part, few, chosen), rounds=settings.rounds)
        lines.append(
            ratio_line(
                "adversarial",
                f"adversarial epoch / its own passes, {method}, signnet, {found.name}",
                times["loop"],
                times["passes"],
                threads=workshop.threads,
                aim=_AIM,
                method=(
                    f"signnet on {len(part)} images of {found.name} train, batch {settings.batch_size}, {method} with "
                    f"{steps} step(s), eps 8/255, clean and attacked images at equal weight. Over: the training, "
                    "one epoch with checkpoint, and validation on two images. Under: its forward and backward passes "
                    "and SGD steps on batches that lie in memory."
                ),
                detail={"data": found.name, "batches": len(part) // settings.batch_size, "attack_steps": steps},
            )
        )
    return lines


def ready_pairs(split: Split, *, batch_size: int) -> Ready:
    """Every augmented batch of an epoch, held in memory, beside itself twice over."""
    feed = Feed(split, batch_size=batch_size, augment="sign", strength=1.0, seed=SEED, device="cpu")
    return [
        (images, torch.cat([images, images]).contiguous(memory_format=torch.channels_last), torch.cat([labels, labels]))
        for images, labels in ready_batches(feed, len(feed))
    ]


def _sides(workshop: Workshop, part: Split, few: Split, chosen: AdversarialSettings) -> dict[str, Callable[[], object]]:
    ours, theirs = (workshop.net("signnet").to(memory_format=torch.channels_last).train() for _ in range(2))
    optimiser, folders = sgd(theirs, weight_decay=_WEIGHT_DECAY), count()
    set_lr(optimiser, _LR)
    ready = ready_pairs(part, batch_size=chosen.plain.batch_size)

    def loop() -> object:
        # a folder of its own each time, or it would continue from the checkpoint and do nothing
        work = workshop.folder / f"adversarial-{chosen.trades}-{chosen.adversary.steps}-{next(folders)}"
        return fit_adversarial(ours, part, few, settings=chosen, seed=SEED, work=work, progress=lambda event: None)

    def passes() -> None:
        own_passes(theirs.train(), optimiser, ready, steps=chosen.adversary.steps, trades=chosen.trades)

    return {"loop": loop, "passes": passes}


def _part(split: Split, n: int) -> Split:
    return split.take(np.sort(np.random.default_rng(SEED).permutation(len(split))[:n]))
