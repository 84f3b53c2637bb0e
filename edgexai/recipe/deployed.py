"""What a finished run deploys, found again: the stored entries behind its run folder, every file checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from edgexai.config.recipe import Recipe
from edgexai.errors import UserError
from edgexai.recipe.lock import LOCK
from edgexai.recipe.plan import final_arm
from edgexai.recipe.verify import Verifier
from edgexai.types import Images, Split

ARTEFACTS = ("int8-tensorrt", "fp16", "fp32")
"""What goes to a board: the first that the export made."""


@dataclass(frozen=True)
class Deployed:
    """The network of a run that goes to a board.

    Attributes:
        lock: of the run.
        recipe: resolved.
        arm, artefact: as in ``types.Row``.
        path: its ONNX file.
        entries: "data", "network", "export", "probe" -> stored entry.
        earlier: arm -> stored export of the other arms.
        calibration_method: of the int8 file.
    """

    lock: Mapping[str, Any]
    recipe: Recipe
    arm: str
    artefact: str
    path: Path
    entries: Mapping[str, Path]
    earlier: Mapping[str, Path]
    calibration_method: str

    def calibration(self, train: Split) -> Callable[[int], Images]:
        """k -> another draw of as many training images as the export calibrated on."""
        return lambda k: self._draw(train, [self.recipe.seed, 22, k])

    def export_calibration(self, train: Split) -> Images:
        """The draw that the export calibrated on."""
        return self._draw(train, [self.recipe.seed, 21])

    def _draw(self, train: Split, seed: list[int]) -> Images:
        from edgexai.train.detect import stratified

        n = 0 if self.recipe.export is None else self.recipe.export.calibration_images
        return train.take(stratified(train.labels, n, np.random.default_rng(seed))).as_float()


def deployed_of(folder: Path, *, home: Path) -> Deployed:
    """What the run in ``folder`` deploys.

    Args:
        folder: run folder of a recipe with [export] and [measure].
        home: ``EDGEXAI_HOME`` with the store that the run was made in.

    Raises:
        UserError: not a finished run, or its stored entries are gone or damaged.
    """
    lock = read_lock(folder)
    try:
        recipe = Recipe.model_validate(lock["recipe"])
    except ValidationError as error:
        raise UserError(
            f"{folder}: {LOCK} holds a recipe that this edgexai does not know: {error.error_count()} faults",
            next_step=f"edgexai recipe run {lock['name']}",
        ) from error
    name, arm = lock["name"], final_arm(recipe)
    if recipe.export is None or recipe.measure is None:
        raise UserError(f"{name}: a bundle needs [export] and [measure]: an engine and its probes")
    nodes = {node["name"]: node for node in lock["nodes"]}
    exports = {node["arm"]: node for node in nodes.values() if node["stage"] == "export"}
    probe = next((n for n in nodes.values() if n["stage"] == "probe" and n["arm"] == arm), None)
    if arm not in exports or probe is None:
        raise UserError(f"{name}: the run has no probes of {arm}", next_step=f"edgexai recipe run {name}")
    inputs = exports[arm]["inputs"]
    wanted = {
        "data": nodes[inputs["data"]],
        "network": nodes[inputs["network"]],
        "export": exports[arm],
        "probe": probe,
    }
    entries = {role: _checked(node, name, home) for role, node in wanted.items()}
    artefact = next(a for a in ARTEFACTS if (entries["export"] / f"{a}.onnx").is_file())
    earlier = {other: home / "store" / "export" / node["key"] for other, node in exports.items() if other != arm}
    summary = entries["export"] / "summary.json"
    method = json.loads(summary.read_text())["calibration"] if summary.is_file() else "max"
    path = entries["export"] / f"{artefact}.onnx"
    return Deployed(lock, recipe, arm, artefact, path, entries, earlier, str(method))


def read_lock(folder: Path) -> dict[str, Any]:
    """Name, run, recipe, nodes and environment of a run folder's lock.

    Raises:
        UserError: there is none, or not a whole one.
    """
    try:
        lock = json.loads((folder / LOCK).read_text(encoding="utf-8"))
        return {key: lock[key] for key in ("name", "run", "recipe", "nodes", "environment")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder}: not a finished run: {LOCK} is missing or damaged", next_step="edgexai recipe run NAME"
        ) from error


def _checked(node: Mapping[str, Any], name: str, home: Path) -> Path:
    folder = home / "store" / node["stage"] / node["key"]
    try:
        Verifier().check(folder, key=node["key"])
    except ValueError as error:
        raise UserError(
            f"{node['name']}: its stored entry cannot be used: {error}",
            next_step=f"edgexai recipe run {name}, which makes it again",
        ) from error
    return Path(folder)
