"""Replays a probe set on one engine: accuracy, agreement with the twin, attacks, maps, faithfulness.

Every function returns rows and the per-image values behind them ("verdicts"), so that arms can be compared on the same
images later. Gradient maps and gradient attacks come from the probes, hence from the twin, and the rows say so; LIME,
Square, noise and the saliency output run on the engine itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexai.attack.noise import noise
from edgexai.attack.square import square
from edgexai.config.pixels import pixels
from edgexai.explain.baselines import centre_gaussian, random_map
from edgexai.explain.lime import lime
from edgexai.measure.accuracy import logits_of
from edgexai.measure.attack_words import attack_words, printed_words
from edgexai.measure.deletion import area, deletion_insertion, probability
from edgexai.measure.drift import decision_agreement, map_rank_correlation
from edgexai.measure.faithfulness import road_curves
from edgexai.measure.flags import output_kind
from edgexai.measure.localisation import pointing_game, roi_share
from edgexai.measure.rows import accuracy_row, mean_row
from edgexai.measure.sparsity import gini, top_mass
from edgexai.measure.subject import Subject
from edgexai.probe.probe_set import ProbeSet
from edgexai.types import Logits, Maps, Row, Split

_DELETION_STEPS = 32
ON_ENGINE = ("lime", "cam")
"""Explainers whose maps the engine makes itself; all others are the twin's."""
_IN_UNION = ("pgd", "apgd-ce", "apgd-dlr", "square")
"""The strong ones: FGSM is left out as a PGD of one step, noise as a control."""


@dataclass
class Replay:
    """What was found.

    Attributes:
        rows: finished rows.
        verdicts: name -> per-image values, e.g. "clean/test" bool (N,), "road/ig/morf" bool (L,m), "confidence" (n,),
            "deletion/ig" (m,).
        maps: explainer -> (m,H,W) as made by the engine itself.
    """

    rows: list[Row] = field(default_factory=list)
    verdicts: dict[str, NDArray[Any]] = field(default_factory=dict)
    maps: dict[str, Maps] = field(default_factory=dict)


def replay_clean(who: Subject, splits: Mapping[str, Split], twin: Mapping[str, Logits], *, out: Replay) -> None:
    """Clean accuracy on every test split, and how often and how far the engine departs from its twin.

    Args:
        twin: split name -> the twin's logits; empty where ``who`` is the twin itself.
    """
    words = _words(who)
    for name, split in splits.items():
        logits = logits_of(who.predict, split.as_float())
        right = logits.argmax(1) == split.labels
        out.verdicts[f"clean/{name}"] = right
        out.verdicts[f"decided/{name}"] = logits.argmax(1)
        out.verdicts[f"confidence/{name}"] = probability(logits, logits.argmax(1)).astype(np.float32)
        out.rows.append(accuracy_row(right, **words, split=name, detail={"output": output_kind(logits)}))
        if name in twin:
            same = decision_agreement(twin[name], logits)
            out.rows.append(accuracy_row(same, **words, metric="agreement", split=name))
            drift = np.abs(twin[name] - logits)
            detail: dict[str, str | int | float] = {"statistic": "mean", "largest": float(drift.max())}
            mean = drift.mean(1).astype(np.float64)
            out.rows.append(
                mean_row(mean, **words, metric="logit_drift", unit="logit", split=name, seed=0, detail=detail)
            )


def replay_attacks(
    who: Subject,
    probes: ProbeSet,
    *,
    eps: Sequence[str],
    attacks: Sequence[str],
    square_queries: int,
    square_n: int,
    square_eps: str | None = None,
    seed: int,
    out: Replay,
) -> None:
    """Robust accuracy: the probes' transferred attacks, noise of the same norm, Square on the engine itself, and the
    worst case per image ("union") wherever two of PGD, APGD and Square met at one eps.

    Args:
        square_eps: Square's radius; None = the largest of ``eps``.
    """
    words, made_on = _words(who), "white_box" if who.subject == "twin" else "transfer"
    for name, images in probes.attacked.items():
        attack = name.split("@")[0]
        right = logits_of(who.predict, images).argmax(1) == probes.labels[: len(images)]
        out.verdicts[f"robust/{name}"] = right
        detail: dict[str, str | int | float] = {**attack_words(name), "source": made_on}
        printed = "eps" not in detail
        if printed:
            detail |= printed_words(attack, probes.settings)
        elif attack != "fgsm":
            detail["steps"] = int(probes.settings[f"{attack.split('-')[0]}_steps"])
        control = "the same print in random colours" if printed else "noise of the same norm; Square on the engine"
        out.rows.append(
            accuracy_row(
                right, **words, metric="robust_acc", detail=detail, seed=seed, split=_split(probes), control=control
            )
        )
    if "noise" in attacks:
        for radius in eps:
            noisy = noise(probes.images, eps=pixels(radius), seed=seed)
            right = logits_of(who.predict, noisy).argmax(1) == probes.labels
            out.verdicts[f"robust/noise@{radius}"] = right
            detail = {"attack": "noise", "eps": radius, "source": "none"}
            out.rows.append(
                accuracy_row(right, **words, metric="robust_acc", detail=detail, seed=seed, split=_split(probes))
            )
    if "square" in attacks:
        radius = square_eps or max(eps, key=pixels)
        some = min(square_n, len(probes.labels))
        found = square(
            who.predict,
            probes.images[:some],
            probes.labels[:some],
            eps=pixels(radius),
            n_queries=square_queries,
            seed=seed,
        )
        standing = ~found.fooled
        out.verdicts[f"robust/square@{radius}"] = standing
        detail = {"attack": "square", "eps": radius, "source": "black_box", "queries": square_queries}
        detail["queries_spent"] = int(found.queries.sum())
        out.rows.append(
            accuracy_row(standing, **words, metric="robust_acc", detail=detail, seed=seed, split=_split(probes))
        )
    for radius, members in _together(out.verdicts).items():
        found_by = [out.verdicts[f"robust/{attack}@{radius}"] for attack in members]
        some = min(map(len, found_by))
        standing = np.logical_and.reduce([right[:some] for right in found_by])
        out.verdicts[f"robust/union@{radius}"] = standing
        source = f"worst of {', '.join(members[:-1])} and {members[-1]}"
        detail = {"attack": "union", "eps": radius, "source": source}
        out.rows.append(
            accuracy_row(standing, **words, metric="robust_acc", detail=detail, seed=seed, split=_split(probes))
        )


def _together(verdicts: Mapping[str, NDArray[Any]]) -> dict[str, list[str]]:
    """eps -> the attacks of ``_IN_UNION`` with verdicts at it, where there are at least two."""
    names = [name.removeprefix("robust/").split("@") for name in verdicts if name.startswith("robust/")]
    radii = dict.fromkeys(radius for _, radius in names)
    found = {radius: [attack for attack in _IN_UNION if [attack, radius] in names] for radius in radii}
    return {radius: members for radius, members in found.items() if len(members) > 1}


def replay_explanations(
    who: Subject,
    probes: ProbeSet,
    engine_maps: Mapping[str, Maps],
    *,
    explainers: Sequence[str],
    lime_samples: int,
    fill: tuple[float, float, float],
    seed: int,
    out: Replay,
) -> None:
    """Sparsity, share on the sign, ROAD, deletion and insertion of every map, with the baselines beside them.

    "confidence" among the verdicts is the softmax probability of the decided class, of all probed images.

    Args:
        engine_maps: maps that the engine's own saliency output gave, by explainer ("cam").
        fill: data set mean, hides LIME's cells and is the "zero" of deletion and insertion.
    """
    words, split = _words(who), _split(probes)
    decided = logits_of(who.predict, probes.images)
    out.verdicts["confidence"] = probability(decided, decided.argmax(1))
    n = len(probes.targets)
    images, labels = probes.images[:n], probes.labels[:n]
    maps: dict[str, Maps] = {
        name: probes.maps[name] for name in explainers if name in probes.maps and name not in ON_ENGINE
    }
    maps |= {name: engine_maps[name] for name in explainers if name in engine_maps}
    if "lime" in explainers:
        found = lime(
            who.predict, images, probes.targets, segments=probes.segments, n_samples=lime_samples, seed=seed, fill=fill
        )
        maps["lime"] = found.maps
        detail: dict[str, str | int | float] = {"explainer": "lime", "samples": lime_samples}
        out.rows.append(mean_row(found.r2, **words, metric="lime_r2", seed=seed, split=split, detail=detail))
    out.maps |= {name: maps[name] for name in maps if name in ON_ENGINE}
    for name in ON_ENGINE:
        if name not in maps or name not in probes.maps or who.subject == "twin":
            continue
        rank = map_rank_correlation(maps[name][: len(probes.maps[name])], probes.maps[name])
        detail = {"explainer": name, "against": "twin"}
        out.rows.append(mean_row(rank, **words, metric="map_rank_correlation", seed=seed, split=split, detail=detail))
    size = images.shape[-1]
    maps |= {"random": random_map(n, size, seed), "centre_gaussian": centre_gaussian(n, size)}
    relevant = None if probes.relevance is None else probes.relevance[:n]
    if relevant is not None:
        area_share = relevant.mean((1, 2))
        out.rows.append(mean_row(area_share, **words, metric="roi_area", unit="fraction", seed=seed, split=split))
    for name, values in maps.items():
        detail = {"explainer": name, "map": _made_by(name, who)}
        common: dict[str, Any] = {**words, "seed": seed, "split": split, "detail": detail}
        if name not in ("random", "centre_gaussian"):
            out.verdicts[f"gini/{name}"] = gini(values)
            out.rows.append(mean_row(out.verdicts[f"gini/{name}"], **common, metric="saliency_gini"))
            out.rows.append(mean_row(top_mass(values), **common, metric="saliency_top10_mass", unit="fraction"))
        if relevant is not None:
            share = roi_share(values, relevant)
            out.verdicts[f"roi/{name}"] = share
            control = "roi_area: what an even map would give; centre Gaussian"
            out.rows.append(mean_row(share, **common, metric="roi_share", unit="fraction", control=control))
            hit = pointing_game(values, relevant, tolerance=2 * size / 32)
            out.verdicts[f"pointing/{name}"] = hit
            out.rows.append(mean_row(hit, **common, metric="pointing_game", unit="fraction"))
        curves = deletion_insertion(
            who.predict, images, probes.targets, values, substrate="zero", steps=_DELETION_STEPS, seed=seed, zero=fill
        )
        out.verdicts |= {f"deletion/{name}": area(curves.deletion), f"insertion/{name}": area(curves.insertion)}
        for kind, points in (("deletion", curves.deletion), ("insertion", curves.insertion)):
            out.verdicts[f"{kind}_curve/{name}"] = points[:, :: _DELETION_STEPS // 8].astype(np.float32)
        for kind, pair in (("", curves), ("_normalised", curves.normalised())):
            substrate = {**common, "detail": {**detail, "substrate": "data set mean", "steps": _DELETION_STEPS}}
            out.rows.append(mean_row(area(pair.deletion), **substrate, metric=f"deletion_auc{kind}"))
            out.rows.append(mean_row(area(pair.insertion), **substrate, metric=f"insertion_auc{kind}"))
    roads = road_curves(who.predict, images, labels, maps, orders=("morf", "lerf"), seed=seed)
    out.verdicts["road/base"] = logits_of(who.predict, images).argmax(1) == labels
    for (name, order), curve in roads.items():
        out.verdicts[f"road/{name or 'none'}/{order}"] = curve.correct


def _made_by(name: str, who: Subject) -> str:
    if name in ("random", "centre_gaussian"):
        return "baseline"
    return who.subject if name in ON_ENGINE else "twin"


def _words(who: Subject) -> dict[str, Any]:
    return {"arm": who.arm, "artefact": who.artefact, "subject": who.subject, "runtime": who.runtime}


def _split(probes: ProbeSet) -> str:
    return str(probes.settings["split"])
