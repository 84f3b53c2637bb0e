"""Honesty rules as data: what raises a flag on a row, what that means, and what to do.

Convention: a comparison of two rows fires only if their 95 % intervals do not touch (so sampling noise alone rarely
fires it), unless the rule says otherwise. Rows are compared within one arm, artefact, subject and split.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np

from edgexai.types import Logits, Row

FEW_IMAGES = 100
MIN_AGREEMENT = 0.98
MASK_LEAK = 0.02


@dataclass(frozen=True)
class Flag:
    """One rule, in words a reader understands.

    Attributes:
        raised_if: the exact condition.
        means: why it matters.
        do: what to do now.
    """

    raised_if: str
    means: str
    do: str


FLAGS: dict[str, Flag] = {
    "robust_above_clean": Flag(
        "accuracy under attack lies above clean accuracy, intervals apart",
        "the attack does not attack, or the two rows are not of the same thing",
        "check labels, images and epsilon of the attack",
    ),
    "robust_not_falling": Flag(
        "accuracy at a larger eps is not below that at a smaller one although the smaller one still left more than 5 % "
        "(same images: equal counts fire; other n: intervals apart)",
        "the attack cannot use its freedom: a masked gradient, or an eps that is not in pixels",
        "attack with more steps and random starts; check that mean and deviation live inside the model",
    ),
    "black_box_beats_white_box": Flag(
        "Square leaves a lower accuracy than PGD or APGD at the same eps, intervals apart",
        "the gradient attack is too weak here: a masked gradient, or it was transferred from a twin that differs",
        "read the Square figure as the robust accuracy; look at agreement with the twin",
    ),
    "noise_beats_attack": Flag(
        "random noise leaves a lower accuracy than an attack at the same eps, intervals apart",
        "the attack does worse than chance",
        "do not use the attack's figure",
    ),
    "one_step_beats_many": Flag(
        "FGSM leaves a lower accuracy than PGD or APGD at the same eps, intervals apart",
        "the sign of a masked or catastrophically overfitted gradient",
        "attack with more steps and random starts",
    ),
    "not_logits": Flag(
        'the row says that the predictor\'s output was not logits (detail "output", see ``output_kind``)',
        "probabilities flatten the loss, so attacks and drift look better than they are",
        "export the network without softmax",
    ),
    "not_above_random_map": Flag(
        "an explainer's ROAD gap does not lie above the random map's, intervals touching",
        "no evidence that the map says what this predictor uses",
        "do not show the map as an explanation of this artefact",
    ),
    "not_above_centre_map": Flag(
        "an explainer's share of attribution on the sign does not lie above the centre-Gaussian map's",
        "signs sit in the middle of their crops: looking at the centre scores as well",
        "do not claim that the map finds the sign",
    ),
    "follows_confidence": Flag(
        "always, on deletion and insertion areas that are not divided by the original confidence",
        "these areas follow the model's confidence: a less confident model gets a lower deletion area whatever its map",
        "rank explainers of one model by them, never models; across models read the ROAD gap",
    ),
    "mask_leaks_class": Flag(
        f"an explainer's removal pattern, laid over an image of another class, wins more than {MASK_LEAK:.0%} of such "
        "images for its own class than a random pattern does, by the interval's lower bound",
        "the predictor reads the class off the shape of what is missing: deletion, ROAD and sufficiency then measure "
        "that shape, not the pixels",
        "do not use removal metrics for this explainer and predictor; look at localisation and sensitivity-n",
    ),
    "substrate_decides": Flag(
        "an explainer's normalised deletion area is better than the random map's under this substrate, intervals "
        "apart, and not better under another one",
        "the predictor answers to the colour that is put in, not to what was taken out",
        "read ROAD, whose imputation no single colour can trigger; look for a fill colour in the training data",
    ),
    "unlike_twin": Flag(
        f"decisions agree with the twin on less than {MIN_AGREEMENT:.0%} of images, by the interval's upper bound",
        "twin figures (gradient maps, transferred attacks) say little about this engine",
        "export again, with more calibration images or fp32",
    ),
    "few_images": Flag(
        f"a fraction or a mean over fewer than {FEW_IMAGES} images",
        "the interval is wide and the images may not be typical",
        "measure on more images before drawing a conclusion",
    ),
}


def output_kind(logits: Logits) -> Literal["logits", "probabilities", "constant"]:
    """What a predictor's output looks like; put it into a row's ``detail["output"]``.

    Args:
        logits: float32 (N,K), N >= 1.

    Returns:
        "probabilities" if all lie in [0,1] and every row sums to 1 within 1e-3; "constant" if all rows are equal.
    """
    if len(logits) > 1 and np.ptp(logits, axis=0).max() == 0:
        return "constant"
    if logits.min() >= 0 and np.abs(logits.astype(np.float64).sum(axis=1) - 1).max() < 1e-3:
        return "probabilities"
    return "logits"


def check(rows: list[Row]) -> list[Row]:
    """The same rows in the same order, each with the names of the flags it raises added.

    Rows that were not measured are passed through. Flags already set stay; nothing is set twice.
    """
    groups: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in rows:
        if row.value is not None:
            groups.setdefault(_group(row), []).append(row)
    return [row if row.value is None else _flagged(row, groups[_group(row)]) for row in rows]


def _flagged(row: Row, peers: list[Row]) -> Row:
    raised = [name for name, rule in _RULES.items() if rule(row, peers)]
    return replace(row, flags=tuple(dict.fromkeys((*row.flags, *raised))))


def _group(row: Row) -> tuple[str, str, str, str]:
    return row.arm, row.artefact, row.subject, row.split


def _low(row: Row) -> float:
    return _value(row) if row.low is None else row.low


def _high(row: Row) -> float:
    return _value(row) if row.high is None else row.high


def _value(row: Row) -> float:
    return float("nan") if row.value is None else row.value


def _eps(row: Row) -> float:
    return float(Fraction(str(row.detail["eps"]).replace(" ", ""))) if "eps" in row.detail else float("nan")


_MANY_STEPS = ("pgd", "apgd-ce", "apgd-dlr")


def _attacked(row: Row, *attacks: str) -> bool:
    return row.metric == "robust_acc" and row.detail.get("attack") in attacks


def _robust_above_clean(row: Row, peers: list[Row]) -> bool:
    clean = [p for p in peers if p.metric == "clean_acc"]
    return row.metric == "robust_acc" and any(_low(row) > _high(c) for c in clean)


def _robust_not_falling(row: Row, peers: list[Row]) -> bool:
    if not _attacked(row, "fgsm", *_MANY_STEPS, "square"):
        return False
    for weaker in (p for p in peers if _attacked(p, str(row.detail["attack"])) and _eps(p) < _eps(row)):
        same_images = weaker.n == row.n
        rises = _value(row) >= _value(weaker) if same_images else _low(row) > _high(weaker)
        if rises and _value(weaker) > 0.05:
            return True
    return False


def _beaten_by(row: Row, peers: list[Row], stronger: str) -> bool:
    return any(_attacked(p, stronger) and _eps(p) == _eps(row) and _high(p) < _low(row) for p in peers)


def _black_box_beats_white_box(row: Row, peers: list[Row]) -> bool:
    return _attacked(row, *_MANY_STEPS) and _beaten_by(row, peers, "square")


def _noise_beats_attack(row: Row, peers: list[Row]) -> bool:
    return _attacked(row, "fgsm", *_MANY_STEPS, "square") and _beaten_by(row, peers, "noise")


def _one_step_beats_many(row: Row, peers: list[Row]) -> bool:
    return _attacked(row, *_MANY_STEPS) and _beaten_by(row, peers, "fgsm")


def _not_logits(row: Row, peers: list[Row]) -> bool:
    return row.detail.get("output", "logits") != "logits"


_BASELINES = ("random", "centre_gaussian")


def _not_above(row: Row, peers: list[Row], metric: str, baseline: str) -> bool:
    if row.metric != metric or row.detail.get("explainer") in (None, *_BASELINES):
        return False
    controls = [p for p in peers if p.metric == metric and p.detail.get("explainer") == baseline]
    # A map in another removal order, or of other images, is no control of this one.
    same = [p for p in controls if p.detail.get("order") == row.detail.get("order")]
    return any(_low(row) <= _high(control) for control in same)


def _not_above_random_map(row: Row, peers: list[Row]) -> bool:
    return row.detail.get("order", "morf") == "morf" and _not_above(row, peers, "road_gap", "random")


def _not_above_centre_map(row: Row, peers: list[Row]) -> bool:
    return _not_above(row, peers, "roi_share", "centre_gaussian")


def _follows_confidence(row: Row, peers: list[Row]) -> bool:
    return row.metric in ("deletion_auc", "insertion_auc")


def _mask_leaks_class(row: Row, peers: list[Row]) -> bool:
    return row.metric == "mask_leak" and row.detail.get("explainer") not in _BASELINES and _low(row) > MASK_LEAK


def _substrate_decides(row: Row, peers: list[Row]) -> bool:
    if row.metric != "deletion_auc_normalised" or row.detail.get("explainer") in (None, *_BASELINES):
        return False
    areas = [p for p in peers if p.metric == row.metric]
    random = {p.detail.get("substrate"): p for p in areas if p.detail.get("explainer") == "random"}
    control = random.get(row.detail.get("substrate"))
    if control is None or _high(row) >= _low(control):
        return False
    same_map = [p for p in areas if p.detail.get("explainer") == row.detail["explainer"]]
    elsewhere = [(p, random[p.detail.get("substrate")]) for p in same_map if p.detail.get("substrate") in random]
    return any(_value(own) >= _value(other) for own, other in elsewhere)


def _unlike_twin(row: Row, peers: list[Row]) -> bool:
    # a row of the drift ledger is held against its noise floor, not against this threshold
    return row.metric == "agreement" and "step" not in row.detail and _high(row) < MIN_AGREEMENT


def _few_images(row: Row, peers: list[Row]) -> bool:
    return row.interval in ("wilson", "bootstrap", "paired-bootstrap", "bonett-price") and row.n < FEW_IMAGES


_RULES: dict[str, Callable[[Row, list[Row]], bool]] = {
    "robust_above_clean": _robust_above_clean,
    "robust_not_falling": _robust_not_falling,
    "black_box_beats_white_box": _black_box_beats_white_box,
    "noise_beats_attack": _noise_beats_attack,
    "one_step_beats_many": _one_step_beats_many,
    "not_logits": _not_logits,
    "not_above_random_map": _not_above_random_map,
    "not_above_centre_map": _not_above_centre_map,
    "follows_confidence": _follows_confidence,
    "mask_leaks_class": _mask_leaks_class,
    "substrate_decides": _substrate_decides,
    "unlike_twin": _unlike_twin,
    "few_images": _few_images,
}
