"""What ``edgexai explain`` writes as JSON and says on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgexai.cli.explain_against import Against
from edgexai.cli.explain_model import OpenedModel
from edgexai.cli.explain_pictures import Pictures
from edgexai.errors import UserError
from edgexai.explain import KINDS
from edgexai.explain.apply import ExplainSettings, Explanation
from edgexai.explain.conventions import CONVENTIONS
from edgexai.measure.located import located
from edgexai.types import Labels, Logits, Maps

Verdicts: TypeAlias = dict[str, dict[str, dict[str, Any]]]
"""Check ("sanity": against shuffled weights, "label_sanity": against a network of shuffled labels) -> method ->
verdict."""

_NAMED = 40
"""Pictures that get a line of their own on the screen; the JSON names all."""


def document(
    opened: OpenedModel,
    pictures: Pictures,
    stems: Sequence[str],
    logits: Logits,
    targets: Labels,
    found: dict[str, Explanation],
    settings: ExplainSettings,
    seed: int,
    verdicts: Verdicts,
    against: Against | None = None,
) -> dict[str, Any]:
    share, n = shares(logits), len(stems)
    looked_at = [
        {
            "file": name,
            "folder": stem,
            "target": int(targets[i]),
            "target_name": class_name(opened, int(targets[i])),
            "probability": float(share[i, targets[i]]),
            "top": [
                {"class": int(k), "name": class_name(opened, int(k)), "probability": float(share[i, k])}
                for k in np.argsort(-logits[i], kind="stable")[:5]
            ],
        }
        for i, (name, stem) in enumerate(zip(pictures.names, stems, strict=True))
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
            "sanity": verdicts["sanity"].get(name),
            "label_sanity": verdicts["label_sanity"].get(name),
            "located": _located(explanation, pictures, seed),
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
        "against": None
        if against is None
        else {"run": against.run, "shuffled_train_acc": against.learnt, "chance": against.chance},
        "images": looked_at,
        "methods": methods,
    }


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


def _located(explanation: Explanation, pictures: Pictures, seed: int) -> dict[str, Any] | None:
    """None where nothing is marked, or where this method's maps point nowhere: the other methods still count."""
    if pictures.marked is None:
        return None
    try:
        return asdict(located(shown_maps(explanation), pictures.marked, seed=seed))
    except UserError:
        return None


def lines(document: dict[str, Any], out: Path) -> list[str]:
    lines = [f"{p['folder']}: {p['target_name']} {p['probability']:.1%}" for p in document["images"][:_NAMED]]
    if more := len(document["images"]) - _NAMED:
        lines += [f"... and {more} more"] if more > 0 else []
    marked = any(m["located"] for m in document["methods"].values())
    scored = f"{'points at it':>22}{'inside':>8}{'area':>7}" if marked else ""
    lines.append(f"{'method':<12}{'forwards':>9}{'backwards':>10}{'ms/image':>10}{scored}  what")
    for name, m in document["methods"].items():
        told = ""
        if m["error"] is not None:
            known = [v for v in m["error"]["values"] if v is not None]
            told = f"{m['error']['what']} {np.median(known):.3g}" if known else ""
        for check, words in (("sanity", "sanity"), ("label_sanity", "labels")):
            told += _verdict(words, m[check])
        lines.append(
            f"{name:<12}{m['forwards_per_image']:>9.0f}{m['backwards_per_image']:>10.0f}{m['ms_per_image']:>10.1f}"
            f"{_scored(m['located'], marked=marked)}  {m['subject']}{'; ' + told.strip() if told.strip() else ''}"
        )
    if (other := document["against"]) is not None:
        lines.append(
            f"labels: against {other['run']}, which learnt {other['shuffled_train_acc']:.0%} of its shuffled labels by "
            f"heart (chance {other['chance']:.0%})"
        )
    lines.append(f"{out / 'sheet.png'}")
    return lines


def _verdict(words: str, verdict: dict[str, Any] | None) -> str:
    """A constant map is never passed over: it is neither agreement nor difference."""
    if verdict is None:
        return ""
    median = verdict["median_correlation"]
    value = "" if median is None else f" ({median:.2f})"
    status = {"passed": "passed", "failed": "FAILED"}.get(verdict["status"], "UNDECIDED")
    constant = verdict["constant_maps"]
    left_out = f", {constant} of {verdict['images']} maps constant" if constant else ""
    return f"  {words} {status}{value}{left_out}"


def _scored(found: dict[str, Any] | None, *, marked: bool) -> str:
    if found is None:
        return f"{'-':>22}{'-':>8}{'-':>7}" if marked else ""
    value, low, high = (f"{100 * v:.0f}" for v in found["pointing"])
    return f"{f'{value} % [{low}, {high}]':>22}{found['inside'][0]:>8.1%}{found['area']:>7.1%}"


def shown_maps(explanation: Explanation) -> Maps:
    """The maps as pictures show them."""
    if not CONVENTIONS[explanation.method].offset:
        return explanation.maps
    lowest: Maps = explanation.maps.min(axis=(1, 2), keepdims=True)
    return explanation.maps - lowest


def class_name(opened: OpenedModel, k: int) -> str:
    return opened.classes[k] if opened.classes else f"class {k}"


def shares(logits: Logits) -> NDArray[np.float64]:
    wide = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = wide / wide.sum(axis=1, keepdims=True)
    return shares


def _plain(values: NDArray[np.float64]) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values]
