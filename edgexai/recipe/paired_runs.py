"""Differences of two runs' deployed engines, paired by image, where both kept their verdicts in the store."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgexai.measure.compare import Measured, difference_rows
from edgexai.report.evidence import Evidence
from edgexai.report.folder import RunFolder
from edgexai.report.side_by_side import unlike
from edgexai.types import Row

_ONE_PROBE_SET = ("n", "explain_n", "eps", "attacks", "pgd_steps", "split", "clean_n")
_WHICH_ARE_CLEAN = frozenset({"split", "clean_n"})
_HELD_OUT = "clean/val"


def paired_rows(first: RunFolder, other: RunFolder, *, home: Path) -> tuple[list[Row], str]:
    """``other`` minus ``first`` on the same images: accuracies, Gini, share on the sign, ROAD gap.

    ROAD gaps are formed on the images that both engines get right. Where the runs drew or attacked images in different
    ways, the accuracy on clean test images is left: those are the same ones.

    Args:
        first, other: the runs.
        home: EDGEXAI_HOME, whose store keeps the values per image.

    Returns:
        Rows, and "" or the reason why there are none, or none but those of clean images.
    """
    if why := unlike(first, other):
        return [], why[0]
    if first.recipe.get("seed") != other.recipe.get("seed"):
        return [], f"other seed ({first.recipe.get('seed')} and {other.recipe.get('seed')}): other images were drawn"
    tables = [run.recipe.get("measure") or {} for run in (first, other)]
    changed = [key for key in _ONE_PROBE_SET if tables[0].get(key) != tables[1].get(key)]
    reason = f"[measure] differs in {', '.join(changed)}: other images or attacks" if changed else ""
    if not _WHICH_ARE_CLEAN.isdisjoint(changed):
        return [], reason
    one, base = _measured(other, home), _measured(first, home)
    if one is None or base is None:
        return [], "the values per image of one run are no longer in the store; run its recipe again to have them"
    if changed:
        one = replace(
            one, verdicts={k: v for k, v in one.verdicts.items() if k.startswith("clean/") and k != _HELD_OUT}
        )
    return difference_rows(one, base, against=first.name, seed=int(first.recipe.get("seed") or 0)), reason


def _measured(run: RunFolder, home: Path) -> Measured | None:
    evidence = Evidence(run.rows, trained=run.trained)
    if evidence.deployed is None:
        return None
    arm, artefact = evidence.deployed
    nodes = [n for n in run.lock.get("nodes", []) if isinstance(n, dict) and n.get("name") == f"measure[{arm}]"]
    folder = home / "store" / "measure" / str(nodes[0]["key"]) if nodes and nodes[0].get("key") else None
    if folder is None or not (folder / "verdicts.npz").is_file() or not (folder / "meta.json").is_file():
        return None
    if json.loads((folder / "meta.json").read_text("utf-8")).get("digest") not in (None, nodes[0].get("digest")):
        return None  # another build than the one whose rows lie in the run folder
    with np.load(folder / "verdicts.npz", allow_pickle=False) as data:
        own: dict[str, Any] = {
            name.partition("|")[2]: data[name] for name in data.files if name.partition("|")[0] == artefact
        }
    split = next((row.split for row in run.rows if row.metric in ("robust_acc", "deletion_auc")), "test")
    return Measured(arm, artefact, "", own, split)
