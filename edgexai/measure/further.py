"""The further metrics of a recipe's ``measure.metrics``, family by family, as rows with intervals.

Replays on whoever is asked: an engine (its own LIME and CAM, the twin's gradient maps) or the twin. Every map has the
random map and the centre Gaussian beside it, on the same images and draws. Stability and randomisation are properties
of the twin, whose maps they move.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import log10
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexai.explain.baselines import centre_gaussian, random_map
from edgexai.measure.accuracy import logits_of
from edgexai.measure.cascade import cascade_similarity
from edgexai.measure.confidence import confidence_rows
from edgexai.measure.deletion import aopc, area, deletion_insertion, substrate_images
from edgexai.measure.infidelity import infidelity
from edgexai.measure.localisation import energy_inside, pointing_game
from edgexai.measure.mask_leak import mask_leak
from edgexai.measure.max_sensitivity import max_sensitivity
from edgexai.measure.output_stability import relative_output_stability
from edgexai.measure.removals import random_pixels, random_squares, removal_effects
from edgexai.measure.replay import ON_ENGINE, Replay
from edgexai.measure.rows import mean_row
from edgexai.measure.sensitivity_n import sensitivity_n
from edgexai.measure.sparsity import entropy
from edgexai.measure.ssim import ssim
from edgexai.measure.subject import Subject
from edgexai.measure.sufficiency import sufficiency
from edgexai.measure.wsl import wsl
from edgexai.probe.probe_set import ProbeSet
from edgexai.types import Maps, Row

_SETS, _STEPS = 100, 32
_REMOVED = (0.05, 0.1, 0.2, 0.4)
BASELINES = ("random", "centre_gaussian")


def replay_metrics(
    who: Subject,
    probes: ProbeSet,
    table: Mapping[str, Any],
    *,
    fill: tuple[float, float, float],
    seed: int,
    out: Replay,
) -> None:
    """All families that ``table`` asks for, of one engine or of the twin; nothing where it asks for none.

    Args:
        who: the engine or the twin; families of moving maps are measured on the twin alone.
        probes: of the same network.
        table: [measure], with "metrics", "metrics_n" and "explainers".
        fill: data set mean: what removed pixels show.
        seed: of removals, tie-breaks and the bootstrap.
        out: holds the verdicts of ``replay_clean`` and the maps of ``replay_explanations``; gets the rows.
    """
    metrics = table.get("metrics", ())
    if not metrics:
        return
    replay_further(
        who,
        probes,
        out.maps,
        metrics=metrics,
        explainers=table["explainers"],
        n=table["metrics_n"],
        fill=fill,
        seed=seed,
        out=out,
    )
    if who.subject == "twin":
        replay_moving_maps(who, probes, metrics=metrics, seed=seed, out=out)
    if "calibration" in metrics:
        for name in [name for name in out.verdicts if name.startswith("clean/")]:
            split = name.removeprefix("clean/")
            confidence = out.verdicts[f"confidence/{split}"]
            out.rows += confidence_rows(who, confidence, out.verdicts[name], split=split, seed=seed)


def replay_further(
    who: Subject,
    probes: ProbeSet,
    engine_maps: Mapping[str, Maps],
    *,
    metrics: Sequence[str],
    explainers: Sequence[str],
    n: int,
    fill: tuple[float, float, float],
    seed: int,
    out: Replay,
) -> None:
    """Families "sparsity", "localisation" and "faithfulness" of every map.

    Args:
        who: the engine or the twin.
        probes: its maps are the twin's.
        engine_maps: maps that ``who`` made itself, by explainer ("lime", "cam").
        metrics: families asked for; others are left to ``replay_moving_maps`` and ``replay_confidence``.
        explainers: asked for.
        n: images, the first of those explained.
        fill: data set mean: what removed pixels show.
        seed: of removals, tie-breaks and the bootstrap.
        out: gets rows, and verdicts "infidelity/<explainer>", "sensitivity_n/<explainer>" and the like.
    """
    n = min(n, len(probes.targets))
    size = probes.images.shape[-1]
    maps = {name: probes.maps[name][:n] for name in explainers if name in probes.maps and name not in ON_ENGINE}
    maps |= {name: engine_maps[name][:n] for name in explainers if name in engine_maps}
    maps |= {"random": random_map(n, size, seed), "centre_gaussian": centre_gaussian(n, size)}
    for name, values in maps.items():
        words = {**_words(who, probes, seed), "detail": {"explainer": name, "map": _made_by(name, who)}}
        if "sparsity" in metrics and name not in BASELINES:
            out.rows.append(mean_row(entropy(values), **words, metric="saliency_entropy"))
        if "localisation" in metrics and probes.relevance is not None and n >= 2:
            out.rows += _localisation(values, probes.relevance[:n], words)
    if "faithfulness" in metrics:
        _faithfulness(who, probes, maps, fill=fill, seed=seed, out=out)


def replay_moving_maps(who: Subject, probes: ProbeSet, *, metrics: Sequence[str], seed: int, out: Replay) -> None:
    """Families "stability" and "randomisation": rows of the twin's gradient maps.

    Args:
        who: the twin.
        probes: with noisy copies, and maps of the cascade, where those are asked for.
        metrics: families asked for.
        seed: of the bootstrap.
        out: gets the rows.
    """
    if "stability" in metrics and probes.noisy is not None:
        noisy = probes.noisy
        n = noisy.images.shape[1]
        logits = logits_of(who.predict, probes.images[:n])
        answers = np.stack([logits_of(who.predict, copy) for copy in noisy.images])
        for name, moved in noisy.maps.items():
            own = probes.maps[name][:n]
            words = {**_words(who, probes, seed), "detail": {"explainer": name, "copies": len(moved), "map": "twin"}}
            worst = max_sensitivity(own, moved, same_class=noisy.same_class)
            out.rows.append(mean_row(worst, **words, metric="max_sensitivity"))
            ros = relative_output_stability(own, moved, logits, answers, same_class=noisy.same_class)
            row = mean_row(ros, **{**words, "unit": "log10"}, metric="relative_output_stability")
            out.rows.append(_logarithm(row))
            alike = np.stack([ssim(own, copy) for copy in moved])
            out.rows.append(mean_row(_mean(np.where(noisy.same_class, alike, np.nan)), **words, metric="noise_ssim"))
    if "randomisation" in metrics and probes.cascade is not None:
        for name, after in probes.cascade.maps.items():
            found = cascade_similarity(probes.maps[name][: after.shape[1]], after)
            for step, layer in enumerate(probes.cascade.layers):
                detail = {"explainer": name, "down_to": layer, "step": step + 1, "steps": len(after), "map": "twin"}
                words = {**_words(who, probes, seed), "detail": detail, "control": "two random maps: 0"}
                out.rows.append(mean_row(found.rank[step], **words, metric="mprt_rank_correlation"))
                out.rows.append(mean_row(found.ssim[step], **words, metric="mprt_ssim"))


def _localisation(values: Maps, relevance: NDArray[np.bool_], words: dict[str, Any]) -> list[Row]:
    energy = energy_inside(values, relevance)
    exact = pointing_game(values, relevance, tolerance=0)
    boxes = wsl(values, relevance)
    held = {**words, "detail": {**words["detail"], "threshold": "of the other half of the images", "min_iou": 0.5}}
    best = {**words, "detail": {**words["detail"], "threshold": boxes.best_threshold, "min_iou": 0.5}}
    optimistic = "wsl: with a threshold that these images did not choose"
    return [
        mean_row(energy, **words, metric="energy_inside", unit="fraction", control="roi_area; centre Gaussian"),
        mean_row(exact, **words, metric="pointing_game_exact", unit="fraction", control="roi_area; centre Gaussian"),
        mean_row(boxes.hit, **held, metric="wsl", unit="fraction", control="centre Gaussian"),
        mean_row(boxes.best_hit, **best, metric="wsl_best_threshold", unit="fraction", control=optimistic),
    ]


def _faithfulness(
    who: Subject,
    probes: ProbeSet,
    maps: Mapping[str, Maps],
    *,
    fill: tuple[float, float, float],
    seed: int,
    out: Replay,
) -> None:
    n = len(maps["random"])
    images, targets = probes.images[:n], probes.targets[:n]
    blank = substrate_images(images, "zero", zero=fill)
    size = min(images.shape[2:])
    sides = tuple(max(1, round(part * size)) for part in (1 / 8, 1 / 4, 3 / 8))
    # What each removal does depends on the images alone: once for all maps.
    squares = random_squares(images, sets=_SETS, sides=sides, seed=seed)
    of_squares = removal_effects(who.predict, images, targets, squares, substrate=blank)
    pixels = [random_pixels(images, sets=_SETS, removed=removed, seed=seed) for removed in _REMOVED]
    of_pixels = [removal_effects(who.predict, images, targets, sets, substrate=blank) for sets in pixels]
    for name, values in maps.items():
        detail = {"explainer": name, "map": _made_by(name, who)}
        words = _words(who, probes, seed)
        control = "random map and centre Gaussian on the same removals"

        def add(metric: str, found: NDArray[Any], unit: str = "unitless", **more: str | int | float) -> None:
            row = mean_row(found, **words, metric=metric, unit=unit, detail={**detail, **more}, control=control)  # noqa: B023
            out.rows.append(row)

        unfaithful = infidelity(values, squares, of_squares).relative
        along = _mean(
            np.stack([sensitivity_n(values, sets, fall) for sets, fall in zip(pixels, of_pixels, strict=True)])
        )
        out.verdicts |= {f"infidelity/{name}": unfaithful, f"sensitivity_n/{name}": along}
        add("infidelity", unfaithful, removed=f"squares of {', '.join(map(str, sides))} pixels", sets=_SETS)
        add("sensitivity_n", along, removed=", ".join(map(str, _REMOVED)), sets=_SETS)
        enough = sufficiency(who.predict, images, targets, values, substrate=blank, seed=seed)
        add("comprehensiveness", enough.comprehensiveness, "fraction", substrate="data set mean")
        add("sufficiency", enough.sufficiency, "fraction", substrate="data set mean")
        curves = deletion_insertion(
            who.predict, images, targets, values, substrate="blur", steps=_STEPS, seed=seed, zero=fill
        )
        for kind, pair in (("", curves), ("_normalised", curves.normalised())):
            add(f"deletion_auc{kind}", area(pair.deletion), substrate="blur", steps=_STEPS)
            add(f"insertion_auc{kind}", area(pair.insertion), substrate="blur", steps=_STEPS)
        add("deletion_aopc", aopc(curves.normalised().deletion), substrate="blur", steps=_STEPS)
        leak = mask_leak(who.predict, images, targets, values, seed=seed)
        add("mask_leak", leak, "fraction", removed="0.2, 0.5")


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over the first axis, of what is defined; NaN where nothing is."""
    defined = ~np.isnan(values)
    total = np.where(defined, values, 0).sum(axis=0)
    mean: NDArray[np.float64] = total / np.where(defined.any(axis=0), defined.sum(axis=0), np.nan)
    return mean


def _logarithm(row: Row) -> Row:
    """log10 of a mean and its interval's ends; a mean of 0 has none."""
    if row.value is None or row.value <= 0:
        why = row.reason or "no map moved on any copy: the mean is 0 and has no logarithm"
        return replace(row, value=None, low=None, high=None, interval="none", status="skipped", reason=why)
    low, high = (log10(end) if end is not None and end > 0 else None for end in (row.low, row.high))
    return replace(row, value=log10(row.value), low=low, high=high)


def _made_by(name: str, who: Subject) -> str:
    if name in BASELINES:
        return "baseline"
    return who.subject if name in ON_ENGINE else "twin"


def _words(who: Subject, probes: ProbeSet, seed: int) -> dict[str, Any]:
    return {
        "arm": who.arm, "artefact": who.artefact, "subject": who.subject, "runtime": who.runtime,
        "seed": seed, "split": str(probes.settings["split"]),
    }  # fmt: skip
