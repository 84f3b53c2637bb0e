"""Our metrics beside Quantus 0.5.3, on one network, images and maps: the same values where both mean the same, and ROAD
timed in turn.

Quantus runs in an interpreter of its own (``quantus_child``). Lines of unit "difference" are the largest absolute
difference (relative for the two stabilities, whose values are large); the two without an aim are known answers that
Quantus misses: a network linear in its pixels, explained exactly, has infidelity 0 and sensitivity-n 1.
"""

from __future__ import annotations

from collections.abc import Callable
from time import process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexai.bench.line import Line, ratio_line
from edgexai.bench.quantus_child import QuantusChild
from edgexai.bench.workshop import CLASSES, SEED, SIZE, Workshop
from edgexai.engine.twin import Twin
from edgexai.measure.deletion import deletion_insertion
from edgexai.measure.faithfulness import road
from edgexai.measure.infidelity import infidelity
from edgexai.measure.localisation import pointing_game
from edgexai.measure.max_sensitivity import max_sensitivity
from edgexai.measure.output_stability import relative_output_stability
from edgexai.measure.removals import random_pixels, random_squares, removal_effects
from edgexai.measure.sensitivity_n import sensitivity_n
from edgexai.measure.sparsity import entropy, gini
from edgexai.measure.stability import relative_input_stability
from edgexai.models import store
from edgexai.types import Images, Labels, Logits, Maps

_PERCENTAGES = tuple(3.125 * k for k in (1, 4, 7, 10, 13, 16, 19, 22, 25, 28))
"""Whole numbers of pixels at 32 x 32, so that both sides remove the same; ten levels from 3 to 88 %."""
_COPIES, _AIM = 3, "<= 0.001"


def metrics_over_quantus(workshop: Workshop) -> list[Line]:
    """ROAD's ratio, then one line per compared metric.

    Raises:
        MissingCapability: no interpreter with Quantus.
    """
    given = _arrays(workshop)
    folder = workshop.folder / "quantus"
    (folder / "network").mkdir(parents=True, exist_ok=True)
    np.savez(folder / "arrays.npz", **given)
    store.save(workshop.net("signnet"), folder / "network")
    twin = Twin(workshop.net("signnet"))
    levels = [percentage / 100 for percentage in _PERCENTAGES]

    def our_road() -> NDArray[Any]:
        found = road(
            twin, given["images"], given["labels"], given["maps"], order="morf", levels=levels, noise_std=0, seed=SEED
        )
        return found.accuracy

    lines = []
    with QuantusChild(folder) as child:
        about = f"Quantus {child.versions['quantus']}, NumPy {child.versions['numpy']}"
        lines += _road_lines(workshop, child, our_road, about)
        for name, (what, ours, relative) in _compared(given, twin).items():
            theirs = np.asarray(child.ask(name)["values"], np.float64)
            apart = np.abs(ours - theirs) / (np.abs(theirs) if relative else 1)
            detail = {"ours": float(ours.ravel()[0]), "theirs": float(theirs.ravel()[0])}
            method = f"{ours.size} values; {'relative' if relative else 'absolute'} difference; {about}."
            lines.append(_difference(what, float(apart.max()), ours.size, method, detail, aim=_AIM))
        for name, (what, known, ours) in _known(given).items():
            theirs = np.asarray(child.ask(name)["values"], np.float64)
            detail = {"known": known, "ours_off_by": float(np.abs(ours - known).max())}
            method = f"a linear network and its exact map; the answer is {known:g}; {about}."
            lines.append(_difference(what, float(np.abs(theirs - known).max()), theirs.size, method, detail, aim=""))
            mine = f"{name.replace('_', ' ')}: ours off the known answer"
            lines.append(_difference(mine, detail["ours_off_by"], ours.size, method, detail, aim=_AIM))
    return lines


def _road_lines(workshop: Workshop, child: QuantusChild, ours: Callable[[], NDArray[Any]], about: str) -> list[Line]:
    rounds = max(2, workshop.settings.rounds // 3)
    over, under = np.empty(rounds), np.empty(rounds)
    ours()
    for k in range(rounds):
        answer = child.ask("road")
        over[k] = answer["seconds"]
        before = process_time()
        mine = ours()
        under[k] = process_time() - before
    apart = float(np.abs(mine - np.asarray(answer["values"])).max())
    method = (
        "signnet in torch on both sides, processor seconds of one thread each, "
        f"{workshop.settings.road_images} images, 10 levels, noise off; "
        f"Quantus one image and level at a time, ours in batches. {about}."
    )
    speed = ratio_line(
        "metrics", "ROAD, Quantus / ours", over, under, threads=1, method=method, aim=">= 20",
        detail={"images": workshop.settings.road_images, "levels": len(mine)},
    )  # fmt: skip
    return [speed, _difference("ROAD, accuracy per level", apart, len(mine), method, {}, aim=_AIM)]


def _compared(given: dict[str, Any], twin: Twin) -> dict[str, tuple[str, NDArray[Any], bool]]:
    images, labels, maps = given["images"], given["labels"], given["maps"]
    curves = deletion_insertion(
        twin, images[:8], labels[:8], maps[:8], substrate="zero", steps=SIZE * SIZE // 64, seed=SEED
    )
    explained = _squares(images, given["weights"])
    moved = np.stack([_squares(copy, given["weights"]) for copy in given["copies"]])
    inputs = relative_input_stability(maps, given["moved"], images, given["copies"], smallest_pixel=1e-6)
    outputs = relative_output_stability(maps, given["moved"], given["logits"], given["copy_logits"])
    return {
        "sparseness": ("Gini / Sparseness", gini(maps), False),
        "complexity": ("entropy x log d / Complexity", entropy(maps) * np.log(SIZE * SIZE), False),
        "pointing": ("pointing game, tolerance 0", pointing_game(maps, given["relevance"], tolerance=0), False),
        "pixel_flipping": ("deletion curve / PixelFlipping", curves.deletion[:, 1:], False),
        "max_sensitivity": ("max-sensitivity", max_sensitivity(explained, moved), False),
        "input_stability": ("relative input stability", inputs, True),
        "output_stability": ("relative output stability", outputs, True),
    }


def _known(given: dict[str, Any]) -> dict[str, tuple[str, float, NDArray[Any]]]:
    images, maps = given["images"][:8], given["exact"][:8]
    targets: Labels = np.zeros(len(images), np.int64)
    blank = np.full_like(images, 0.5)

    def linear(batch: Images) -> Logits:
        logit = (batch.astype(np.float64) * given["weights"]).sum((1, 2, 3))
        return np.stack([logit, np.zeros_like(logit)], 1).astype(np.float32)

    squares = random_squares(images, sets=50, sides=(8,), seed=SEED)
    pixels = random_pixels(images, sets=50, removed=0.1, seed=SEED)
    falls = [removal_effects(linear, images, targets, sets, substrate=blank) for sets in (squares, pixels)]
    return {
        "infidelity": ("infidelity: Quantus off the known answer", 0.0, infidelity(maps, squares, falls[0]).raw),
        "sensitivity_n": ("sensitivity n: Quantus off the known answer", 1.0, sensitivity_n(maps, pixels, falls[1])),
    }


def _arrays(workshop: Workshop) -> dict[str, Any]:
    n = workshop.settings.road_images
    rng = np.random.default_rng(SEED)
    images = (np.round(workshop.noise(n) * 255) / 255).astype(np.float32)  # 8-bit levels, black pixels included
    twin = Twin(workshop.net("signnet"))
    logits = twin(images)
    maps = rng.normal(size=(n, SIZE, SIZE)).astype(np.float32)
    weights = rng.normal(size=(3, SIZE, SIZE)).astype(np.float32)
    copies = np.clip(images + rng.uniform(0.02, 0.2, (_COPIES, *images.shape)), 0, 1).astype(np.float32)
    relevance = np.zeros((n, SIZE, SIZE), np.bool_)
    relevance[:, 4:26, 6:24] = True
    labels = logits.argmax(1).astype(np.int64)
    return {
        "images": images, "labels": labels % CLASSES, "maps": maps, "weights": weights, "copies": copies,
        "moved": (maps + 0.1 * rng.normal(size=(_COPIES, *maps.shape))).astype(np.float32),
        "logits": logits, "copy_logits": np.stack([twin(copy) for copy in copies]), "relevance": relevance,
        "exact": (weights * (images - np.float32(0.5))).sum(1), "percentages": np.array(_PERCENTAGES),
    }  # fmt: skip


def _squares(images: Images, weights: NDArray[np.float32]) -> Maps:
    found: Maps = (images**2 * weights).sum(1)
    return found


def _difference(what: str, value: float, n: int, method: str, detail: dict[str, float], *, aim: str) -> Line:
    return Line("metrics", what, value, unit="difference", n=n, aim=aim, method=method, detail=detail)
