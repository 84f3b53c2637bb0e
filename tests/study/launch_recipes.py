"""Small real recipes for the launchers, and what a launch leaves behind, as the tests read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgexai.config.load import LoadedRecipe
from edgexai.config.recipe import Recipe

BARE: dict[str, Any] = {
    "title": "a test",
    "data": {"name": "signs", "size": 16, "per_class": 2},
    "model": {"name": "signnet", "widths": [8] * 8},
    "train": {"method": "natural", "epochs": 2, "lr": 0.05},
}
MEASURED: dict[str, Any] = {
    "export": {"precision": "fp32", "min_agreement": 0.0},
    "engine": {"runtime": "onnxruntime", "threads": 1},
    "measure": {
        "n": 43,
        "clean_n": 43,
        "explainers": ["vg"],
        "attacks": ["fgsm"],
        "eps": ["8/255"],
        "explain_n": 6,
        "lime_samples": 64,
    },
}


def loaded(name: str, *, measured: bool = False, **tables: dict[str, Any]) -> LoadedRecipe:
    """BARE, with MEASURED where asked, and ``tables`` laid over it key by key."""
    content: dict[str, Any] = {**BARE, **(MEASURED if measured else {})}
    for table, keys in tables.items():
        content[table] = {**content.get(table, {}), **keys}
    return LoadedRecipe(Recipe.model_validate(content), name, Path(f"{name}.toml"), {})


def absent(name: str) -> LoadedRecipe:
    """A recipe whose data set is not on this machine, given a data root that is empty."""
    return loaded(name, data={"name": "gtsrb", "size": 32, "per_class": None})


def log(home: Path) -> list[dict[str, Any]]:
    """Every event of every run, in the order of time."""
    found = []
    for path in home.glob("runs/*/*/log.jsonl"):
        if path.parent.is_symlink():
            continue
        for line in path.read_text().splitlines():
            try:
                found.append({**json.loads(line), "recipe": path.parts[-3]})
            except ValueError:
                continue  # cut off by a kill
    return sorted(found, key=lambda event: str(event["time"]))


def built(home: Path) -> list[str]:
    """Keys in the order in which stages were finished; a key stands twice if its stage ran to its end twice."""
    return [event["key"] for event in log(home) if event["what"] == "node-end"]


def stored(home: Path) -> set[str]:
    return {path.parent.name for path in home.glob("store/*/*/meta.json")}


def weights(home: Path) -> dict[str, str]:
    """Key -> digest of the weights of every network in the store."""
    metas = [json.loads(path.read_text()) for path in home.glob("store/*/*/meta.json")]
    files = {meta["key"]: meta["files"].get("weights.safetensors") for meta in metas}
    return {key: file["sha256"] for key, file in files.items() if file}


def rows(home: Path, name: str) -> list[str]:
    """All rows of a complete run that are no timings."""
    (folder,) = {path.resolve() for path in home.glob(f"runs/{name}/latest")}
    lines = (folder / "measurements.jsonl").read_text().splitlines()
    return [line for line in lines if json.loads(line)["metric"] not in ("latency_ms", "throughput")]
