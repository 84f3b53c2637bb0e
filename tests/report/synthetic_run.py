"""Fabricates a run folder FOR TESTING THE LAYOUT ONLY: no number in it was measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from edgexai.types import Row

CLASSES = [f"Speed limit {v}" for v in (20, 30, 50, 60, 70, 80)] + ["Stop", "Yield", "No <entry>", "Roundabout"]
STEPS = [
    ("natural", "twin"), ("natural", "fp32"), ("refined", "twin"), ("refined", "fp32"), ("control", "twin"),
    ("control", "fp32"), ("pruned", "twin"), ("pruned", "fp32"), ("pruned", "int8-tensorrt"), ("pruned", "int8-x86"),
]  # fmt: skip
EXPLAINERS = ("vg", "ig", "smoothgrad", "gradcam", "lime")


def rows() -> list[Row]:
    """Some 700 rows over the whole vocabulary, plausible in size only."""
    g = np.random.default_rng(7)
    out: list[Row] = []

    def add(arm, artefact, metric, value, unit, n, spread=0.0, **more):
        low = high = None
        kind = "none"
        if spread:
            low, high, kind = value - spread, value + spread, "bootstrap"
            if unit == "fraction" and not metric.endswith("_difference"):
                low, high, kind = max(low, 0.0), min(high, 1.0), "wilson"
        subject = "twin" if artefact == "twin" else "engine"
        runtime = "torch 2.14.1" if artefact == "twin" else "onnxruntime 1.31.1 CPU"
        out.append(
            Row(arm, artefact, subject, metric, value, unit, n, low, high, kind, seed=0, runtime=runtime, **more)
        )

    clean = {"natural": 0.985, "refined": 0.978, "control": 0.976, "pruned": 0.974}
    robust = {"natural": 0.08, "refined": 0.45, "control": 0.43, "pruned": 0.42}
    for arm, artefact in STEPS:
        j = lambda scale=0.004: float(g.normal(0, scale))  # noqa: E731
        add(arm, artefact, "clean_acc", clean[arm] + j(0.001), "fraction", 12630, 0.0028)
        for split, drop in (("aligned", 0.0), ("absent", 0.05), ("conflicting", 0.4 if arm == "natural" else 0.08)):
            add(arm, artefact, "clean_acc", clean[arm] - drop + j(0.002), "fraction", 2000, 0.01, split=split)
        macs = 4.61e6 if arm == "pruned" else 9.37e6
        add(arm, artefact, "macs", macs, "count", 1)
        add(arm, artefact, "parameters", 412_000 if arm == "pruned" else 871_230, "count", 1)
        if artefact == "twin":
            for name in ("vg", "ig", "smoothgrad", "gradcam"):
                add(arm, artefact, "saliency_gini", 0.6 + j(0.05), "unitless", 300, 0.012, detail={"explainer": name})
                add(arm, artefact, "roi_share", 0.7 + j(0.05), "fraction", 300, 0.02, detail={"explainer": name})
                add(arm, artefact, "relative_input_stability", -0.5 + j(0.2), "log10", 100, 0.1,
                    detail={"explainer": name, "copies": 5})  # fmt: skip
            continue
        if artefact != "int8-x86":
            for name, hard in (("gaussian_noise", 0.3), ("fog", 0.1), ("jpeg_compression", 0.05)):
                for severity in (1, 3, 5):
                    detail = {"corruption": name, "severity": severity}
                    value = clean[arm] - hard * severity / 5 - (0.1 if arm == "natural" else 0.0) + j()
                    add(arm, artefact, "corruption_acc", value, "fraction", 300, 0.03, detail=detail)
            detail = {"corruption": "mean", "severity": "all"}
            add(arm, artefact, "corruption_acc", clean[arm] - 0.1, "fraction", 300, 0.02, detail=detail)
        for attack, hold in (
            ("fgsm", 1.25), ("pgd", 1.0), ("apgd-ce", 0.95), ("apgd-dlr", 0.9), ("square", 1.15), ("noise", 2.0),
        ):  # fmt: skip
            for eps, mild in (("2/255", 0.5), ("8/255", 0.0)):
                value = clean[arm] if attack == "noise" else min(robust[arm] * hold, clean[arm])
                value = value + mild * (clean[arm] - value) + j(0.005)
                if attack == "noise":
                    value -= 0.02
                detail = {"attack": attack, "eps": eps}
                detail |= {"source": "black_box", "queries": 1000} if attack == "square" else {"source": "transfer"}
                if "pgd" in attack:
                    detail["steps"] = 40
                n = 300 if attack == "square" else 1000
                flags = ("black_box_beats_white_box",) if (arm, attack, eps) == ("natural", "square", "8/255") else ()
                add(arm, artefact, "robust_acc", value, "fraction", n, 0.03, detail=detail, flags=flags,
                    control="noise of the same norm")  # fmt: skip
        for name in (*EXPLAINERS, "random", "centre_gaussian"):
            base = name in ("random", "centre_gaussian")
            d = {"explainer": name}
            add(arm, artefact, "saliency_gini", 0.33 if base else 0.6 + j(0.05), "unitless", 300, 0.012, detail=d)
            add(arm, artefact, "saliency_top10_mass", 0.2 if base else 0.5, "fraction", 300, 0.02, detail=d)
            add(arm, artefact, "roi_share", 0.46 if base else 0.72 + j(0.05), "fraction", 300, 0.02, detail=d)
            add(arm, artefact, "pointing_game", 0.46 if base else 0.9, "fraction", 300, 0.03, detail=d)
            add(arm, artefact, "road_gap", 0.0 + j(0.01) if base else 0.2 + j(0.04), "fraction", 300, 0.02, detail=d)
            add(arm, artefact, "road_lerf_gap", 0.0 if base else 0.35, "fraction", 300, 0.02, detail=d)
            add(arm, artefact, "road_aopc", 0.5 if base else 0.7 + j(0.02), "fraction", 300, 0.02, detail=d)
            add(arm, artefact, "deletion_auc", 0.3, "unitless", 300, 0.02, detail=d | {"substrate": "zero"})
            add(arm, artefact, "insertion_auc", 0.6, "unitless", 300, 0.02, detail=d | {"substrate": "blur"})
            if not base and artefact.startswith("int8"):
                add(arm, artefact, "map_rank_correlation", 0.93 + j(0.02), "unitless", 300, 0.01, detail=d)
            for order in ("morf", "lerf", "random"):
                for k in range(1, 10):
                    steep = {"morf": 1.5, "lerf": 0.45, "random": 0.85}["random" if base else order]
                    value = max(0.03, clean[arm] * (1 - (k / 10) ** (1 / steep)))
                    add(arm, artefact, "road_acc", value, "fraction", 300, 0.03,
                        detail={"explainer": name, "order": order, "removed": k / 10})  # fmt: skip
        add(arm, artefact, "lime_r2", 0.61 + j(0.02), "unitless", 300, 0.02, detail={"explainer": "lime"})
        size = 450_000 if artefact.startswith("int8") else 1_700_000 if arm == "pruned" else 3_520_000
        add(arm, artefact, "size_bytes", size, "bytes", 1)
        ms = {"int8-tensorrt": 0.44, "int8-x86": 0.14}.get(artefact, 0.24 if arm == "pruned" else 0.43)
        for statistic, factor in (("median", 1.0), ("p95", 1.3)):
            add(arm, artefact, "latency_ms", ms * factor, "ms", 500, 0.01, detail={"batch": 1, "statistic": statistic})
        add(arm, artefact, "throughput", 4100 / ms * 0.4, "images/s", 50, detail={"batch": 64})
        add(arm, artefact, "agreement", 0.997, "fraction", 12630, 0.001)
        add(arm, artefact, "logit_drift", 0.04, "logit", 12630, 0.002)
    for arm, against, metric, value, spread in (
        ("refined", "natural", "clean_acc", -0.007, 0.003),
        ("refined", "control", "clean_acc", 0.002, 0.003),
        ("refined", "natural", "robust_acc", 0.37, 0.03),
        ("refined", "control", "robust_acc", 0.02, 0.03),
        ("refined", "natural", "roi_share", 0.06, 0.02),
        ("refined", "control", "roi_share", 0.05, 0.02),
        ("pruned", "refined", "clean_acc", -0.004, 0.002),
    ):
        detail = {"against": against} | ({"attack": "pgd", "eps": "8/255"} if metric == "robust_acc" else {})
        detail |= {"explainer": "gradcam"} if metric == "roi_share" else {}
        add(arm, "fp32", f"{metric}_difference", value, "fraction", 1000, spread, detail=detail)
    last = ("pruned", "int8-tensorrt", "engine")
    why = "needs a Jetson: edgexai flash BUNDLE --host user@board"
    board = {"batch": 1, "on": "board"}
    out.append(Row(*last, "latency_ms", None, "ms", 0, detail=board, status="not measured here", reason=why))
    union = {"attack": "union", "eps": "8/255"}
    out.append(
        Row(*last, "robust_acc", None, "fraction", 0, detail=union, status="skipped", reason="needs two attacks")
    )
    out.append(Row("natural", "fp32", "engine", "a_new_metric", 4.25, "unitless", 12, detail={"odd": "thing"}))
    return out


def _sign(g: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:size, :size] + 0.5
    cx, cy, r = g.uniform(13, 19), g.uniform(13, 19), g.uniform(8, 12)
    image = np.empty((size, size, 3))
    image[:] = g.uniform(40, 150, 3)
    image += g.normal(0, 12, image.shape)
    d = np.hypot(x - cx, y - cy)
    image[d < r] = (190, 30, 40)
    image[d < r * 0.72] = (235, 235, 230)
    image[(np.abs(x - cx) < r * 0.16) & (np.abs(y - cy) < r * 0.5)] = (20, 20, 20)
    return np.clip(image, 0, 255).astype(np.uint8), np.array([cx - r, cy - r, cx + r, cy + r], np.float32)


def make(folder: Path, *, title: str = "GTSRB: LIME-refined, then channel-pruned, int8", signs: int = 6) -> Path:
    """Writes the whole folder and returns it."""
    g = np.random.default_rng(11)
    (folder / "pictures").mkdir(parents=True)
    (folder / "measurements.jsonl").write_text("".join(r.to_json() + "\n" for r in rows()), "utf-8")
    k, size, grid, rounds = signs, 32, 8, 3
    for arm in ("natural", "refined", "control", "pruned"):
        pairs = [_sign(g, size) for _ in range(k)]
        labels = g.integers(0, len(CLASSES), k)
        engine = np.where(np.arange(k) % 5 == 3, (labels + 1) % len(CLASSES), labels)
        pack = {
            "images": np.stack([p[0] for p in pairs]), "boxes": np.stack([p[1] for p in pairs]), "labels": labels,
            "pred_engine": engine, "pred_twin": labels,
        }  # fmt: skip
        y, x = np.mgrid[:size, :size]
        for name in EXPLAINERS:
            maps = np.stack([np.exp(-((x - 16) ** 2 + (y - 15) ** 2) / 60) + g.normal(0, 0.15, (size, size))
                             for _ in range(k)]).astype(np.float32)  # fmt: skip
            pack[f"twin__{name}"] = maps
            pack[f"engine__{name}"] = maps + g.normal(0, 0.05, maps.shape).astype(np.float32)
        np.savez_compressed(folder / "pictures" / f"{arm}.npz", **pack)
        if arm in ("refined", "control"):
            share = [0.2, 0.14, 0.09] if arm == "refined" else [0.2, 0.2, 0.2]
            np.savez_compressed(
                folder / "pictures" / f"refine_{arm}.npz",
                images=pack["images"], labels=labels,
                importance=g.normal(0, 1, (rounds, k, grid, grid)).astype(np.float32),
                flagged=np.stack([g.random((k, grid, grid)) < s for s in share]),
                class_frequency=g.random((rounds, len(CLASSES), grid, grid)).astype(np.float32) ** 3,
            )  # fmt: skip
    lock = {
        "name": "pruned_lime_gtsrb", "title": title, "run": "ab" * 32, "device": "cpu", "classes": CLASSES,
        "recipe": {
            "title": title, "seed": 0, "source": "arXiv 0000.00000", "data": {"name": "gtsrb", "size": 32},
            "gate": {"clean_acc": ">= 0.97", "latency_ms": "<= 2.5"},
        },
        "nodes": [{"name": n, "stage": n.partition("[")[0], "key": f"{i:064x}", "digest": f"{i + 9:064x}",
                   "seconds": 12.5 * i, "state": "built"} for i, n in enumerate(["data", "train", "refine", "prune"])],
        "environment": {"python": "3.11.2", "torch": "2.14.1", "machine": "a CPU, 2 cores"},
    }  # fmt: skip
    (folder / "recipe.lock.json").write_text(json.dumps(lock), "utf-8")
    gates = [
        {"name": "clean_acc", "condition": ">= 0.97", "value": 0.974, "bound": 0.971, "passed": True},
        {"name": "latency_ms", "condition": "<= 2.5", "value": 0.44, "bound": 0.45, "passed": True},
    ]
    (folder / "gates.json").write_text(json.dumps(gates), "utf-8")
    return folder
