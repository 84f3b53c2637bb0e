"""Runs a study: brings every arm's recipe to its end through the store, reads the rows, judges, writes the folder.

``EDGEXAI_HOME/studies/<name>/<digest, 12 hex>/``: ``study.md``, ``study.html``, ``cells.csv``, ``study.json``,
``rows.jsonl``. Arms share stages by key, so a stage runs once however many arms need it, and a study that was stopped
goes on where it stopped.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from edgexai.config.load import LoadedRecipe
from edgexai.config.load_study import LoadedStudy
from edgexai.recipe.keys import digest
from edgexai.recipe.lock import Outcome
from edgexai.recipe.plan import final_arm
from edgexai.recipe.run import RecipeGateFailed, run_recipe
from edgexai.study import LAUNCHERS
from edgexai.study.collect import ArmSeed, collect, with_road
from edgexai.study.judge import Found, cells, correlate, judge
from edgexai.study.page import Results, write_results
from edgexai.types import Progress


@dataclass(frozen=True)
class StudyResult:
    """What a study left.

    Attributes:
        folder: of the tables.
        results: what is in them.
    """

    folder: Path
    results: Results


def run_study(
    loaded: LoadedStudy,
    *,
    home: Path,
    device: str,
    data_root: Path | None,
    launcher: str,
    workers: int,
    progress: Progress,
) -> StudyResult:
    """Runs what is missing and writes the study's folder.

    Args:
        loaded: the study.
        home: ``EDGEXAI_HOME``.
        device: "cpu" or "cuda".
        data_root: where data sets lie.
        launcher: key of ``LAUNCHERS``.
        workers: processes that run recipes at one time.
        progress: takes the launcher's events.

    Raises:
        UserError: some recipes could not be run (all are listed), or a column fits no single row.
    """
    start = time.monotonic()
    recipes = distinct(loaded)
    LAUNCHERS[launcher].load()(
        recipes, home=home, device=device, data_root=data_root, workers=workers, progress=progress
    )
    ran: dict[tuple[str, int], tuple[Outcome, ...]] = {}
    for recipe in recipes:
        ran[recipe.name, recipe.recipe.seed] = _outcomes(recipe, home=home, device=device, data_root=data_root)
    found = _collected(loaded, ran)
    study = loaded.study
    built = {o.key: o.seconds for outcomes in ran.values() for o in outcomes}
    results = Results(
        name=loaded.name,
        study=study,
        recipes={arm: loaded.recipes[arm, study.seeds[0]].recipe for arm in study.arms},
        tables=[(spec, cells(spec, study, found)) for spec in study.tables],
        claims=[judge(claim, study, found) for claim in study.claims],
        correlations=[correlate(pair, study, found) for pair in study.correlations],
        rows=[row for item in found.values() for row in item.rows],
        stage_seconds=sum(built.values()),
        stages=len(built),
        seconds=time.monotonic() - start,
        keys={f"{name}@{seed}": {o.node.name: o.key for o in outcomes} for (name, seed), outcomes in ran.items()},
    )
    mark = digest({"study": json.loads(study.model_dump_json()), "keys": results.keys})[:12]
    folder = home / "studies" / loaded.name / mark
    write_results(results, folder)
    return StudyResult(folder, results)


def distinct(loaded: LoadedStudy) -> list[LoadedRecipe]:
    """The recipes of all arms, each once, seed by seed so that a stopped study has whole seeds first."""
    out: dict[tuple[str, int], LoadedRecipe] = {}
    for seed in loaded.study.seeds:
        for arm in loaded.study.arms:
            recipe = loaded.recipes[arm, seed]
            out.setdefault((recipe.name, seed), recipe)
    return list(out.values())


def _outcomes(recipe: LoadedRecipe, *, home: Path, device: str, data_root: Path | None) -> tuple[Outcome, ...]:
    """Every node of a recipe that is in the store."""
    try:
        return run_recipe(recipe, home=home, device=device, data_root=data_root, events=lambda event: None).nodes
    except RecipeGateFailed as failed:
        return failed.result.nodes  # a study compares; its arms decide no gate


def _collected(loaded: LoadedStudy, ran: dict[tuple[str, int], tuple[Outcome, ...]]) -> Found:
    study, found = loaded.study, {}
    for seed in study.seeds:
        arms: list[ArmSeed] = []
        for name, table in study.arms.items():
            recipe = loaded.recipes[name, seed]
            network = table.network or final_arm(recipe.recipe)
            outcomes = ran[recipe.name, seed]
            arms.append(collect(name, seed, outcomes, network=network, artefact=study.artefact))
        found.update({(item.arm, seed): item for item in with_road(arms)})
    return found
