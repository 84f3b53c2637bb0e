"""The work of ``edgexai explain``: reads pictures, runs the methods, writes pictures, maps and figures."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgexai.cli.explain_against import Against
from edgexai.cli.explain_document import Verdicts, class_name, document, lines, shares, shown_maps
from edgexai.cli.explain_model import OpenedModel
from edgexai.cli.explain_pictures import Pictures
from edgexai.errors import MissingCapability, UserError
from edgexai.explain import KINDS
from edgexai.explain.apply import ExplainSettings, Explanation, explain, needs_gradients
from edgexai.explain.fill import hidden_images
from edgexai.explain.presets import preset_named
from edgexai.explain.surrogate import draw_masks
from edgexai.report.contact_sheet import contact_sheet, enlarged
from edgexai.report.lime_stages import perturbations, superpixels, surrogate
from edgexai.report.pictures import overlay
from edgexai.types import Images, Labels, Logits

if TYPE_CHECKING:
    from torch import nn

_BLACK_BOX = ("lime", "kernelshap", "rise", "occlusion")
_GRADIENT = ("vg", "ixg", "ig", "smoothgrad", "vargrad", "gradshap", "gradcam", "cam")


def run_explain(
    opened: OpenedModel,
    pictures: Pictures,
    *,
    methods: Sequence[str] | None,
    settings: ExplainSettings,
    target: int | None,
    seed: int,
    out: Path,
    check: bool,
    against: Against | None = None,
) -> list[str]:
    """Explains every picture with every method and fills ``out``.

    Args:
        opened: the classifier.
        pictures: what is looked at.
        methods: names; None: every method this classifier allows, but for the optimised kind.
        settings: of the methods.
        target: class; None: each picture's most likely one.
        seed: of whatever is drawn.
        out: folder; made.
        check: run the sanity check too.
        against: a network trained on shuffled labels, to hold every method against.

    Returns:
        Lines for people.

    Raises:
        MissingCapability, UserError: as the methods do.
    """
    if target is not None and target >= opened.n_classes:
        raise UserError(f"--target {target}: the network has classes 0 to {opened.n_classes - 1}")
    names = list(methods) if methods else _default_methods(opened)
    if against is not None and len(pictures.images) < 2:
        raise UserError("--against: one picture says nothing", next_step="give two or more, better ten")
    _refuse_impossible(names, opened, len(pictures.images), check=check)
    images = pictures.images
    logits = np.concatenate([opened.predict(images[i : i + 32]) for i in range(0, len(images), 32)])
    targets: Labels = logits.argmax(1).astype(np.int64) if target is None else np.full(len(images), target, np.int64)
    found: dict[str, Explanation] = {}
    verdicts: Verdicts = {"sanity": {}, "label_sanity": {}}
    for done, name in enumerate(names):
        _say(f"explain {done + 1}/{len(names)}: {name}")
        found[name] = explain(
            name, images, targets, predict=opened.predict, model=opened.twin, seed=seed, settings=settings
        )
        if check:
            verdicts["sanity"][name] = _sanity(found[name], images, targets, opened, seed, settings)
        if against is not None:
            verdicts["label_sanity"][name] = _sanity(
                found[name], images, targets, opened, seed, settings, (against.net,)
            )
    stems = _stems(pictures.names)
    pixels = np.rint(images * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    out.mkdir(parents=True, exist_ok=True)
    _write_pictures(
        out, stems[: pictures.shown], pixels, images, found, opened, logits, targets, settings, seed, verdicts
    )
    arrays: dict[str, Any] = {"images": pixels, "targets": targets, "logits": logits}
    arrays |= {name: explanation.maps for name, explanation in found.items()}
    np.savez_compressed(out / "maps.npz", **arrays)
    told = document(opened, pictures, stems, logits, targets, found, settings, seed, verdicts, against)
    text = json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    (out / "explanations.json").write_text(text, encoding="utf-8")
    return lines(told, out)


def _default_methods(opened: OpenedModel) -> list[str]:
    from torch import nn

    names = [n for n in _GRADIENT if n != "cam" or opened.exact_cam] if opened.twin is not None else []
    if opened.twin is not None and not any(isinstance(m, nn.Conv2d) for m in opened.twin.modules()):
        names.remove("gradcam")
    return [*names, *_BLACK_BOX]


def _refuse_impossible(names: Sequence[str], opened: OpenedModel, n: int, *, check: bool) -> None:
    """What is known to fail is said before minutes of work, not after."""
    if check and opened.twin is None:
        raise _no_twin_to_shuffle()
    if check and n < 2:
        raise UserError("--sanity: one picture says nothing", next_step="give two or more, better ten")
    for name in names:
        if opened.twin is None and KINDS[name] in ("gradient", "optimised"):
            raise needs_gradients(name)


def _no_twin_to_shuffle() -> MissingCapability:
    return MissingCapability(
        "--sanity shuffles the network's weights, and an ONNX file is explained as it is",
        next_step="explain the run whose twin is here, or leave --sanity out",
    )


def _sanity(
    found: Explanation,
    images: Images,
    targets: Labels,
    opened: OpenedModel,
    seed: int,
    settings: ExplainSettings,
    against: Sequence[nn.Module] = (),
) -> dict[str, Any]:
    from edgexai.explain.sanity import sanity_check

    if opened.twin is None:
        raise _no_twin_to_shuffle()
    # The black-box kind asked the engine; here it asks the twin, because the other networks have no engine.
    own = found.maps if KINDS[found.method] != "black_box" else None
    verdict = sanity_check(
        found.method, images, targets, model=opened.twin, seed=seed, settings=settings, against=against, own=own
    )
    return {
        "status": verdict.status,
        "passed": verdict.passed,
        "median_correlation": verdict.median if np.isfinite(verdict.median) else None,
        "threshold": verdict.threshold,
        "constant_maps": verdict.constant,
        "images": len(images),
    }


def _stems(names: Sequence[str]) -> list[str]:
    """A folder name for every picture: all different, none that leads elsewhere or is a file of ours."""
    taken: list[str] = []
    for name in names:
        first = stem = re.sub(r"[^\w-]+", "_", Path(name).stem).strip("_") or "image"
        k = 2
        while stem in taken:
            stem, k = f"{first}_{k}", k + 1
        taken.append(stem)
    return taken


def _write_pictures(
    out: Path,
    stems: Sequence[str],
    pixels: NDArray[np.uint8],
    images: Images,
    found: dict[str, Explanation],
    opened: OpenedModel,
    logits: Logits,
    targets: Labels,
    settings: ExplainSettings,
    seed: int,
    verdicts: Verdicts,
) -> None:
    preset = preset_named(settings.preset)
    share = shares(logits)
    captions = []
    for i, stem in enumerate(stems):
        folder = out / stem
        folder.mkdir(exist_ok=True)
        _save(folder / "image.png", enlarged(pixels[i], 448))
        for name, explanation in found.items():
            _save(folder / f"{name}.png", enlarged(overlay(pixels[i], shown_maps(explanation)[i]), 448))
        captions.append(f"{class_name(opened, int(targets[i]))[:22]}\n{share[i, targets[i]]:.0%}  {stem[:16]}")
        lime = found.get("lime")
        if lime is None or lime.segments is None or lime.lime is None:
            continue
        segments = lime.segments if lime.segments.ndim == 2 else lime.segments[i]
        hidden = hidden_images(images[i : i + 1], segments, preset.options.fill)[0]
        masks = draw_masks(
            max(8, int(segments.max()) + 1), int(segments.max()) + 1, seed=seed, design=preset.options.design
        )
        _save(folder / "lime_1_superpixels.png", superpixels(pixels[i], segments))
        as_bytes = np.rint(np.clip(hidden, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
        _save(folder / "lime_2_perturbations.png", perturbations(pixels[i], as_bytes, segments, masks[1:9]))
        _save(
            folder / "lime_3_surrogate.png",
            surrogate(pixels[i], segments, lime.lime.coefficients[i], shown=preset.shown),
        )
    pixels, first = pixels[: len(stems)], len(stems)
    notes: dict[str, str] = {}
    for check, words in (("label_sanity", "label sanity"), ("sanity", "sanity")):
        for name, verdict in verdicts[check].items():
            if not verdict["passed"]:
                notes[name] = f"{'fails ' if verdict['status'] == 'failed' else 'undecided: '}{words}"
    sheet = contact_sheet(pixels, captions, {name: shown_maps(e)[:first] for name, e in found.items()}, notes=notes)
    _save(out / "sheet.png", sheet)


def _save(path: Path, pixels: NDArray[np.uint8]) -> None:
    Image.fromarray(np.ascontiguousarray(pixels)).save(path)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
