"""Accuracy under common corruptions: every corrupted split is made once and shown to all engines.

Source: D. Hendrycks, T. Dietterich, ICLR 2019; images from ``data.corruptions``. Convention: the headline
is the plain mean over every (corruption, severity) that was asked for, not their error relative to AlexNet's; its
interval resamples images, and keeps an image with all its corrupted copies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexai.errors import UserError
from edgexai.measure.accuracy import is_correct
from edgexai.measure.replay import Replay
from edgexai.measure.rows import Detail, accuracy_row, mean_row
from edgexai.measure.subject import Subject
from edgexai.types import Split


def replay_corruptions(
    engines: Sequence[tuple[Subject, Replay]],
    corrupted: Iterable[tuple[str, int, Split]],
    *,
    split: str,
    seed: int,
) -> None:
    """Adds the rows and verdicts of every engine to its ``Replay``.

    Rows "corruption_acc": one a corruption and severity (Wilson), and their mean with
    ``detail = {"corruption": "mean", "severity": "all"}`` (bootstrap over images). Verdicts:
    "corruption/<name>_<severity>" bool (N,) and "corruption/mean" float (N,), an image's share of copies decided right.

    Args:
        engines: each with where its findings go.
        corrupted: (corruption, severity, the same images corrupted); taken one at a time, never held together.
        split: name of the clean split that was corrupted.
        seed: of the corruptions and of the bootstrap.

    Raises:
        UserError: nothing was corrupted.
    """
    found: list[list[NDArray[np.bool_]]] = [[] for _ in engines]
    for name, severity, made in corrupted:
        images = made.as_float()
        detail: Detail = {"corruption": name, "severity": severity}
        for (who, out), rights in zip(engines, found, strict=True):
            right = is_correct(who.predict, images, made.labels)
            rights.append(right)
            out.verdicts[f"corruption/{name}_{severity}"] = right
            out.rows.append(accuracy_row(right, **_words(who, split, seed), metric="corruption_acc", detail=detail))
    for (who, out), rights in zip(engines, found, strict=True):
        if not rights:
            raise UserError("accuracy under corruption: no corruption was given")
        mean: NDArray[np.float64] = np.mean(rights, axis=0, dtype=np.float64)
        out.verdicts["corruption/mean"] = mean
        detail = {"corruption": "mean", "severity": "all"}
        row = mean_row(mean, **_words(who, split, seed), metric="corruption_acc", unit="fraction", detail=detail)
        out.rows.append(row)


def _words(who: Subject, split: str, seed: int) -> dict[str, Any]:
    return {
        "arm": who.arm, "artefact": who.artefact, "subject": who.subject, "runtime": who.runtime,
        "split": split, "seed": seed,
    }  # fmt: skip
