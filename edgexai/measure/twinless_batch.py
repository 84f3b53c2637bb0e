"""Values per image of one batch of a classifier without a twin: what is kept, so that intervals are made once, on all.

Convention: in every array the first axis is the image. NumPy only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexai.attack.noise import noise
from edgexai.attack.square import square
from edgexai.attack.stream import image_streams
from edgexai.config.pixels import pixels
from edgexai.data.stream import Stream
from edgexai.explain.apply import ExplainSettings, explain
from edgexai.explain.conventions import CONVENTIONS
from edgexai.measure.accuracy import logits_of
from edgexai.measure.deletion import area, deletion_insertion, probability
from edgexai.measure.faithfulness import road_curves
from edgexai.measure.flags import output_kind
from edgexai.measure.latency import latency_ms, throughput
from edgexai.measure.localisation import pointing_game, roi_share
from edgexai.measure.sparsity import gini, top_mass
from edgexai.measure.twinless import Batch, Plan
from edgexai.types import Images, Labels, Maps, Predict, Split

Values = dict[str, NDArray[Any]]
DELETION_STEPS = 32
_PICTURED = 3
"""Batches whose images and maps are kept, for the report."""
THROUGHPUT_BATCHES = (1, 8, 32)
_GREY = (0.5, 0.5, 0.5)
"""Hides pixels in deletion and insertion: of a foreign network no data set mean is known."""
_WARMUP, _REPEATS = 10, 100


def measure_batch(predict: Predict, stream: Stream, batch: Batch, plan: Plan) -> Values:
    """Does the work of one batch.

    Args:
        predict: the engine.
        stream: the batch's split.
        batch: of ``plan``.
        plan: what is measured.

    Returns:
        Name -> (n,...), see ``twinless_rows`` for what is read off them.

    Raises:
        ShapeError, UserError: images are damaged, or the engine's answers are no logits.
    """
    asked = plan.asked
    split = stream.take(batch.index)
    labels: Labels = np.asarray(plan.output_of, dtype=np.int64)[split.labels]
    if batch.kind == "corruption":
        return _corruption(predict, stream, batch, plan, labels)
    images = split.as_float()
    if batch.kind == "clean":
        logits = logits_of(predict, images)
        decided = logits.argmax(1)
        return {
            "right": decided == labels,
            "label": split.labels,
            "decided": decided,
            "confidence": probability(logits, decided).astype(np.float32),
            "kind": np.repeat(output_kind(logits), len(labels)),
            "first": np.repeat(logits[:1, :1], len(labels), axis=0)[:, 0],
        }
    if batch.kind == "noise":
        found: Values = {}
        for text in asked.eps:
            noisy = noise(images, eps=pixels(text), seed=asked.seed)
            found[f"robust/noise@{text}"] = logits_of(predict, noisy).argmax(1) == labels
        return found
    if batch.kind == "square":
        text = max(asked.eps, key=pixels)
        attacked = square(predict, images, labels, eps=pixels(text), n_queries=asked.square_queries, seed=asked.seed)
        return {f"robust/square@{text}": ~attacked.fooled, "queries": attacked.queries}
    if batch.kind == "latency":
        return _latency(predict, images)
    return _explained(predict, images, labels, split, batch, plan)


def _corruption(predict: Predict, stream: Stream, batch: Batch, plan: Plan, labels: Labels) -> Values:
    found: Values = {}
    for name in plan.asked.corruptions:
        for severity in plan.asked.severities:
            made = stream.take(batch.index, corruption=(name, severity), seed=plan.asked.seed)
            found[f"corruption/{name}_{severity}"] = logits_of(predict, made.as_float()).argmax(1) == labels
    return found


def _latency(predict: Predict, images: Images) -> Values:
    """Times in ms; the first axis is the call here."""
    found: Values = {"ms": latency_ms(predict, images, batch=1, warmup=_WARMUP, repeats=_REPEATS).times_ms}
    sizes = [size for size in THROUGHPUT_BATCHES if size <= len(images)]
    for size, timing in throughput(predict, images, batches=sizes, warmup=2, repeats=10).items():
        found[f"ms@{size}"] = timing.times_ms
    return found


def _explained(predict: Predict, images: Images, labels: Labels, split: Split, batch: Batch, plan: Plan) -> Values:
    asked = plan.asked
    logits = logits_of(predict, images)
    targets: Labels = logits.argmax(1).astype(np.int64)
    found: Values = {"label": split.labels, "decided": targets, "confidence": probability(logits, targets)}
    settings = ExplainSettings(rise_masks=asked.rise_masks, shap_samples=asked.shap_samples, stability_seeds=0)
    maps: dict[str, Maps] = {}
    for name in asked.explainers:
        explanation = explain(name, images, targets, predict=predict, seed=asked.seed, settings=settings)
        # RISE's common offset says nothing of any pixel, but would count as mass everywhere.
        offset = explanation.maps.min((1, 2), keepdims=True) if CONVENTIONS[name].offset else np.float32(0)
        maps[name] = explanation.maps - offset
        if explanation.lime is not None:
            found["lime_r2"] = explanation.lime.r2
        elif explanation.error_name:
            found[f"error/{name}"] = explanation.error
    height, width = images.shape[2:]
    streams = image_streams(images, seed=asked.seed, purpose="random map")
    maps["random"] = np.stack([s.random((height, width), dtype=np.float32) for s in streams])
    maps["centre_gaussian"] = explain("centre", images, targets, predict=predict, seed=asked.seed).maps
    relevant = split.relevance()
    found["roi_area"] = np.full(len(images), np.nan) if relevant is None else relevant.mean((1, 2))
    for name, values in maps.items():
        found[f"gini/{name}"], found[f"top/{name}"] = gini(values), top_mass(values)
        if relevant is not None:
            found[f"roi/{name}"] = roi_share(values, relevant)
            found[f"pointing/{name}"] = pointing_game(values, relevant, tolerance=2 * max(height, width) / 32)
        curves = deletion_insertion(
            predict, images, targets, values, substrate="zero", steps=DELETION_STEPS, seed=asked.seed, zero=_GREY
        )
        for suffix, pair in (("", curves), ("_normalised", curves.normalised())):
            found[f"deletion{suffix}/{name}"] = area(pair.deletion)
            found[f"insertion{suffix}/{name}"] = area(pair.insertion)
    roads = road_curves(predict, images, labels, maps, orders=("morf", "lerf"), seed=asked.seed)
    if batch.number < _PICTURED:
        found |= {"shown/images": split.images, "shown/boxes": split.boxes}
        found |= {f"shown/map/{name}": maps[name] for name in asked.explainers}
    found["road/base"] = targets == labels
    for (name, order), curve in roads.items():
        found[f"road/{name or 'none'}/{order}"] = np.ascontiguousarray(curve.correct.T)
    return found
