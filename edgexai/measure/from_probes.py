"""``edgexai measure ENGINE --probes P``: a stored probe set replayed on one engine, without its twin.

What needed gradients was made on the twin and lies in the probes; what needs forward passes is done here: noise,
Square, LIME. Same functions, probes and seeds as a recipe's own measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgexai.config.pixels import pixels
from edgexai.errors import ShapeError
from edgexai.measure.compare import Measured, road_rows
from edgexai.measure.flags import check
from edgexai.measure.replay import Replay, replay_attacks, replay_clean, replay_explanations
from edgexai.measure.subject import Subject
from edgexai.probe.probe_set import ProbeSet
from edgexai.types import Row, Split


def replay_probes(
    who: Subject,
    probes: ProbeSet,
    *,
    attacks: Sequence[str],
    eps: Sequence[str],
    explainers: Sequence[str],
    square_queries: int,
    square_n: int,
    lime_samples: int,
) -> list[Row]:
    """Everything the probes allow, flags set.

    Args:
        who: the engine.
        probes: of ``probe.probe_set.read_probes``.
        attacks: some of "noise", "square", beside those in the probes.
        eps: radii of the noise; Square takes the largest. Empty: those of the probes' attacks.
        explainers: names of the probes' maps, and "lime".
        square_queries, square_n: of Square.
        lime_samples: masks per image.

    Raises:
        ShapeError: the engine does not take the probes' images, or has other classes.
        UserError: its answers are no logits.
    """
    seed = int(probes.settings["seed"])
    answer = who.predict(probes.images[:1])
    if answer.shape[1] != probes.logits.shape[1]:
        raise ShapeError(f"the engine has {answer.shape[1]} classes, the probes {probes.logits.shape[1]}")
    radii = list(eps) or sorted({name.split("@")[1] for name in probes.attacked if _is_eps(name)}, key=pixels)
    split, out = str(probes.settings["split"]), Replay()
    # Mean colour of the probes: the data set's own is not among them.
    red, green, blue = (float(v) for v in probes.images.mean((0, 2, 3)))
    replay_clean(who, {split: _as_split(probes, split)}, {split: probes.logits}, out=out)
    replay_attacks(
        who,
        probes,
        eps=radii,
        attacks=list(attacks) if radii else [],
        square_queries=square_queries,
        square_n=square_n,
        seed=seed,
        out=out,
    )
    replay_explanations(
        who,
        probes,
        {},
        explainers=explainers,
        lime_samples=lime_samples,
        fill=(red, green, blue),
        seed=seed,
        out=out,
    )
    measured = Measured(who.arm, who.artefact, who.runtime, out.verdicts, split)
    return [_on_probes(row) for row in check([*out.rows, *road_rows([measured], seed=seed)])]


def _is_eps(name: str) -> bool:
    try:
        pixels(name.partition("@")[2])
    except (ValueError, ArithmeticError):
        return False
    return True


def _on_probes(row: Row) -> Row:
    """Accuracy and agreement are of the probes alone here, not of a whole test split."""
    detail: dict[str, Any] = {**row.detail, "images": "probes"}
    return replace(row, detail=detail) if row.metric in ("clean_acc", "agreement", "logit_drift") else row


def _as_split(probes: ProbeSet, name: str) -> Split:
    images = np.round(probes.images * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    unknown = np.full((len(images), 4), np.nan, np.float32)
    return Split(name, np.ascontiguousarray(images), probes.labels, unknown, np.full(len(images), -1, np.int64))
