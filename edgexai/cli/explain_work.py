"""The work of ``edgexai explain``: reads pictures, runs the methods, writes pictures, maps and figures."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgexai.cli.explain_model import OpenedModel
from edgexai.data.picture import read_picture
from edgexai.errors import MissingCapability, UserError
from edgexai.explain import KINDS
from edgexai.explain.apply import ExplainSettings, Explanation, explain
from edgexai.explain.conventions import CONVENTIONS
from edgexai.explain.fill import hidden_images
from edgexai.explain.presets import preset_named
from edgexai.explain.surrogate import draw_masks
from edgexai.report.contact_sheet import contact_sheet, enlarged
from edgexai.report.lime_stages import perturbations, superpixels, surrogate
from edgexai.report.pictures import overlay
from edgexai.types import Images, Labels, Logits, Maps

_BLACK_BOX = ("lime", "kernelshap", "rise", "occlusion")
_GRADIENT = ("vg", "ixg", "ig", "smoothgrad", "vargrad", "gradshap", "gradcam", "cam")


def run_explain(
    opened: OpenedModel,
    files: Sequence[Path],
    *,
    methods: Sequence[str] | None,
    settings: ExplainSettings,
    target: int | None,
    seed: int,
    fit: Literal["crop", "squash"],
    out: Path,
    check: bool,
) -> list[str]:
    """Explains every picture with every method and fills ``out``.

    Args:
        opened: the classifier.
        files: pictures.
        methods: names; None: every method this classifier allows, but for the optimised kind.
        settings: of the methods.
        target: class; None: each picture's most likely one.
        seed: of whatever is drawn.
        fit: how pictures are brought to the input's proportions.
        out: folder; made.
        check: run the sanity check too.

    Returns:
        Lines for people.

    Raises:
        MissingCapability, UserError: as reading and the methods do.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: is a file", next_step="give a folder")
    if target is not None and target >= opened.n_classes:
        raise UserError(f"--target {target}: the network has classes 0 to {opened.n_classes - 1}")
    images: Images = np.stack([read_picture(path, opened.size, fit=fit) for path in files])
    logits = np.concatenate([opened.predict(images[i : i + 32]) for i in range(0, len(images), 32)])
    targets: Labels = logits.argmax(1).astype(np.int64) if target is None else np.full(len(images), target, np.int64)
    names = list(methods) if methods else _default_methods(opened)
    found: dict[str, Explanation] = {}
    verdicts: dict[str, dict[str, Any]] = {}
    for done, name in enumerate(names):
        _say(f"explain {done + 1}/{len(names)}: {name}")
        found[name] = explain(
            name, images, targets, predict=opened.predict, model=opened.twin, seed=seed, settings=settings
        )
        if check:
            verdicts[name] = _sanity(name, images, targets, opened, seed, settings)
    stems = _stems(files)
    pixels = np.rint(images * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    out.mkdir(parents=True, exist_ok=True)
    _write_pictures(out, stems, pixels, images, found, opened, logits, targets, settings, seed, verdicts)
    arrays: dict[str, Any] = {"images": pixels, "targets": targets, "logits": logits}
    arrays |= {name: explanation.maps for name, explanation in found.items()}
    np.savez_compressed(out / "maps.npz", **arrays)
    document = _document(opened, files, stems, logits, targets, found, settings, seed, verdicts)
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    (out / "explanations.json").write_text(text, encoding="utf-8")
    return _lines(document, out)


def _default_methods(opened: OpenedModel) -> list[str]:
    names = [n for n in _GRADIENT if n != "cam" or opened.exact_cam] if opened.twin is not None else []
    if opened.twin is not None and getattr(opened.twin, "features", None) is None:
        names.remove("gradcam")
    return [*names, *_BLACK_BOX]


def _sanity(
    name: str, images: Images, targets: Labels, opened: OpenedModel, seed: int, settings: ExplainSettings
) -> dict[str, Any]:
    if opened.twin is None:
        raise MissingCapability(
            "--sanity shuffles the network's weights, and an ONNX file is explained as it is",
            next_step="explain the run whose twin is here, or leave --sanity out",
        )
    from edgexai.explain.sanity import sanity_check

    verdict = sanity_check(name, images, targets, model=opened.twin, seed=seed, settings=settings)
    return {"passed": verdict.passed, "median_correlation": verdict.median, "threshold": verdict.threshold}


def _stems(files: Sequence[Path]) -> list[str]:
    """A folder name for every picture, all different."""
    taken: list[str] = []
    for path in files:
        stem, k = path.stem or "image", 2
        while stem in taken:
            stem, k = f"{path.stem}_{k}", k + 1
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
    verdicts: dict[str, dict[str, Any]],
) -> None:
    preset = preset_named(settings.preset)
    shares = _shares(logits)
    captions = []
    for i, stem in enumerate(stems):
        folder = out / stem
        folder.mkdir(exist_ok=True)
        _save(folder / "image.png", enlarged(pixels[i], 448))
        for name, explanation in found.items():
            _save(folder / f"{name}.png", enlarged(overlay(pixels[i], _shown(explanation)[i]), 448))
        captions.append(f"{_name(opened, int(targets[i]))[:22]}\n{shares[i, targets[i]]:.0%}  {stem[:16]}")
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
    notes = {name: "fails sanity" for name, verdict in verdicts.items() if not verdict["passed"]}
    sheet = contact_sheet(pixels, captions, {name: _shown(e) for name, e in found.items()}, notes=notes)
    _save(out / "sheet.png", sheet)


def _document(
    opened: OpenedModel,
    files: Sequence[Path],
    stems: Sequence[str],
    logits: Logits,
    targets: Labels,
    found: dict[str, Explanation],
    settings: ExplainSettings,
    seed: int,
    verdicts: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    shares, n = _shares(logits), len(files)
    pictures = [
        {
            "file": str(path),
            "folder": stem,
            "target": int(targets[i]),
            "target_name": _name(opened, int(targets[i])),
            "probability": float(shares[i, targets[i]]),
            "top": [
                {"class": int(k), "name": _name(opened, int(k)), "probability": float(shares[i, k])}
                for k in np.argsort(-logits[i], kind="stable")[:5]
            ],
        }
        for i, (path, stem) in enumerate(zip(files, stems, strict=True))
    ]
    methods = {}
    for name, explanation in found.items():
        how = CONVENTIONS[name]
        on_twin = KINDS[name] in ("gradient", "optimised")
        methods[name] = {
            "name": how.name,
            "subject": "none" if KINDS[name] == "baseline" else "twin" if on_twin else opened.subject,
            "runtime": "" if KINDS[name] == "baseline" else opened.twin_runtime if on_twin else opened.runtime,
            "signed": how.signed,
            "unit": how.unit,
            "source": how.source,
            "error": {"what": explanation.error_name, "values": _plain(explanation.error)}
            if explanation.error_name
            else None,
            "forwards_per_image": explanation.forwards / n,
            "backwards_per_image": explanation.backwards / n,
            "ms_per_image": 1000 * explanation.seconds / n,
            "settings": explanation.detail,
            "sanity": verdicts.get(name),
        }
        if explanation.lime is not None:
            methods[name]["lime"] = _lime(explanation)
    return {
        "model": opened.name,
        "subject": opened.subject,
        "runtime": opened.runtime,
        "input": opened.prepared,
        "seed": seed,
        "preset": settings.preset,
        "images": pictures,
        "methods": methods,
    }


def _shown(explanation: Explanation) -> Maps:
    """The maps as pictures show them."""
    if not CONVENTIONS[explanation.method].offset:
        return explanation.maps
    lowest: Maps = explanation.maps.min(axis=(1, 2), keepdims=True)
    return explanation.maps - lowest


def _lime(explanation: Explanation) -> dict[str, Any]:
    lime = explanation.lime
    if lime is None:
        return {}
    told: dict[str, Any] = {
        "segments": lime.n_segments.tolist(),
        "samples": lime.n_samples.tolist(),
        "samples_per_segment": [round(float(v), 1) for v in lime.n_samples / lime.n_segments],
        "r2": _plain(lime.r2),
        "coefficients": [_plain(row[:count]) for row, count in zip(lime.coefficients, lime.n_segments, strict=True)],
    }
    if lime.stability is not None:
        s = lime.stability
        told["stability"] = {
            "seeds": s.n_seeds, "top_k": s.top_k, "jaccard": _plain(s.jaccard), "kendall_tau": _plain(s.kendall_tau),
            "sign_agreement": _plain(s.sign_agreement), "r2": _plain(s.r2),
        }  # fmt: skip
    return told


def _lines(document: dict[str, Any], out: Path) -> list[str]:
    lines = [f"{p['folder']}: {p['target_name']} {p['probability']:.1%}" for p in document["images"]]
    lines.append(f"{'method':<12}{'forwards':>9}{'backwards':>10}{'ms/image':>10}  what")
    for name, m in document["methods"].items():
        told = ""
        if m["error"] is not None:
            known = [v for v in m["error"]["values"] if v is not None]
            told = f"{m['error']['what']} {np.median(known):.3g}" if known else ""
        if m["sanity"] is not None:
            told += f"  sanity {'passed' if m['sanity']['passed'] else 'FAILED'}"
            told += f" ({m['sanity']['median_correlation']:.2f})"
        lines.append(
            f"{name:<12}{m['forwards_per_image']:>9.0f}{m['backwards_per_image']:>10.0f}{m['ms_per_image']:>10.1f}  "
            f"{m['subject']}{'; ' + told.strip() if told.strip() else ''}"
        )
    lines.append(f"{out / 'sheet.png'}")
    return lines


def _plain(values: NDArray[np.float64]) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values]


def _name(opened: OpenedModel, k: int) -> str:
    return opened.classes[k] if opened.classes else f"class {k}"


def _shares(logits: Logits) -> NDArray[np.float64]:
    wide = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = wide / wide.sum(axis=1, keepdims=True)
    return shares


def _save(path: Path, pixels: NDArray[np.uint8]) -> None:
    Image.fromarray(np.ascontiguousarray(pixels)).save(path)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
