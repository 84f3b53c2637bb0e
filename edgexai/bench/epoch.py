"""Time of a training epoch's batches over the pure steps on batches that lie ready: what feeding and augmenting cost.

``natural_batches`` is the inner loop of ``train.natural.fit_natural``, word for word; a test holds the two together to
equal weights. Validation and checkpoint, once an epoch, are not in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count, islice

import torch
import torch.nn.functional as F
from torch import Tensor

from edgexai.bench.line import Line, interleave, ratio_line
from edgexai.bench.workshop import SEED, Workshop
from edgexai.models.base import Network
from edgexai.train.feed import Feed, epoch_seed
from edgexai.train.optimiser import one_cycle, set_lr, sgd

_WEIGHT_DECAY, _LR = 5e-4, 0.02
Batches = Iterable[tuple[Tensor, Tensor]]


def natural_batches(
    net: Network, optimiser: torch.optim.Optimizer, feed: Feed, *, epoch: int, epochs: int, batches: int, lr: float
) -> Tensor:
    """Trains ``net`` in place on the first ``batches`` batches of ``epoch``; returns the summed loss."""
    loss_sum = torch.zeros(())
    total = epochs * len(feed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(epoch_seed(feed.seed + 1, epoch))
        for step, (raw, labels, _, generator) in enumerate(islice(feed.epoch(epoch), batches)):
            set_lr(optimiser, one_cycle(epoch * len(feed) + step, total, lr))
            images = feed.augmented(raw, generator)
            loss = F.cross_entropy(net(images), labels, label_smoothing=0.0)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            loss_sum += loss.detach()
    return loss_sum


def pure_steps(net: Network, optimiser: torch.optim.Optimizer, batches: Batches) -> None:
    """Forward, backward and optimiser step on each batch as it comes."""
    for images, labels in batches:
        loss = F.cross_entropy(net(images), labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def ready_batches(feed: Feed, n: int) -> Sequence[tuple[Tensor, Tensor]]:
    """The first ``n`` augmented batches of an epoch, held in memory."""
    return [(feed.augmented(raw, generator), labels) for raw, labels, _, generator in islice(feed.epoch(0), n)]


def epoch_over_steps(workshop: Workshop) -> list[Line]:
    """One line: signnet, our loop over pure steps."""
    settings, found = workshop.settings, workshop.dataset
    feed = Feed(
        found.splits["train"], batch_size=settings.batch_size, augment="sign", strength=1.0, seed=SEED, device="cpu"
    )
    batches = min(settings.segment_batches, len(feed))
    ready = ready_batches(feed, batches)
    ours, theirs = (workshop.net("signnet").to(memory_format=torch.channels_last).train() for _ in range(2))
    our_optimiser, their_optimiser = (sgd(net, weight_decay=_WEIGHT_DECAY) for net in (ours, theirs))
    set_lr(their_optimiser, _LR)
    epochs, rounds = count(), settings.rounds
    times = interleave(
        {
            "loop": lambda: natural_batches(
                ours, our_optimiser, feed, epoch=next(epochs), epochs=rounds + 1, batches=batches, lr=_LR
            ),
            "steps": lambda: pure_steps(theirs, their_optimiser, ready),
        },
        rounds=rounds,
    )
    method = (
        f"signnet on {found.name} train ({len(found.splits['train'])} images), batch {feed.batch_size}, pieces of "
        f"{batches} batches in turn. Over: the training loop (gather, augment, schedule, step). Under: forward, "
        "backward, SGD step on as many augmented batches that lie in memory. Validation and checkpoint not included."
    )
    return [
        ratio_line(
            "epoch",
            f"epoch / pure steps, signnet, {found.name}",
            times["loop"],
            times["steps"],
            threads=workshop.threads,
            method=method,
            aim="<= 1.25",
            detail={"data": found.name, "batches": batches, "batch": feed.batch_size},
        )
    ]
