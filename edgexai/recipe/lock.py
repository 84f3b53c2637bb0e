"""``recipe.lock.json``: what was run, exactly, and what came out; and the digest that names the run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgexai.config.recipe import Recipe
from edgexai.recipe.environment import environment
from edgexai.recipe.keys import digest
from edgexai.recipe.plan import Node

LOCK = "recipe.lock.json"


@dataclass(frozen=True)
class Outcome:
    """One node of a run.

    Attributes:
        node: of the plan.
        key: 64 hexadecimal digits.
        folder: the stored entry, or where it would lie.
        digest: of the entry's files; "" if it was not run.
        seconds: that building it took, whenever that was.
        built: False if it was reused.
    """

    node: Node
    key: str
    folder: Path
    digest: str
    seconds: float
    built: bool


def run_digest(name: str, recipe: Recipe, keys: Mapping[str, str]) -> str:
    """Names a run folder: equal for equal recipes whose nodes have equal keys. 64 hexadecimal digits."""
    return digest({"name": name, "recipe": recipe.model_dump(mode="json"), "keys": dict(keys)})


def lock_contents(
    name: str, recipe: Recipe, outcomes: Sequence[Outcome], *, run: str, device: str, files: Mapping[str, str]
) -> dict[str, Any]:
    """The lock as JSON-able data.

    Args:
        name: of the recipe.
        recipe: resolved.
        outcomes: every node that was run or reused, in order.
        run: ``run_digest``.
        device: that computed.
        files: path in the run folder -> SHA-256, of what the entries contributed.
    """
    return {
        "name": name,
        "title": recipe.title,
        "run": run,
        "device": device,
        "recipe": recipe.model_dump(mode="json", exclude_none=True),
        "classes": _classes(outcomes),
        "nodes": [
            {
                "name": outcome.node.name,
                "stage": outcome.node.stage,
                "arm": outcome.node.arm,
                "version": outcome.node.version,
                "key": outcome.key,
                "inputs": dict(outcome.node.inputs),
                "digest": outcome.digest,
                "seconds": outcome.seconds,
                "state": "built" if outcome.built else "reused",
            }
            for outcome in outcomes
        ],
        "files": dict(files),
        "environment": environment(),
    }


def _classes(outcomes: Sequence[Outcome]) -> list[str]:
    for outcome in outcomes:
        pack = outcome.folder / "pack.json"
        if outcome.node.stage == "data" and pack.is_file():
            classes = json.loads(pack.read_text(encoding="utf-8")).get("classes", [])
            return [str(name) for name in classes]
    return []
